"""The service that is fuzzed: a real API and a real worker, in processes of their own, with an instant engine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.running import free_port

START_S = 60


@dataclass(frozen=True)
class Fuzzed:
    """Where it is, and its processes."""

    url: str
    port: int
    api: "subprocess.Popen[bytes]"
    log: Path

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the API."""
        pages = int(Path(f"/proc/{self.api.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def faults(self) -> list[str]:
        """Lines of the log that tell of a fault."""
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line or '"error"' in line]


@contextlib.contextmanager
def fuzzed(redis_url: str, folder: Path, **settings: str) -> Iterator[Fuzzed]:
    """Start both; stop both, and see that they end as they should."""
    port, log = free_port(), folder / "service.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    environment |= {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": str(port), "UNFOG_LOG_LEVEL": "warning"}
    environment |= {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
    with log.open("ab") as out:
        processes = [
            subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=out, stderr=out)
            for module in ("tests.fuzz.fast_worker", "app")
        ]
        service = Fuzzed(f"http://127.0.0.1:{port}", port, processes[1], log)
        try:
            _wait_until_ready(service, processes)
            yield service
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            codes = [_code_of(process) for process in processes]
    assert codes == [0, 0], f"exit codes of worker and API: {codes}\n{log.read_text()[-4000:]}"


def _wait_until_ready(service: Fuzzed, processes: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), service.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{service.url}/health/ready", timeout=5)
            if answer.status_code == httpx.codes.OK and answer.json()["workers"]:
                return
        time.sleep(0.05)
    raise AssertionError(f"not ready after {START_S} s\n{service.log.read_text()}")


def _code_of(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
