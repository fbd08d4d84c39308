"""How soon the jobs of a killed worker are queued again: by another worker, and by the supervisor.

    python -m bench.requeue [--jobs 12] [--repeats 3]

A worker that holds long jobs gets SIGKILL. Without a supervisor a second worker has to notice the silence; under
`unfog serve` the supervisor sees its child die.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from bench.load import job
from bench.processes import free_port, processes, redis_server, wait_until
from bench.report import Result, options_of, spread, tell
from bench.targets import unfog

SETTLED_S = 11.0
"""The supervisor gives up on a worker that dies within ten seconds of its start, again and again."""


def measure(model: Path, jobs: int, repeats: int) -> Result:
    """Seconds from the kill until no job is held by the dead."""
    measured: dict[str, list[float]] = {"by another worker": [], "by the supervisor": []}
    for _ in range(repeats):
        with unfog(model, workers=2) as service:
            measured["by another worker"].append(_kill(service.url, service.redis_url, jobs))
    with _supervised(model) as (url, redis_url):
        for _ in range(repeats):
            time.sleep(SETTLED_S)
            measured["by the supervisor"].append(_kill(url, redis_url, jobs))
    return {"jobs": jobs, "queued_again_s": measured, "ratios": measured}


def _kill(url: str, redis_url: str, jobs: int) -> float:
    with Redis.from_url(redis_url) as redis, httpx.Client(base_url=url, timeout=60) as client:
        wait_until(f"{url}/health/ready", (), lambda body: bool(body["workers"]))
        made = [client.post("/v1/jobs", json=job("ddpm", 1000, n)).json()["id"] for n in range(jobs)]
        _until(lambda: all(_state(redis, one)[0] == b"started" for one in made), 60)
        worker = _state(redis, made[0])[1]
        held = [one for one in made if _state(redis, one)[1] == worker]
        os.kill(int(redis.hget(f"rq:worker:{worker.decode()}", "pid") or 0), signal.SIGKILL)
        took = _until(lambda: all(_state(redis, one) != (b"started", worker) for one in held), 60)
        for one in made:
            client.post(f"/v1/jobs/{one}/cancel")
        return took


def _state(redis: Redis, job_id: str) -> tuple[bytes, bytes]:
    found: Any = redis.hmget(f"rq:job:{job_id}", "status", "worker_name")
    return found[0] or b"", found[1] or b""


def _until(true: Callable[[], bool], limit_s: float) -> float:
    started = time.perf_counter()
    while not true():
        assert time.perf_counter() - started < limit_s, "it did not come about"
        time.sleep(0.005)
    return time.perf_counter() - started


@contextlib.contextmanager
def _supervised(model: Path) -> Iterator[tuple[str, str]]:
    port = free_port()
    with redis_server() as redis_url, tempfile.TemporaryDirectory() as folder:
        environment = {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": str(port), "UNFOG_MODELS": str(model)}
        environment |= {"UNFOG_STATE_DIR": folder, "UNFOG_LOG_LEVEL": "warning"}
        serve = [str(Path(sys.executable).with_name("unfog")), "serve"]
        with processes([serve], environment) as started:
            url = f"http://127.0.0.1:{port}"
            wait_until(f"{url}/health/ready", started, lambda body: bool(body["workers"]))
            yield url, redis_url


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=3)
    parser.add_argument("--jobs", type=int, default=12)
    options = parser.parse_args()
    result = measure(options.model, options.jobs, options.repeats)
    rows = [(name, spread(values)) for name, values in result["queued_again_s"].items()]
    tell("worker killed", ("its jobs queued again", "seconds"), rows, result)


if __name__ == "__main__":
    main()
