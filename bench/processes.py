"""Starting what is measured: a Redis, processes side by side, a port for each; and what memory they take."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from service.redis_server import RedisServer, find_redis_server

START_S = 300.0

Process = subprocess.Popen[bytes]


def environment_of(**own: str) -> dict[str, str]:
    """The environment of what is measured, ours and the peers alike: this one's, and `own`.

    Threads wait without spinning, as the service has it, or whoever shares the cores with them is measured too.
    """
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **own}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of its own; its URL."""
    binary = find_redis_server()
    assert binary is not None, "needs a redis-server"
    with tempfile.TemporaryDirectory() as folder, RedisServer(binary, Path(folder)) as server:
        yield server.url


@contextlib.contextmanager
def processes(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> Iterator[list[Process]]:
    """Run commands side by side; their words go to a file that is shown when something goes wrong.

    What they leave behind goes with them: workers without a server would slow down all that is measured next.
    """
    own = environment_of(**environment)
    with tempfile.TemporaryFile() as log:
        running = [
            subprocess.Popen(list(command), env=own, stdout=log, stderr=log, start_new_session=True)
            for command in commands
        ]
        try:
            yield running
        except BaseException:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            raise
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=30)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(url: str, started: Iterable[Process], accept: Callable[[Any], bool] | None = None) -> None:
    """Wait until `url` answers 200, and `accept`, if given, likes its JSON."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in started), "it ended while it started"
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(url, timeout=5)
            if answer.status_code == httpx.codes.OK and (accept is None or accept(answer.json())):
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} was not ready after {START_S:.0f} s")


def peak_memory_bytes(pids: Iterable[int]) -> int:
    """The most resident memory that the processes and all below them have had so far, added up.

    Pages that processes share are counted in each; 0 where there is no /proc.
    """
    total, todo = 0, list(pids)
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken so far; 0 where there is no /proc."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
