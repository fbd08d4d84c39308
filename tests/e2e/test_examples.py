"""The examples run against a real service and save the picture that they ask for."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.running import RunningService, free_port

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
PROGRAMS = {"draw.sh": "sh", "draw.py": sys.executable, "draw.mjs": "node"}

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


def test_every_example_is_run() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert there == set(PROGRAMS)
