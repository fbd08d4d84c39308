"""The whole service with its pictures in a folder and in a bucket: the same bytes as from Redis, and nothing left."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from jobs.results.places import Results, opened_places
from jobs.settings import Settings
from tests.e2e.running import RunningService, running, stop
from tests.s3_server import S3Server

BODY = {"steps": 4, "seed": 7, "num_images": 2, "animation": True}
SOON_S = 120
"""More than the longest that anything of a test is kept for."""


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the pictures go; the environment has what is needed to get there."""
    if request.param == "folder":
        return f"folder:{tmp_path}/results"
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{server.place}/{tmp_path.name}"


@pytest.fixture
def elsewhere(place: str, redis_url: str, tmp_path: Path) -> Iterator[RunningService]:
    """A service of its own."""
    with running(redis_url, tmp_path / "log", result_store=place, heartbeat_ttl_s="2") as one:
        yield one


def references(service: RunningService, job_id: str) -> list[str]:
    with Redis.from_url(service.redis_url) as redis:
        meta = redis.hget(f"rq:job:{job_id}", "meta")
    import json

    told = json.loads(meta)  # type: ignore[arg-type]
    return [*(picture["key"] for picture in told["pictures"]), told["animation"]["key"]]


def swept(place: str, redis_url: str, at: float) -> int:
    """How many files a sweep at that moment removes."""

    async def sweep() -> int:
        from redis.asyncio import Redis as AsyncRedis

        async with AsyncRedis.from_url(redis_url) as redis:
            return await Results(redis, opened_places(Settings(result_store=place))).sweep(at)

    return asyncio.run(sweep())


@pytest.mark.e2e
def test_the_same_bytes_as_from_redis_until_they_expire_or_are_erased(
    elsewhere: RunningService, service: RunningService, place: str
) -> None:
    here, there = (one.finished(one.submit(BODY).json()) for one in (service, elsewhere))
    assert elsewhere.pictures(there) == service.pictures(here)
    moving = [
        httpx.get(one.url + job["urls"]["animation"]).content for one, job in ((service, here), (elsewhere, there))
    ]
    assert moving[0] == moving[1]
    assert all(reference.startswith(f"{place}/") for reference in references(elsewhere, there["id"]))
    assert httpx.delete(elsewhere.url + there["urls"]["self"]).status_code == 204
    assert httpx.get(elsewhere.url + there["urls"]["self"]).status_code == 410
    assert swept(place, elsewhere.redis_url, time.time() + 86_400) == 0, "erased with its job"
    brief = elsewhere.finished(elsewhere.submit({**BODY, "ttl_s": 1}).json())
    deadline = time.monotonic() + 30
    while (answer := httpx.get(elsewhere.url + brief["urls"]["self"])).status_code != 410:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    assert swept(place, elsewhere.redis_url, time.time() + SOON_S + 60) == 3


@pytest.mark.e2e
def test_a_worker_killed_while_it_stores_leaves_nothing_for_ever_and_its_jobs_succeed(
    elsewhere: RunningService, place: str, tmp_path: Path
) -> None:
    body = {"steps": 1, "ttl_s": 60, "num_images": 8}
    url = f"{elsewhere.url}/v1/jobs"
    jobs = [httpx.post(url, json={**body, "seed": seed}).json() for seed in range(12)]
    elsewhere.finished(jobs[0])
    elsewhere.worker.kill()
    elsewhere.worker.wait()
    with running(elsewhere.redis_url, tmp_path / "second", result_store=place, heartbeat_ttl_s="2") as second:
        ended = [second.finished(job) for job in jobs]
        assert [len(second.pictures(job)) for job in ended] == [8] * 12
    elsewhere.worker = second.worker  # so that the end of the fixture finds a worker that ended well
    assert stop(second.worker) == 0
    assert swept(place, elsewhere.redis_url, time.time()) == 0
    assert swept(place, elsewhere.redis_url, time.time() + 60 + SOON_S) >= 12 * 8
    assert swept(place, elsewhere.redis_url, time.time() + 86_400) == 0
