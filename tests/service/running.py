"""Starting a stand-in service as a process of its own, and asking what is left of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STAND_IN = Path(__file__).with_name("stand_in.py")

PREAMBLE = """
import os, signal, sys, time
folder, name = sys.argv[1], {name!r}
def note(what):
    with open(os.path.join(folder, "notes"), "a") as file:
        file.write(f"{{name}} {{what}}\\n")
def stop(number, frame):
    note(signal.Signals(number).name)
    sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
def appear():
    with open(os.path.join(folder, name + ".pid.new"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(os.path.join(folder, name + ".pid.new"), os.path.join(folder, name + ".pid"))
"""


def well_behaved(name: str, body: str = "") -> str:
    """Code of a child that notes its pid and every signal it gets, and leaves on the first."""
    return PREAMBLE.format(name=name) + f"{body}\nprint('at work')\nappear()\nwhile True: time.sleep(60)\n"


class Service:
    """A stand-in service that runs."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.process = process
        self.said = ""

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.strip() == "READY":
                return
        raise AssertionError(f"it ended before it was ready:\n{self.said}")

    def end(self) -> int:
        """Wait for its end; its exit code."""
        rest, _ = self.process.communicate(timeout=60)
        self.said += rest
        return self.process.returncode

    def pid(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text())

    def notes(self) -> list[str]:
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def ctrl_c(self) -> None:
        """SIGINT to the foreground process group, as a terminal does it."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextlib.contextmanager
def service(folder: Path, children: dict[str, str], **options: object) -> Iterator[Service]:
    """A stand-in service that is ended, whatever the test did to it."""
    told = json.dumps({"folder": str(folder), "children": children, **options})
    process = subprocess.Popen(
        [sys.executable, str(STAND_IN), told],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    running = Service(folder, process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def eventually(claim: Callable[[], bool]) -> bool:
    """Whether the claim comes true within 20 seconds."""
    deadline = time.monotonic() + 20.0
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
