"""The container engine that `docker` reaches, and the composed service in it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent
API, WORKER, REDIS = "unfog-api", "unfog-worker:latest-cpu", os.environ.get("REDIS_IMAGE", "redis:7-bookworm")
BASE = os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm")


def docker(*arguments: str, timeout_s: float = 120) -> str:
    """Run `docker`; what it printed."""
    return _run(["docker", *arguments], None, timeout_s)


def readme_commands(heading: str) -> list[str]:
    """The commands of a part of the README, without what is said beside them."""
    part = (ROOT / "README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
    return [line.partition("   #")[0].strip() for block in blocks for line in block.splitlines()]


def inspected(kind: str, name: str) -> dict[str, Any]:
    """What `docker KIND inspect` says of one."""
    (found,) = json.loads(docker(kind, "inspect", name))
    assert isinstance(found, dict)
    return found


def until(true: Callable[[], Any], limit_s: float, what: str) -> Any:
    """What `true` gives, once it is something."""
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        time.sleep(0.25)
    return found


def log_of(container: str) -> list[dict[str, Any]]:
    """The lines that a container of the service has logged."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, timeout=30, check=True)
    return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]


class Stack:
    """The compose project of the tests, on ports of its own."""

    def __init__(self, project: str, port: int) -> None:
        self.project, self.port = project, port
        self.url = f"http://127.0.0.1:{port}"
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        assert plugin or shutil.which("docker-compose"), "neither `docker compose` nor `docker-compose` is here"
        self.command = ["docker", "compose"] if plugin else ["docker-compose"]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")},
            "COMPOSE_PROJECT_NAME": project,
            "API_PORT": str(port),
            "REDIS_USER": docker("run", "--rm", "--entrypoint", "stat", REDIS, "-c", "%u:%g", "/data").strip(),
            "UNFOG_DRAIN_S": "1",
        }

    def compose(self, *arguments: str, timeout_s: float = 240) -> str:
        """Run Compose on the project; what it printed."""
        return _run([*self.command, *arguments], self.environment, timeout_s)

    def as_written(self, line: str) -> str:
        """Run a command of the README; `up` in the background, with the images that are there."""
        program, subcommand, *arguments = shlex.split(line.removeprefix("docker "))
        assert program == "compose", line
        more = ["--detach", "--no-build"] if subcommand == "up" else ["--timeout", "15"]
        return self.compose(subcommand, *arguments, *more)

    def containers(self, service: str, *, stopped: bool = False) -> list[str]:
        """The ids of a service's containers."""
        labels = f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}"
        filters = [word for label in labels for word in ("--filter", label)]
        return docker("ps", "--quiet", "--no-trunc", *(["--all"] if stopped else []), *filters).split()

    def workers_ready(self, number: int) -> bool:
        """Whether so many workers serve."""
        try:
            answer = httpx.get(f"{self.url}/health/ready", timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["workers"] == number

    def submit(self, **fields: Any) -> dict[str, Any]:
        """A job that was accepted."""
        answer = httpx.post(f"{self.url}/v1/jobs", json=fields, timeout=30)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is now."""
        found: dict[str, Any] = httpx.get(self.url + job["urls"]["self"], timeout=30).json()
        return found

    def all_ended(self, jobs: list[dict[str, Any]], limit_s: float = 400) -> list[dict[str, Any]]:
        """The jobs, once all have ended."""

        def ended() -> list[dict[str, Any]] | None:
            found = [self.job(job) for job in jobs]
            return found if all(one["status"] not in ("queued", "running") for one in found) else None

        found: list[dict[str, Any]] = until(ended, limit_s, "all jobs have ended")
        return found

    def held_by(self, container: str) -> int:
        """The jobs that a worker has claimed and not ended, as its own metrics say."""
        script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
        said = docker("exec", container, "python", "-c", script)
        found = re.search(r"^unfog_worker_jobs_held (\S+)$", said, re.MULTILINE)
        assert found is not None, said
        return int(float(found[1]))

    def left(self) -> str:
        """Whatever of the project is in the engine."""
        mine = ("--quiet", "--filter", f"label=com.docker.compose.project={self.project}")
        return docker("ps", "--all", *mine) + docker("volume", "ls", *mine) + docker("network", "ls", *mine)


def _run(command: list[str], environment: dict[str, str] | None, timeout_s: float) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
