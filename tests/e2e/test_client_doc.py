"""What docs/client.md and docs/quickstart.md tell people to type works, in the order in which it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import RunningService

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"

pytestmark = pytest.mark.e2e


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / file).read_text(), re.MULTILINE | re.DOTALL)


PROGRAMS = [*blocks("client.md", "python"), *blocks("quickstart.md", "python")]
LINES = [
    block for file in ("client.md", "quickstart.md") for block in blocks(file, "sh") if "unfog generate" in block
]


def run(service: RunningService, folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    programs = f"{Path(sys.executable).parent}:{env['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**env, "UNFOG_URL": service.url, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_of_the_docs_runs(service: RunningService, program: str, tmp_path: Path) -> None:
    done = run(service, tmp_path, sys.executable, "-W", "error", "-c", program)
    assert done.returncode == 0, done.stderr
    assert "print" not in program or done.stdout
    assert 'save("out")' not in program or list((tmp_path / "out").glob("job_*.png"))


@pytest.mark.parametrize("lines", LINES, ids=range(len(LINES)))
def test_the_commands_of_the_docs_run(service: RunningService, lines: str, tmp_path: Path) -> None:
    done = run(service, tmp_path, "sh", "-e", "-c", lines)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\nthe same bytes\n") == lines.count("--like")


def test_the_docs_have_programs_and_commands() -> None:
    assert len(PROGRAMS) >= 5
    assert len(LINES) == 2
