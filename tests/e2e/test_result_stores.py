"""The whole service with its pictures in a folder and in a bucket: the bytes that Redis gives, and nothing left."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from jobs.results.places import Results, opened_places
from jobs.settings import Settings
from tests.chaos.poison import CLASSES, POISON
from tests.e2e.running import RunningService, running
from tests.s3_server import S3Server

pytestmark = pytest.mark.e2e

HARMLESS = CLASSES[(POISON + 1) % len(CLASSES)]
BODY = {"steps": 4, "seed": 7, "num_images": 2, "animation": True, "class_label": HARMLESS}
CLOCKWORK = ("tests.chaos.poisoned_worker", "tests.chaos.clockwork_engine")
"""A real worker whose engine computes nothing and starts at once."""
MARGIN_S = 120
"""A file is named for the next full minute after a minute more than its job is kept."""


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the pictures go; the environment has what is needed to get there."""
    if request.param == "folder":
        return f"folder:{tmp_path}/results"
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{server.place}/{tmp_path.name}"


@contextmanager
def clockwork(redis_url: str, tmp_path: Path, **settings: str) -> Iterator[RunningService]:
    """A service of its own."""
    with running(redis_url, tmp_path / "log", worker_module=CLOCKWORK, **settings) as service:
        yield service


def made_by(service: RunningService) -> tuple[dict[str, Any], list[bytes]]:
    """A job, and its pictures and its animation."""
    job = service.finished(service.submit(BODY).json())
    moving = httpx.get(service.url + job["urls"]["animation"])
    assert moving.status_code == 200
    return job, [*service.pictures(job), moving.content]


def references(redis_url: str, job_id: str) -> list[str]:
    with Redis.from_url(redis_url) as redis:
        told = json.loads(redis.hget(f"rq:job:{job_id}", "meta"))  # type: ignore[arg-type]
    return [
        *(picture["key"] for picture in told["pictures"]),
        *([told["animation"]["key"]] if told["animation"] else []),
    ]


def swept(place: str, redis_url: str, at: float) -> int:
    """How many files a sweep at that moment removes."""

    async def sweep() -> int:
        async with AsyncRedis.from_url(redis_url) as redis:
            return await Results(redis, opened_places(Settings(result_store=place))).sweep(at)

    return asyncio.run(sweep())


def test_the_same_bytes_as_from_redis_until_they_expire_or_are_erased(
    place: str, redis_url: str, tmp_path: Path
) -> None:
    with clockwork(redis_url, tmp_path) as service:
        old, from_redis = made_by(service)
    with clockwork(redis_url, tmp_path, result_store=place) as service:
        job, files = made_by(service)
        assert files == from_redis
        assert service.pictures(old) == from_redis[:2], "what lies in Redis is still read"
        assert all(reference.startswith(f"{place}/") for reference in references(redis_url, job["id"]))
        assert httpx.delete(service.url + job["urls"]["self"]).status_code == 204
        assert httpx.get(service.url + job["urls"]["self"]).status_code == 410
        assert swept(place, redis_url, time.time() + 86_400) == 0, "they were erased with their job"
        brief = service.finished(service.submit({**BODY, "ttl_s": 1}).json())
        deadline = time.monotonic() + 30
        while (answer := httpx.get(service.url + brief["urls"]["self"])).status_code != 410:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        assert swept(place, redis_url, time.time() + MARGIN_S) == 3


def test_a_worker_killed_while_it_stores_leaves_nothing_for_ever_and_its_jobs_succeed(
    place: str, redis_url: str, tmp_path: Path
) -> None:
    body = {"ttl_s": 600, "num_images": 2, "class_label": HARMLESS}
    log, settings = tmp_path / "log", {"result_store": place, "heartbeat_ttl_s": "2"}
    with running(redis_url, log, worker_module=CLOCKWORK, **settings) as service:
        environment = {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
        environment |= {**os.environ, "UNFOG_REDIS_URL": redis_url}
        second = subprocess.Popen([sys.executable, "-m", *CLOCKWORK], env=environment)
        try:
            until(lambda: httpx.get(f"{service.url}/health/ready").json()["workers"] == 2)
            answers = [
                httpx.post(f"{service.url}/v1/jobs", json={**body, "seed": seed, "steps": 120 + 20 * seed})
                for seed in range(24)
            ]
            jobs = [answer.json() for answer in answers]
            until(lambda: jobs_held(redis_url, second.pid))
        finally:
            second.kill()
            second.wait()
        ended = [service.finished(job) for job in jobs]
        assert [len(service.pictures(job)) for job in ended] == [2] * 24
        assert len({one for job in jobs for one in references(redis_url, job["id"])}) == 48
    assert swept(place, redis_url, time.time()) == 0
    assert swept(place, redis_url, time.time() + 600 + MARGIN_S) >= 48
    assert swept(place, redis_url, time.time() + 86_400) == 0


def jobs_held(redis_url: str, pid: int) -> int:
    """How many executions the worker of a process holds."""
    with Redis.from_url(redis_url) as redis:
        return sum(redis.scard(key) for key in redis.scan_iter(f"rq:worker:unfog-*-{pid}-*:executions"))  # type: ignore[misc]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)
