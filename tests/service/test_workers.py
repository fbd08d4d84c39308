"""One worker for each device: what each is told, and how they are watched and stopped together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from jobs.settings import CHECKOUT, Settings
from service.problem import CannotStart
from service.workers import device_environment, parsed_devices, workers_of
from tests.chaos.clockwork_engine import CARD
from tests.worker.test_main import served, submitted, until

UNFOG = Path(sys.executable).with_name("unfog")

SUPERVISOR = """
import sys
from jobs.settings import load_settings
from service import workers
from service.stack import write_line
from service.workers import serve_devices
made = workers.workers_of
def clockwork(settings, devices):
    children = made(settings, devices)
    for child in children:
        child.command = (sys.executable, "-m", "tests.chaos.poisoned_worker", "tests.chaos.clockwork_engine")
    return children
workers.workers_of = clockwork
sys.exit(serve_devices(load_settings(), ["cpu", "cpu"], write_line))
"""
"""The real supervisor of `unfog worker --devices cpu,cpu`, with engines that start at once."""


def test_a_number_is_a_card_that_its_worker_alone_sees() -> None:
    assert device_environment("1", {}) == {"UNFOG_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": "1"}
    assert device_environment("1", {"CUDA_VISIBLE_DEVICES": "4,GPU-7"})["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert device_environment("GPU-9", {"CUDA_VISIBLE_DEVICES": "4"})["CUDA_VISIBLE_DEVICES"] == "GPU-9"
    assert device_environment("cpu", {}) == {"UNFOG_DEVICE": "cpu"}


def test_a_card_that_is_not_there_is_told() -> None:
    with pytest.raises(CannotStart, match="no device 2"):
        device_environment("2", {"CUDA_VISIBLE_DEVICES": "0,1"})


@pytest.mark.parametrize("text", ["", ",", "0,", " "])
def test_no_devices_are_told(text: str) -> None:
    with pytest.raises(CannotStart, match="--devices"):
        parsed_devices(text)


def test_each_worker_has_a_name_and_a_port_of_its_own() -> None:
    children = workers_of(Settings(worker_metrics_port=9100), parsed_devices("0, 1"))
    told = [(child.name, child.env and child.env["UNFOG_WORKER_METRICS_PORT"]) for child in children]
    assert told == [("worker-0", "9100"), ("worker-1", "9101")]
    (only,) = workers_of(Settings(), ["cpu"])
    assert only.env is not None
    assert only.env["UNFOG_WORKER_METRICS_PORT"] == "0"


def test_the_command_says_what_is_wrong_with_its_devices(redis_url: str) -> None:
    environment = {**os.environ, "UNFOG_REDIS_URL": redis_url}
    command = [UNFOG, "worker", "--devices", "0,"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 2
    assert done.stderr.startswith("Unfog cannot start. --devices")


@contextmanager
def supervised(redis_url: str, log: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "UNFOG_REDIS_URL": redis_url, "UNFOG_LOG_FORMAT": "json", **settings}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR], env=environment, stdout=out, stderr=out, cwd=CHECKOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def workers(redis_url: str) -> dict[str, int]:
    """Name to process of the workers that serve the model."""
    with Redis.from_url(redis_url) as redis:
        names = [str(name.decode()) for name in redis.zrange(f"unfog:models:{CARD.id}:workers", 0, -1)]
    return {name: int(name.split("-")[-2]) for name in names}


def held(redis_url: str, name: str) -> int:
    with Redis.from_url(redis_url) as redis:
        return int(redis.scard(f"rq:worker:{name}:executions"))  # type: ignore[arg-type]


def test_one_that_dies_is_started_again_and_its_jobs_at_once_and_all_drain_together(
    redis_url: str, tmp_path: Path
) -> None:
    slow = {"UNFOG_HEARTBEAT_TTL_S": "60", "UNFOG_DRAIN_S": "60"}  # nobody but the supervisor takes jobs back
    with supervised(redis_url, tmp_path / "log", **slow) as process:
        until(lambda: served(redis_url) and len(workers(redis_url)) == 2)
        before = workers(redis_url)
        jobs = [submitted(redis_url, CARD, steps=1000, seed=seed) for seed in range(40)]
        until(lambda: all(held(redis_url, name) for name in before))
        name, pid = next(iter(before.items()))
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(workers(redis_url)) - set(before)) == 1)
        assert not held(redis_url, name)
        with Redis.from_url(redis_url) as redis:
            crashes = [json.loads(redis.hget(f"rq:job:{job.id}", "meta"))["crashes"] for job in jobs]  # type: ignore[arg-type]
        assert 1 in crashes
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        said = (tmp_path / "log").read_text()
        assert said.count('"event": "draining"') == 2
        assert said.rindex('"event": "draining"') < said.index('"event": "worker ended"'), "one after the other"
        with Redis.from_url(redis_url) as redis:
            left = [str(redis.hget(f"rq:job:{job.id}", "status").decode()) for job in jobs]  # type: ignore[union-attr]
        assert set(left) <= {"finished", "queued"}


def test_the_real_command_runs_two_workers_on_the_cpu(redis_url: str, tmp_path: Path) -> None:
    from tests.models.small_model import write_model

    write_model(tmp_path / "small", flat=True)
    environment = {**os.environ, "UNFOG_REDIS_URL": redis_url, "UNFOG_MODELS": str(tmp_path / "small")}
    environment |= {"UNFOG_TORCH_THREADS": "1", "UNFOG_LOG_LEVEL": "warning"}
    command = [UNFOG, "worker", "--devices", "cpu,cpu"]
    with (tmp_path / "log").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=CHECKOUT)
    try:
        deadline = time.monotonic() + 100
        while len(workers_of_any(redis_url)) < 2:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not workers_of_any(redis_url)
    finally:
        process.kill()
        process.wait()


def workers_of_any(redis_url: str) -> list[bytes]:
    with Redis.from_url(redis_url) as redis:
        return list(redis.zrange("unfog:models:small:workers", 0, -1))  # type: ignore[arg-type]
