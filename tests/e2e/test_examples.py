"""The examples run against a real service and save the picture that they ask for."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.running import RunningService, free_port
from tests.unfog.scripted import PNG, Asked, event, job, listening, problem

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
PROGRAMS = {"draw.sh": "bash", "draw.py": sys.executable, "draw_httpx.py": sys.executable, "draw.mjs": "node"}

pytestmark = pytest.mark.e2e


@pytest.fixture(params=PROGRAMS)
def command(request: pytest.FixtureRequest) -> list[str]:
    """How to start one of the examples."""
    program = PROGRAMS[request.param]
    if shutil.which(program) is None:
        pytest.skip(f"{request.param} needs {program}, which is not on PATH")
    return [program, str(EXAMPLES / request.param)]


def run(
    command: list[str], folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def picture(service: RunningService) -> bytes:
    """What all of them ask for."""
    return service.submit({"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}, accept="image/png").content


def test_an_example_finds_the_service_by_a_variable_and_saves_the_picture(
    service: RunningService, command: list[str], picture: bytes, tmp_path: Path
) -> None:
    done = run(command, tmp_path, UNFOG_URL=service.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "art.png\n"
    assert (tmp_path / "art.png").read_bytes() == picture
    assert Image.open(io.BytesIO(picture)).format == "PNG"


def test_an_example_fails_without_a_service_and_leaves_no_file(command: list[str], tmp_path: Path) -> None:
    done = run(command, tmp_path, f"http://127.0.0.1:{free_port()}", UNFOG_URL="http://127.0.0.1:1")
    assert done.returncode != 0
    assert done.stderr
    assert list(tmp_path.iterdir()) == []


JOB_ID = "job_0123456789abcdef01234567"


class Painter:
    """A service that cuts the first stream of events, and ends its job as it is told; its key is `uf_secret`."""

    def __init__(self, end: str = "succeeded") -> None:
        self.end, self.streams = end, 0

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.headers.get("authorization") != "Bearer uf_secret":
            return self.json(401, problem("unauthorized", "an API key is needed"))
        ended = self.streams == 2
        picture_asked = asked.headers.get("accept") == "image/png" or asked.path.endswith(".png")
        if asked.path.endswith("/events"):
            return self.events()
        if ended and picture_asked:
            if self.end == "succeeded":
                return 200, {"Content-Type": "image/png"}, PNG
            return self.json(409, problem("job_failed", "job has no picture: it came out as NaN"))
        submitting = asked.method == "POST" or picture_asked
        return self.json(202 if submitting else 200, self.job(self.end if ended else "running"))

    def job(self, status: str) -> dict[str, Any]:
        told = job(status, id=JOB_ID)
        path = f"/v1/jobs/{JOB_ID}"
        told["urls"] = {"self": path, "events": f"{path}/events"}
        for image in told["images"]:
            image["url"] = f"{path}/images/0.png"
        return told

    def events(self) -> tuple[int, dict[str, str], bytes]:
        self.streams += 1
        half = {"completed": 25, "total": 50, "fraction": 0.5, "status": "running"}
        told = event("snapshot", self.job("running")) + event("progress", half)
        headers = {"Content-Type": "text/event-stream"}
        if self.streams == 1:
            return 200, {**headers, "Content-Length": str(len(told) + 100)}, told
        return 200, headers, told + event("done", self.job(self.end))

    @staticmethod
    def json(status: int, body: Any) -> tuple[int, dict[str, str], bytes]:
        kind = "application/json" if status < 400 else "application/problem+json"
        return status, {"Content-Type": kind}, json.dumps(body).encode()


def test_an_example_sends_the_key_shows_progress_and_outlives_a_cut_stream(
    command: list[str], tmp_path: Path
) -> None:
    painter = Painter()
    with listening(painter) as service:
        done = run(command, tmp_path, UNFOG_URL=service.url, UNFOG_API_KEY="uf_secret")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "art.png").read_bytes() == PNG
    assert "50%" in done.stderr or "0.5" in done.stderr
    assert painter.streams == 2
    assert service.asked[0].headers["idempotency-key"]


def test_an_example_says_why_there_is_no_picture_and_leaves_no_file(command: list[str], tmp_path: Path) -> None:
    with listening(Painter("failed")) as service:
        failed = run(command, tmp_path, service.url, UNFOG_API_KEY="uf_secret")
        refused = run(command, tmp_path, service.url)
    assert failed.returncode != 0
    assert "it came out as NaN" in failed.stderr
    assert refused.returncode != 0
    assert "an API key is needed" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_run() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert there == set(PROGRAMS)
