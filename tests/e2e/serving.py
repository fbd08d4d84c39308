"""The whole service as a person runs it: `make serve` in a terminal, stopped with Ctrl-C."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

IN_A_TERMINAL = """
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


class Serving:
    """A service that was started. said: all that its terminal showed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", state: Path) -> None:
        self.process = process
        self.state = state
        self.said = ""
        self._shown = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Wait until it says how to draw a picture, or ends."""
        assert self._shown.wait(timeout_s), f"not ready after {timeout_s} s:\n{self.said}"
        assert self.curl_line, f"it ended:\n{self.said}"

    @property
    def curl_line(self) -> str:
        found = re.search(r"^curl .*$", self.said, re.MULTILINE)
        return found[0].strip() if found else ""

    @property
    def url(self) -> str:
        found = re.search(r"Unfog is ready at (\S+)/ ", self.said)
        assert found is not None, self.said
        return found[1]

    def press_ctrl_c(self) -> None:
        """The key, not the signal: the terminal sends SIGINT to make and the supervisor alike."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\x03")
        self.process.stdin.flush()

    def end(self) -> str:
        """Wait for its end; all that it said."""
        self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return self.said

    def processes(self) -> dict[int, str]:
        """Every process that belongs to it, known by the state folder in its environment: pid to command line."""
        mark = f"UNFOG_STATE_DIR={self.state}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def pid_of(self, word: str) -> int:
        """The one process whose command line holds the word."""
        (pid,) = [pid for pid, command in self.processes().items() if word in command]
        return pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line.decode("utf-8", "replace").replace("\r\n", "\n")
            if self.curl_line:
                self._shown.set()
        self._shown.set()


@contextlib.contextmanager
def make_serve(state: Path, port: int, **env: str) -> Iterator[Serving]:
    """`make serve` in a terminal of its own; whatever the test does, nothing of it is left afterwards."""
    command = ["make", "serve", f"PORT={port}", f"VENV={sys.prefix}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("UNFOG_", "MAKE", "MFLAGS"))}
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command],
        cwd=ROOT,
        env={**own, "UNFOG_STATE_DIR": str(state), **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    running = Serving(process, state)
    try:
        yield running
    finally:
        for pid in running.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=10)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
