"""A process on a leash goes when its parent goes, in both ways of tying it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service import leash
from tests.service.running import alive, eventually

PARENT = """
import os, subprocess, sys, time
leash, how, code = sys.argv[1:]
command = [sys.executable, leash, how, str(os.getpid()), "15", sys.executable, "-c", code]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert child.stdout.readline() == b"up\\n"
print(child.pid, flush=True)
time.sleep(600)
"""
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(
            "kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_PDEATHSIG")
        ),
        "pipe",
    ],
)
def test_a_killed_parent_takes_the_process_along(how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, leash.__file__, how, SLEEPER], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        assert eventually(lambda: not alive(child))
    finally:
        parent.kill()
        parent.communicate()


def test_a_process_whose_parent_went_before_the_leash_was_on_never_starts() -> None:
    not_its_parent = str(os.getpid() + 1)
    mark = "print('ran')"
    command = [sys.executable, leash.__file__, "pipe", not_its_parent, "15", sys.executable, "-c", mark]
    # The pipe stays open until it has ended: a closed one makes the watcher end it first.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(timeout=30) == 70


def test_the_watcher_goes_with_the_process_it_watches(tmp_path: Path) -> None:
    shows_group = "import os; print(os.getpgid(0), flush=True)"
    command = [sys.executable, leash.__file__, "pipe", str(os.getpid()), "15", sys.executable, "-c", shows_group]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
    try:
        assert child.stdout is not None
        assert child.stdout.read() == f"{child.pid}\n".encode(), "its output ends with it, watcher or not"
        assert child.wait() == 0

        def group_is_empty() -> bool:
            try:
                os.killpg(child.pid, 0)
            except ProcessLookupError:
                return True
            return False

        assert eventually(group_is_empty)
    finally:
        child.communicate()


def test_the_process_gets_an_empty_standard_input() -> None:
    reads = "import sys; print(repr(sys.stdin.read()))"
    command = [sys.executable, leash.__file__, "pipe", str(os.getpid()), str(int(signal.SIGKILL))]
    with subprocess.Popen(
        [*command, sys.executable, "-c", reads], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read() == b"''\n"
