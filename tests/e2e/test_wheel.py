"""The wheel in an empty environment: the client and its commands, and nothing of the service."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.e2e.running import RunningService

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.e2e

PROGRAM = """
from unfog import Client, Generated, UnfogError


def draw(client: Client) -> Generated:
    return client.generate(sampler="ddim", steps=2, n=2, on_progress=lambda now: print(now.fraction))


with Client() as client:
    made = draw(client)
    reveal_type(made.pngs)
    reveal_type([event for event in client.events(made.job)])
    client.generate(stepz=2)
    client.generate(steps="2")
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UNFOG_", "PYTHON"))}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=110
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that has the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    (wheel,) = folder.glob("*.whl")
    bin_folder = folder / "venv" / "bin"
    pip = [bin_folder / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = run(*pip, "--constraint", ROOT / "requirements.lock", wheel, cwd=folder)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"pip finds no index to install from: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return bin_folder


def test_nothing_of_the_service_comes_along(programs: Path, tmp_path: Path) -> None:
    listed = run(programs / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert {"unfog", "httpx", "typer", "rich"} <= names
    assert not names & {"torch", "numpy", "pillow", "diffusers", "fastapi", "uvicorn", "redis", "rq"}


def test_it_draws_and_makes_the_same_bytes_again(programs: Path, service: RunningService, tmp_path: Path) -> None:
    drawn = run(programs / "unfog", "generate", "--steps", "5", "--seed", "7", cwd=tmp_path, UNFOG_URL=service.url)
    assert drawn.returncode == 0, drawn.stderr
    art = drawn.stdout.strip()
    like = ("generate", "--like", art, "-o", "again.png")
    again = run(programs / "unfog", *like, cwd=tmp_path, UNFOG_URL=service.url)
    assert again.returncode == 0, again.stderr
    assert again.stderr.endswith("the same bytes\n")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / art).read_bytes()


def test_every_command_answers_there_and_says_what_it_lacks(programs: Path, tmp_path: Path) -> None:
    told = run(programs / "unfog", "--help", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    for room_command in ("serve", "train", "api"):
        assert room_command in told.stdout
    serve = run(programs / "unfog", "serve", cwd=tmp_path)
    assert serve.returncode == 2
    assert serve.stderr.startswith("`unfog serve` needs a checkout of the project")


def test_type_checkers_see_its_types(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", programs / "python", "program.py"]
    said = run(*mypy, cwd=tmp_path).stdout
    assert 'Revealed type is "tuple[bytes, ...]"' in said
    for event in ("Snapshot", "Progressed", "Preview", "Done"):
        assert f"unfog.events.{event}" in said
    assert 'Unexpected keyword argument "stepz" for "generate" of "Client"' in said
    assert 'Argument "steps" to "generate" of "Client" has incompatible type "str"' in said
    assert "Found 2 errors" in said
