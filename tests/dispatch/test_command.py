"""The dispatcher's process and `unfog webhooks`, as an operator runs them; and that neither tells secrets."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from dispatch.pace import Pace
from jobs.webhook import secret_of
from tests.dispatch.dispatching import SECRET, Left, left, put_away
from tests.dispatch.process import ROOT, dispatcher_process
from tests.dispatch.receiver import Receiver, eventually, free_port, receiving

UNFOG = Path(sys.executable).with_name("unfog")
Unfog = Callable[..., "subprocess.CompletedProcess[str]"]
SOON = Pace((0.05, 0.05), connect_s=2.0, try_s=2.0, lease_s=1.5, redis_pause_s=0.1)


def run(*command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    env = {**own, "TERM": "dumb", "COLUMNS": "200", **variables}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def unfog(redis_url: str) -> Unfog:
    """`unfog webhooks`, on the Redis of the test."""
    return lambda *arguments: run(
        UNFOG, "webhooks", *arguments, UNFOG_REDIS_URL=redis_url, UNFOG_WEBHOOK_SECRET=SECRET
    )


def test_the_dead_are_shown_and_sent_again(redis: Redis, redis_url: str, unfog: Unfog, tmp_path: Path) -> None:
    assert "No webhook has been given up" in unfog("dead").stdout
    port = free_port()
    with dispatcher_process(redis_url, SOON, tmp_path / "log"):
        (job,) = put_away(redis, [f"http://localhost:{port}/hush?token=hush"], caller="alice")
        assert eventually(lambda: left(redis).dead == 1)
        done = unfog("dead")
        assert done.returncode == 0, done.stderr
        head, line = done.stdout.splitlines()
        assert head.split() == ["id", "job", "caller", "host", "tries", "given", "up", "last", "reason"]
        webhook, *rest = line.split()
        assert rest[:4] == [job, "alice", "localhost", "3"]
        assert line.endswith("cannot connect")
        assert "hush" not in done.stdout
        with receiving(Receiver(), port=port) as receiver:
            done = unfog("resend", webhook)
            assert done.returncode == 0, done.stderr
            assert eventually(lambda: left(redis).nothing)
        assert [got.id for got in receiver.got] == [webhook]
        receiver.got[0].verified(unfog("secret", "alice").stdout.strip())
    done = unfog("resend", webhook)
    assert done.returncode == 2
    assert "was given up" in done.stderr


def test_the_secret_is_printed_alone(unfog: Unfog) -> None:
    done = unfog("secret", "alice")
    assert (done.returncode, done.stdout) == (0, secret_of(SECRET, "alice") + "\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((UNFOG, "webhooks", "secret", "alice"), "Set UNFOG_WEBHOOK_SECRET"),
        ((UNFOG, "dispatch"), "UNFOG_WEBHOOK_SECRET is empty"),
        ((sys.executable, "-m", "dispatch"), "UNFOG_WEBHOOK_SECRET is empty"),
    ],
)
def test_without_a_secret_it_is_said_which_is_needed(command: tuple[str | Path, ...], said: str) -> None:
    done = run(*command)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_secret_that_could_be_guessed_is_refused_and_not_shown() -> None:
    done = run(sys.executable, "-m", "dispatch", UNFOG_WEBHOOK_SECRET="hush")
    assert done.returncode == 2
    assert "UNFOG_WEBHOOK_SECRET cannot be used: it must have at least 32 characters" in done.stderr
    assert "hush" not in done.stderr


@pytest.mark.parametrize("delays", ["0", "-1", "5,x", "604801"])
def test_delays_that_make_no_sense_are_refused(delays: str) -> None:
    done = run(sys.executable, "-m", "dispatch", UNFOG_WEBHOOK_SECRET=SECRET, UNFOG_WEBHOOK_RETRIES_S=delays)
    assert done.returncode == 2
    assert "UNFOG_WEBHOOK_RETRIES_S" in done.stderr


def test_delays_are_read_from_the_environment(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    variables = {"UNFOG_REDIS_URL": redis_url, "UNFOG_WEBHOOK_SECRET": SECRET, "UNFOG_WEBHOOK_RETRIES_S": "0.01"}
    put_away(redis, [f"http://127.0.0.1:{free_port()}/"])
    with (tmp_path / "log").open("wb") as log:
        env = {**os.environ, **variables, "UNFOG_WEBHOOK_ALLOW_PRIVATE": "true"}
        process = subprocess.Popen([sys.executable, "-m", "dispatch"], cwd=ROOT, env=env, stderr=log)
    try:
        assert eventually(lambda: left(redis).dead == 1)
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
    assert '"tries": 2' in (tmp_path / "log").read_text()


def test_logs_hold_neither_secrets_nor_what_is_in_a_url_or_an_answer(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    leave = {"UNFOG_LOG_LEVEL": "debug", "UNFOG_WEBHOOK_ALLOW_PRIVATE": "true"}
    told = Receiver(answer=lambda got, times: 500 if times == 1 else 200, reply=b"hush", headers={"X-Told": "hush"})
    with receiving(told) as receiver, dispatcher_process(redis_url, SOON, tmp_path / "log", **leave) as running:
        url = f"http://127.0.0.1:{receiver.port}/hush?token=hush#hush"
        refused = ["ftp://hush:hush@hush.example/hush?hush", "http://hush:hush@a.example/hush"]
        put_away(redis, [url, *refused], metadata={"note": "hush"})
        assert eventually(lambda: left(redis) == Left(waiting=0, pending=0, due=0, dead=2, kept=2))
        running.process.terminate()
        assert running.process.wait(timeout=20) == 0
    log = (tmp_path / "log").read_text()
    assert "webhook delivered" in log
    assert "status 500" in log
    assert "URL refused" in log
    assert "hush" not in log
    assert SECRET not in log
    assert secret_of(SECRET, "anonymous") not in log


def test_without_leave_nothing_of_this_machine_is_called(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    shut = {"UNFOG_WEBHOOK_ALLOW_PRIVATE": "false"}
    with receiving(Receiver()) as receiver, dispatcher_process(redis_url, SOON, tmp_path / "log", **shut):
        put_away(
            redis, [receiver.url(), receiver.url(scheme="https"), receiver.url(host="localhost", scheme="https")]
        )
        assert eventually(lambda: left(redis).dead == 3)
    assert receiver.got == []
