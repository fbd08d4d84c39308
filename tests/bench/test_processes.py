"""The processes that are measured: none outlives its measurement."""

import sys
from pathlib import Path

import pytest

from bench.processes import processes
from tests.service.running import eventually

LEAVES_A_CHILD = """
import pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_what_a_command_leaves_behind_goes_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with processes([[sys.executable, "-c", LEAVES_A_CHILD, str(told)]], {}):
        assert eventually(lambda: told.exists() and bool(told.read_text()))
        child = Path("/proc") / told.read_text()
        assert child.exists()
    assert eventually(lambda: not child.exists())
