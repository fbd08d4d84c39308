"""One process of the service: started on a leash, its output read, its end noticed.

Knows nothing of what the process does, nor of the other processes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
_TAIL_LINES = 40
_CHUNK_BYTES = 65_536


def _always() -> bool:
    return True


class Child:
    """A process in a group of its own, so that Ctrl-C in a terminal reaches only its parent.

    name: what its lines are labelled with. command: the program and its arguments. env: its whole environment.
    log: a file for its output, emptied at each start; without one the output is a pipe that `pump` reads.
    stop_s: how long it may take after SIGTERM. death_signal: what it gets when its parent dies.
    ready: whether it does its work yet; asked only while it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        stop_s: float = 10.0,
        death_signal: signal.Signals = signal.SIGKILL,
        ready: Callable[[], bool] = _always,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.env = env
        self.log = log
        self.stop_s = stop_s
        self.death_signal = death_signal
        self.ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._partial = b""
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)

    def start(self) -> None:
        """Start it. Raises `OSError` if the machine has no room for another process."""
        assert self._process is None or self._process.returncode is not None, f"{self.name} is running"
        self._partial = b""
        self._lines.clear()
        how = "kernel" if sys.platform == "linux" else "pipe"
        leash = (sys.executable, "-I", "-S", str(_LEASH), how, str(os.getpid()), str(int(self.death_signal)))
        with contextlib.ExitStack() as files:
            output = files.enter_context(self.log.open("wb")) if self.log is not None else subprocess.PIPE
            self._process = subprocess.Popen(
                [*leash, *self.command],
                env=None if self.env is None else dict(self.env),
                stdin=subprocess.PIPE,  # never written to: its closing tells the leash that we are gone
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def pid(self) -> int | None:
        """Its process id, also of a dead one; None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and its end has not been noticed by `poll`."""
        return self._process is not None and self._process.returncode is None

    @property
    def output(self) -> int | None:
        """The file descriptor that `pump` reads; None if there is none to read."""
        if self._process is None or self._process.stdout is None or self._process.stdout.closed:
            return None
        return self._process.stdout.fileno()

    def pump(self) -> list[str]:
        """The whole lines that came since the last call; what is left after its end comes as a line too."""
        descriptor = self.output
        if descriptor is None:
            return []
        data = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                data += chunk
                if len(data) > 16 * _CHUNK_BYTES:  # one that never stops talking must not stop its parent
                    break
        *whole, self._partial = (self._partial + data).split(b"\n")
        if not self.running and self._partial:
            whole, self._partial = [*whole, self._partial], b""
        lines = [line.decode("utf-8", "replace").rstrip("\r") for line in whole]
        self._lines.extend(lines)
        return lines

    def tail(self) -> list[str]:
        """Its last lines of output, at most 40."""
        if self.log is None:
            return list(self._lines)
        with contextlib.suppress(OSError):
            return self.log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        return []

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs. Ends what it left behind in its group."""
        process = self._process
        assert process is not None, f"{self.name} was never started"
        if process.returncode is None:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            # While it is a zombie its group's number is still its own: nobody else can be hit.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        return process.returncode

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it runs."""
        if self._process is not None and self.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it and its whole group at once."""
        if self._process is not None and self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> int | None:
        """SIGTERM, wait for `stop_s`, kill, forget. For callers without a loop. Returns its exit code."""
        self.send(signal.SIGTERM)
        deadline = time.monotonic() + self.stop_s
        while self.running and self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.01)
        self.close()
        return None if self._process is None else self._process.returncode

    def close(self) -> None:
        """Give back the pipe of a process that has ended."""
        assert not self.running, f"{self.name} is running"
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
