"""docs/webhooks.md says what the code does, and its receivers work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from dispatch.pace import JITTER, Limits, Pace
from jobs.outbox import DEAD_KEPT_S
from jobs.settings import Settings
from jobs.webhook import secret_of
from jobs.webhook_url import REFUSED_PORTS
from tests.dispatch.dispatching import FAST, SECRET, dispatching, left, put_away
from tests.dispatch.process import ROOT
from tests.dispatch.receiver import Receiver, eventually, free_port, receiving

DOC = (ROOT / "docs" / "webhooks.md").read_text()
PACE = Pace(Settings.model_fields["webhook_retries_s"].default)
UNITS_S = {"s": 1, "min": 60, "h": 3600}


def block(language: str) -> str:
    """The one piece of code in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_headers_and_the_fields_are_those_that_come(redis: Redis, settings: Settings) -> None:
    with receiving(Receiver()) as receiver, dispatching(settings):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: bool(receiver.got))
    (got,) = receiver.got
    named = set(re.findall(r"^\| `(webhook-\w+)`", DOC, re.MULTILINE))
    assert named == {name for name in got.headers if name.startswith("webhook-")}
    shown, sent = json.loads(block("json")), json.loads(got.body)
    assert set(shown) == set(sent)
    assert list(shown["data"]) == list(sent["data"])
    assert set(shown["data"]["images"][0]) == set(sent["data"]["images"][0])


def test_the_table_of_tries_is_the_default() -> None:
    rows = re.findall(r"^\| (\d) \| (\d+) (s|min|h) \|$", DOC, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(2, len(PACE.retries_s) + 2))
    assert tuple(float(count) * UNITS_S[unit] for _, count, unit in rows) == PACE.retries_s
    assert f"stretched by up to {JITTER:.0%}".replace("%", " %") in DOC
    for tries, delay_s in enumerate(PACE.retries_s, start=1):
        drawn = [PACE.delay_s(tries) or 0 for _ in range(200)]
        assert min(drawn) >= delay_s
        assert max(drawn) <= delay_s * (1 + JITTER)
        assert len(set(drawn)) > 1, "they do not come all at once"
    assert PACE.delay_s(len(PACE.retries_s) + 1) is None


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    said = " ".join(DOC.split())
    limits = Limits()
    assert DEAD_KEPT_S == 7 * 86_400
    assert "for seven days" in said
    assert f"none within {PACE.try_s:g} s" in said
    assert PACE.lease_s == 10
    assert "after ten to fifteen seconds" in said, "claims are looked for twice a lease"
    assert PACE.stop_s == 5
    assert "within five seconds" in said
    assert (
        f"of at most {limits.running} tries at once, {limits.running_of_caller} are of one caller and "
        f"{limits.running_to_host} go to one host"
    ) in said
    ports = re.search(r"one of theirs: ([\d, ]+)\.", said)
    assert ports is not None
    assert [int(port) for port in ports[1].split(", ")] == sorted(set(REFUSED_PORTS) - {0})


@pytest.fixture(params=["python", "javascript"])
def documented(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A receiver of the docs, as a process: its port, and the file that it prints to."""
    node = shutil.which("node")
    if request.param == "javascript" and node is None:
        pytest.skip("there is no node to run it with")
    name, program = (
        ("receiver.mjs", str(node)) if request.param == "javascript" else ("receiver.py", sys.executable)
    )
    port, said = free_port(), tmp_path / "said"
    (tmp_path / name).write_text(block(request.param).replace("9000", str(port)))
    env = {**os.environ, "WEBHOOK_SECRET": secret_of(SECRET, "alice")}
    with said.open("wb") as output, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, name], cwd=tmp_path, env=env, stdout=output, stderr=log)
    try:
        yield port, said
        assert process.poll() is None, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


def test_the_receivers_take_what_is_genuine_once_and_refuse_the_rest(
    redis: Redis, settings: Settings, documented: tuple[int, Path]
) -> None:
    port, said = documented
    url = f"http://127.0.0.1:{port}/"
    slow = Pace((0.2,) * 100, try_s=5.0, lease_s=FAST.lease_s)
    with dispatching(settings, slow):
        (first,) = put_away(redis, [url], caller="alice")
        assert eventually(lambda: left(redis).nothing)
        put_away(redis, [url], caller="alice")
        (third,) = put_away(redis, [url], first=3, caller="alice")
        assert eventually(lambda: left(redis).nothing)
    with dispatching(settings, Pace(())):
        put_away(redis, [url], first=4, caller="mallory")
        assert eventually(lambda: left(redis).dead == 1), "signed with another's secret"
    assert said.read_text().split() == ["job.succeeded", first, "job.succeeded", third]
