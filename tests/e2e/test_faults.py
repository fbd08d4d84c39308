"""What happens to a job when something dies under it; each test has processes of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.redis_server import RedisServer, find_redis_server
from tests.e2e.running import RunningService, running, stop
from tests.models.small_model import write_model

pytestmark = pytest.mark.e2e

LONG = {"sampler": "ddpm", "steps": 1000, "num_images": 4, "seed": 5, "guidance_scale": 1.0}


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, str]:
    """Settings of a worker that starts quickly: a tiny model, one thread, any batch size."""
    model = write_model(tmp_path / "tiny")
    return {"models": str(model), "batching": "fast", "torch_threads": "1", "heartbeat_ttl_s": "4"}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    binary = find_redis_server()
    assert binary is not None
    with RedisServer(binary, tmp_path / "redis") as redis:
        yield redis.url


def engine_pid(worker_pid: int) -> int:
    """The engine process of a worker."""
    children = Path(f"/proc/{worker_pid}/task/{worker_pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def until(condition: Callable[[], bool], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def submit_and_start(service: RunningService) -> dict[str, Any]:
    """A job of some seconds, when it runs."""
    job: dict[str, Any] = httpx.post(f"{service.url}/v1/jobs", json=LONG).json()
    until(lambda: httpx.get(service.url + job["urls"]["self"]).json()["status"] == "running")
    return job


def test_a_job_whose_engine_is_killed_starts_again_and_gives_the_same_pictures(
    own_redis: str, tmp_path: Path, quick: dict[str, str]
) -> None:
    with running(own_redis, tmp_path / "log", **quick) as service:
        undisturbed = service.pictures(service.finished(service.submit(LONG).json()))
        job = submit_and_start(service)
        os.kill(engine_pid(service.worker.pid), signal.SIGKILL)
        done = service.finished(job)
        assert (done["status"], done["attempt"]) == ("succeeded", 2)
        assert service.pictures(done) == undisturbed


def test_an_engine_that_hangs_is_killed_and_its_job_runs_again(
    own_redis: str, tmp_path: Path, quick: dict[str, str]
) -> None:
    with running(own_redis, tmp_path / "log", engine_hang_s="3", **quick) as service:
        job = submit_and_start(service)
        os.kill(engine_pid(service.worker.pid), signal.SIGSTOP)
        done = service.finished(job)
        assert (done["status"], done["attempt"]) == ("succeeded", 2)


def test_a_worker_told_to_stop_gives_back_what_it_cannot_finish(
    own_redis: str, tmp_path: Path, quick: dict[str, str]
) -> None:
    with running(own_redis, tmp_path / "log", drain_s="0.1", **quick) as service:
        job = submit_and_start(service)
        assert stop(service.worker) == 0
        again = httpx.get(service.url + job["urls"]["self"]).json()
        assert (again["status"], again["error"]) == ("queued", None)


def test_a_worker_told_to_stop_finishes_what_it_can(own_redis: str, tmp_path: Path, quick: dict[str, str]) -> None:
    with running(own_redis, tmp_path / "log", drain_s="60", **quick) as service:
        job = submit_and_start(service)
        assert stop(service.worker) == 0
        assert service.finished(job)["status"] == "succeeded"


def test_no_engine_outlives_its_worker(own_redis: str, tmp_path: Path, quick: dict[str, str]) -> None:
    with running(own_redis, tmp_path / "log", **quick) as service:
        engine = engine_pid(service.worker.pid)
        submit_and_start(service)
        service.worker.kill()
        service.worker.wait()
        until(lambda: not Path(f"/proc/{engine}").exists(), limit_s=10)
        service.worker = subprocess.Popen(["true"])


def test_a_model_that_cannot_be_read_is_told_by_the_health_route(
    own_redis: str, tmp_path: Path, quick: dict[str, str]
) -> None:
    broken = write_model(tmp_path / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with running(own_redis, tmp_path / "log", **quick) as service:
        environment = {**os.environ, "UNFOG_REDIS_URL": own_redis, "UNFOG_MODELS": str(broken)}
        command = [sys.executable, "-m", "worker"]
        second = subprocess.run(command, env=environment, capture_output=True, timeout=90, check=False)
        assert second.returncode == 2
        assert b"Traceback" not in second.stderr + second.stdout
        said = httpx.get(f"{service.url}/health/ready").json()
        assert said["status"] == "ready", "the other worker goes on"
        assert len(said["refusals"]) == 1
        assert str(weights) in said["refusals"][0]
