"""A running service of the tests' own: a real Redis, a real worker, the real API, on a free port."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_S = 120


@dataclass
class RunningService:
    """Where the service is, and its processes."""

    url: str
    redis_url: str
    worker: subprocess.Popen[bytes]
    api: subprocess.Popen[bytes]

    def submit(self, body: dict[str, Any], wait_s: int = 60, accept: str = "application/json") -> httpx.Response:
        """Submit a job and wait for its end."""
        headers = {"Prefer": f"wait={wait_s}", "Accept": accept}
        return httpx.post(f"{self.url}/v1/jobs", json=body, headers=headers, timeout=wait_s + 10)

    def finished(self, job: dict[str, Any], limit_s: float = 90) -> dict[str, Any]:
        """The job when it has ended."""
        deadline = time.monotonic() + limit_s
        while job["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, f"the job did not end: {job}"
            time.sleep(0.05)
            job = httpx.get(self.url + job["urls"]["self"]).json()
        return job

    def pictures(self, job: dict[str, Any]) -> list[bytes]:
        """The PNGs of a job that has succeeded."""
        assert job["status"] == "succeeded", job
        answers = [httpx.get(self.url + image["url"]) for image in job["images"]]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.content for answer in answers]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    redis_url: str, log: Path, *, worker_module: Sequence[str] = ("worker",), **settings: str
) -> Iterator[RunningService]:
    """Start a worker and the API; stop both at the end, and see that they end cleanly."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("UNFOG_")}
    environment |= {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": str(port)}
    environment |= {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
    with log.open("ab") as out:
        worker, api = (
            subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=out, stderr=out)
            for module in (worker_module, ("app",))
        )
        service = RunningService(f"http://127.0.0.1:{port}", redis_url, worker, api)
        try:
            _wait_until_ready(service, log)
            yield service
        finally:
            codes = [stop(process) for process in (service.api, service.worker)]
    assert codes == [0, 0], f"exit codes of API and worker: {codes}\n{log.read_text()}"


def stop(process: "subprocess.Popen[bytes]") -> int:
    """SIGTERM, then the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _wait_until_ready(service: RunningService, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert service.worker.poll() is None, f"the worker ended\n{log.read_text()}"
        assert service.api.poll() is None, f"the API ended\n{log.read_text()}"
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{service.url}/health/ready", timeout=5)
            if answer.status_code == 200 and answer.json()["workers"]:
                return
        time.sleep(0.1)
    raise AssertionError(f"not ready after {START_S} s\n{log.read_text()}")
