"""The commands against a service on a socket that answers as it is told: output, files and exit codes."""

import contextlib
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app import examples
from tests.unfog.scripted import Asked, Listening, event, job, listening, problem
from tests.unfog.test_png_text import MADE, picture
from unfog import cli, errors
from unfog.terminal import MEANINGS, ExitCode, exit_code, printable

pytestmark = pytest.mark.usefixtures("no_pauses")

ART = picture("tEXt", json.dumps(MADE))
Reply = tuple[int, Any]


def as_json(status: int, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


class Painter:
    """A service that draws `ART` for whoever asks. replies: other answers, by method and end of the path."""

    def __init__(self, **fields: Any) -> None:
        self.fields = {"engine": MADE["engine"], "model_fingerprint": MADE["model_fingerprint"], **fields}
        self.replies: dict[tuple[str, str], Reply] = {}

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        path = asked.path.partition("?")[0]
        for (method, end), (status, body) in self.replies.items():
            if asked.method == method and path.endswith(end):
                return as_json(status, body)
        if asked.method == "POST":
            return as_json(202, job("canceled" if path.endswith("cancel") else "queued"))
        if path.endswith("/events"):
            half = {"completed": 25, "total": 50, "fraction": 0.5, "status": "running", "eta_s": 2.0}
            stream = event("snapshot", job()) + event("progress", half) + event("done", self.done())
            return 200, {"Content-Type": "text/event-stream"}, stream
        if path.endswith((".png", "/animation")):
            return 200, {"Content-Type": "image/png"}, ART
        return as_json(200, self.done())

    def done(self) -> dict[str, Any]:
        told = job(**{"status": "succeeded", **self.fields})
        for image in told["images"]:
            image["sha256"] = hashlib.sha256(ART).hexdigest()
        return told


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def service(painter: Painter) -> Iterator[Listening]:
    with listening(painter) as running:
        yield running


Run = Callable[..., Result]


@pytest.fixture
def run(service: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNFOG_URL", service.url)

    def run_command(*arguments: str) -> Result:
        return CliRunner().invoke(cli.build(), list(arguments), catch_exceptions=False)

    return run_command


def sent(service: Listening) -> dict[str, Any]:
    """The body of the first submit."""
    told: dict[str, Any] = json.loads(next(a for a in service.asked if a.path == "/v1/jobs").body)
    return told


def test_generate_writes_the_picture_and_prints_its_name(run: Run, tmp_path: Path) -> None:
    done = run("generate")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "job_1-0.png\n"
    assert (tmp_path / "job_1-0.png").read_bytes() == ART
    assert done.stderr == ("job_1 queued, place 3, 2 s left\njob_1 running 25/50, 2 s left\njob_1 succeeded\n"), (
        "without a terminal, a line for each change"
    )


def test_every_option_is_a_field_of_the_request(run: Run, service: Listening, tmp_path: Path) -> None:
    (tmp_path / "start.png").write_bytes(ART)
    options = (
        "--sampler ddim --steps 20 --seed 7 --class 3 --guidance 2 --eta 0.5 --scale 8 --n 2 --spacing leading "
    )
    options += (
        "--init-image start.png --strength 0.4 --seed-to 9 --seed-mix 0.3 --animation --priority low --model m "
    )
    options += "--metadata a=b --metadata c=d=e"
    assert run("generate", *options.split()).exit_code == 0
    told = sent(service)
    assert told.pop("init_image").startswith("data:image/png;base64,")
    numbers = {"steps": 20, "seed": 7, "class_label": 3, "guidance_scale": 2.0, "eta": 0.5, "scale": 8}
    more = {"num_images": 2, "strength": 0.4, "seed_to": 9, "seed_mix": 0.3, "animation": True}
    texts = {"sampler": "ddim", "timestep_spacing": "leading", "priority": "low", "model": "m"}
    assert told == numbers | more | texts | {"metadata": {"a": "b", "c": "d=e"}}


def test_a_class_may_be_named(run: Run, service: Listening) -> None:
    run("generate", "--class", "black")
    assert sent(service) == {"class_label": "black"}


@pytest.mark.parametrize(
    ("out", "names"),
    [
        ("new/folder", ["new/folder/job_1-0.png", "new/folder/job_1-animation.png"]),
        ("art.png", ["art.png", "art-animation.png"]),
        ("new/{seed}-{k}.png", ["new/7-0.png", "new/7-animation.png"]),
    ],
)
def test_out_is_a_folder_or_a_name(run: Run, painter: Painter, out: str, names: list[str], tmp_path: Path) -> None:
    painter.fields["request"] = {"animation": True}
    done = run("generate", "--animation", "-o", out)
    assert done.stdout.splitlines() == names
    assert all((tmp_path / name).read_bytes() == ART for name in names)


def test_out_may_be_standard_output(run: Run, tmp_path: Path) -> None:
    done = run("generate", "-o", "-")
    assert done.stdout_bytes == ART
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("generate -o art.png -n 2", "art.png is one name for 2 pictures; write {k}"),
        ("generate -o - -n 2", "-o - is for one picture"),
        ("generate -o - --animation", "-o - is for one picture"),
        ("generate -o - --json", "-o - is for one picture"),
        ("generate --metadata x", "--metadata takes KEY=VALUE, not 'x'"),
        ("generate --like none.png", "No such file"),
        ("generate --init-image none.png", "No such file"),
        ("generate --init-image text", "text is neither PNG, JPEG nor WebP"),
        ("generate --like text", "text: it is no PNG"),
        ("generate --url nowhere", "the service's address is like http://127.0.0.1:8000, not 'nowhere'"),
        ("cancel ..", "'..' is no id"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_asked_for(
    run: Run, service: Listening, tmp_path: Path, arguments: str, reason: str
) -> None:
    (tmp_path / "text").write_text("hello")
    done = run(*arguments.split())
    assert done.exit_code == ExitCode.USAGE
    assert reason in done.stderr
    assert done.stderr.startswith(f"unfog {arguments.split()[0]}: ")
    assert service.asked == []


def test_a_folder_that_cannot_be_written_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("generate", "-o", "file/folder")
    assert done.exit_code == ExitCode.USAGE
    assert "unfog generate: [Errno" in done.stderr


def like(run: Run, *options: str) -> Result:
    Path("art.png").write_bytes(ART)
    return run("generate", "--like", "art.png", "-o", "again", *options)


MODEL = {**examples.MODEL, "fingerprint": MADE["model_fingerprint"]}


def test_like_asks_for_the_same_and_says_that_the_bytes_are(run: Run, painter: Painter, service: Listening) -> None:
    painter.replies["GET", "/models/cats-32"] = (200, MODEL)
    done = like(run)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.endswith("\nthe same bytes\n")
    assert done.stdout == "again/job_1-0.png\n"
    left_out = ("model_fingerprint", "engine", "class_label")
    assert sent(service) == {name: value for name, value in MADE.items() if name not in left_out}


def test_like_says_first_that_weights_and_engine_are_others(run: Run, painter: Painter) -> None:
    painter.replies["GET", "/models/cats-32"] = (200, {**MODEL, "fingerprint": "5678"})
    painter.fields |= {"engine": "cuda", "model_fingerprint": "5678"}
    done = like(run, "--json")
    weights, *_, engine, verdict = done.stderr.splitlines()
    assert weights == "cats-32 has other weights now than when this picture was made: it will look different"
    assert engine == "another engine made it then (cpu float32 strict) than now (cuda): pixels may differ"
    assert verdict == "the same bytes"
    assert json.loads(done.stdout)["like"] == {"equal": True, "same_weights": False, "same_engine": False}


def test_like_says_that_the_bytes_are_others(run: Run, painter: Painter) -> None:
    painter.replies["GET", "/models/cats-32"] = (200, MODEL)
    Path("art.png").write_bytes(ART + b"something after the end")
    done = run("generate", "--like", "art.png", "-o", "again")
    assert done.stderr.endswith("\nother bytes\n")


def test_like_with_changes_makes_no_comparison(run: Run, painter: Painter, service: Listening) -> None:
    painter.replies["GET", "/models/cats-32"] = (200, MODEL)
    done = like(run, "--seed", "8")
    assert done.stderr.endswith("job_1 succeeded\n")
    assert sent(service)["seed"] == 8


FAILURES = [
    ("POST", "/jobs", 422, "invalid_request", ExitCode.REFUSED),
    ("POST", "/jobs", 401, "unauthorized", ExitCode.KEY),
    ("POST", "/jobs", 403, "forbidden", ExitCode.KEY),
    ("POST", "/jobs", 429, "queue_full", ExitCode.UNAVAILABLE),
    ("POST", "/jobs", 503, "no_models", ExitCode.UNAVAILABLE),
    ("POST", "/jobs", 500, "internal_error", ExitCode.UNAVAILABLE),
    ("GET", "/events", 404, "job_not_found", ExitCode.REFUSED),
    ("GET", "/events", 410, "job_gone", ExitCode.REFUSED),
]


@pytest.mark.parametrize(("method", "end", "status", "code", "expected"), FAILURES)
def test_an_error_of_the_service_is_a_sentence_and_an_exit_code(
    run: Run, painter: Painter, method: str, end: str, status: int, code: str, expected: ExitCode
) -> None:
    painter.replies[method, end] = (status, problem(code, "the \x1b[31mreason"))
    done = run("generate")
    assert done.exit_code == expected
    assert done.stderr.splitlines()[-1].startswith(f"unfog generate: the �[31mreason ({status} {code}")
    assert done.stdout == ""


@pytest.mark.parametrize("status", ["failed", "canceled"])
@pytest.mark.parametrize("command", ["generate", "watch job_1", "watch job_1 --json"])
def test_a_job_that_ends_without_a_picture_has_its_exit_code(
    run: Run, painter: Painter, status: str, command: str
) -> None:
    painter.fields["status"] = status
    done = run(*command.split())
    assert done.exit_code == ExitCode.JOB_ENDED
    assert f"job job_1 {'failed' if status == 'failed' else 'was canceled'}" in done.stderr


def test_nobody_there_is_an_exit_code(run: Run) -> None:
    done = run("models", "--url", "http://127.0.0.1:1")
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert "http://127.0.0.1:1 does not answer" in done.stderr


def test_the_key_comes_from_the_environment(run: Run, service: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_API_KEY", "uf_secret")
    done = run("generate")
    assert {asked.headers["authorization"] for asked in service.asked} == {"Bearer uf_secret"}
    assert "uf_secret" not in done.output


def test_generate_in_json_has_the_whole_job(run: Run, painter: Painter) -> None:
    painter.fields["added_later"] = 1
    told = json.loads(run("generate", "--json").stdout)
    assert told["job"]["added_later"] == 1
    assert told["files"] == ["job_1-0.png"]
    assert told["like"] is None


def test_jobs_are_lines_or_json(run: Run, painter: Painter, service: Listening) -> None:
    data = [job("running", id=f"job_{k}") for k in range(3)]
    painter.replies["GET", "/v1/jobs"] = (200, {"data": data, "next_cursor": None})
    lines = run("jobs", "--status", "running").stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["job_0", "running", "20%", "cats-32"]
    assert len(lines) == 3
    assert service.asked[0].path == "/v1/jobs?status=running&limit=50"
    assert [told["id"] for told in json.loads(run("jobs", "--limit", "2", "--json").stdout)] == ["job_0", "job_1"]


def test_cancel_says_what_became_of_the_job(run: Run) -> None:
    assert run("cancel", "job_1").stdout == "job_1 canceled\n"
    assert json.loads(run("cancel", "job_1", "--json").stdout)["status"] == "canceled"


def test_watch_ends_with_the_job(run: Run) -> None:
    assert run("watch", "job_1").stdout == "job_1 succeeded\n"
    events = [json.loads(line) for line in run("watch", "job_1", "--json").stdout.splitlines()]
    assert [told["event"] for told in events] == ["snapshot", "progress", "done"]
    assert events[1]["completed"] == 25
    assert events[2]["job"]["status"] == "succeeded"


def test_models_are_lines_or_json(run: Run, painter: Painter) -> None:
    painter.replies["GET", "/models"] = (200, {"data": [MODEL], "next_cursor": None})
    assert run("models").stdout == "cats-32\t32 × 32\tddim\tddim 50\tblack, calico\t1\n"
    assert json.loads(run("models", "--json").stdout) == [MODEL]


def test_bench_counts_jobs(run: Run, service: Listening) -> None:
    told = json.loads(run("bench", "--jobs", "7", "--concurrency", "3", "--json").stdout)
    assert told["jobs"] == 7
    assert told["failed"] == {}
    assert 0 < told["p50_s"] <= told["p95_s"]
    seeds = [json.loads(asked.body)["seed"] for asked in service.asked if asked.method == "POST"]
    assert sorted(seeds) == list(range(7))


def test_bench_says_what_failed(run: Run, painter: Painter) -> None:
    painter.fields["status"] = "failed"
    done = run("bench", "--jobs", "2")
    assert done.exit_code == ExitCode.JOB_ENDED
    assert done.stderr == "2 jobs failed: not_finite\n"


def test_bench_cancels_what_it_leaves_behind(run: Run, painter: Painter, service: Listening) -> None:
    painter.replies["GET", "/events"] = (404, problem("job_not_found"))
    assert run("bench", "--jobs", "2").exit_code == ExitCode.REFUSED
    assert service.asked[-1].path == "/v1/jobs/job_1/cancel"


def in_a_terminal(folder: Path, service: Listening, *arguments: str) -> tuple[int, str]:
    """Exit code and all that a terminal of 200 columns shows."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "import unfog.cli; unfog.cli.main()", *arguments, "--url", service.url]
    env = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal that nobody writes to any more with EIO
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def test_a_terminal_sees_a_bar_while_it_lasts_and_then_the_name(service: Listening, tmp_path: Path) -> None:
    code, shown = in_a_terminal(tmp_path, service, "generate")
    assert code == 0, shown
    assert "━" in shown
    assert shown.endswith("\x1b[2Kjob_1-0.png\r\n"), "the bar is wiped out"


def test_a_terminal_sees_a_table_with_heads(service: Listening, painter: Painter, tmp_path: Path) -> None:
    painter.replies["GET", "/v1/jobs"] = (200, {"data": [job("running", model="a[b]\x1b[2J")], "next_cursor": None})
    code, shown = in_a_terminal(tmp_path, service, "jobs")
    assert code == 0, shown
    head, row = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert head.split() == ["job", "status", "done", "model", "sampler", "steps", "n", "seed", "created"]
    assert row.split()[:4] == ["job_1", "running", "20%", "a[b]�[2J"]


def test_a_picture_is_not_written_to_a_terminal(service: Listening, tmp_path: Path) -> None:
    code, shown = in_a_terminal(tmp_path, service, "generate", "-o", "-")
    assert code == ExitCode.USAGE
    assert "send it on with | or >" in shown
    assert service.asked == []


@pytest.mark.parametrize("moment", ["/v1/jobs", "/events"])
def test_ctrl_c_cancels_the_job_and_a_repeated_submit_is_the_same_one(moment: str, tmp_path: Path) -> None:
    reached, go_on, painter = threading.Event(), threading.Event(), Painter()

    def answering(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.path.endswith(moment) and not reached.is_set():
            reached.set()
            go_on.wait(30)
        return painter(asked)

    with listening(answering) as service:
        command = [sys.executable, "-c", "import unfog.cli; unfog.cli.main()", "generate", "--url", service.url]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert reached.wait(60)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            go_on.set()
    assert process.returncode == ExitCode.INTERRUPTED, said
    assert said.endswith("job job_1 is canceled\n")
    assert service.asked[-1].path == "/v1/jobs/job_1/cancel"
    keys = [asked.headers["idempotency-key"] for asked in service.asked if asked.path == "/v1/jobs"]
    assert len(keys) == (2 if moment == "/v1/jobs" else 1)
    assert len(set(keys)) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_error_has_an_exit_code_and_every_code_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)
    for name in ("ConnectionFailed", "UnexpectedAnswer"):
        assert exit_code(getattr(errors, name)("")) == ExitCode.UNAVAILABLE
    assert exit_code(errors.RequestRefused(409, "job_unfinished", "")) == ExitCode.REFUSED
    assert exit_code(errors.WrongArgument("")) == ExitCode.USAGE


def test_the_help_has_the_exit_codes(run: Run) -> None:
    said = " ".join(run("--help").stdout.split())
    assert "130 Ctrl-C" in said
    assert "4 the service does not answer" in said


def test_nothing_of_http_is_loaded_for_the_help() -> None:
    code = "import unfog.cli; unfog.cli.build(); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"httpx", "unfog.client", "rich.progress"} & set(done.stdout.split())


def test_texts_from_elsewhere_cannot_write_on_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07b\nc\x9bd") == "a�]0;title�b\nc�d"
