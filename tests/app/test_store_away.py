"""While Redis is gone, hangs or takes nothing, callers are told to come back; nobody waits for long."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.settings import Settings
from service.redis_server import RedisServer, find_redis_server
from tests import cards
from tests.app.answers import problem

PATHS = ("/v1/jobs/job_000000000000000000000000", "/v1/models", "/v1/models/fruit-16", "/v1/samplers")


@pytest.fixture
def server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may harm."""
    binary = find_redis_server()
    assert binary is not None
    with RedisServer(binary, tmp_path / "redis") as started:
        with Redis.from_url(started.url) as redis:
            cards.announce_both(redis)
        yield started


@pytest.fixture
def private(server: RedisServer) -> Iterator[TestClient]:
    """The API on that Redis."""
    settings = Settings(redis_url=server.url)
    with TestClient(create_app(settings)) as client:
        yield client


def away(answer: Any) -> str:
    body = problem(answer, 503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    return str(body["detail"])


def test_while_redis_is_gone_every_call_that_needs_it_is_a_503(private: TestClient, server: RedisServer) -> None:
    job = private.post("/v1/jobs", json={}).json()
    server.child.stop()
    assert "does not answer" in away(private.post("/v1/jobs", json={}))
    for path in (*PATHS, job["urls"]["self"]):
        away(private.get(path))
    assert private.get("/health/live").status_code == 200
    answer = private.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "redis does not answer")


def test_without_redis_nobody_knows_who_may_call_and_so_nothing_is_refused(
    private: TestClient, server: RedisServer
) -> None:
    server.child.stop()
    away(private.post("/v1/jobs", json={"steps": 0}))


def test_the_service_goes_on_where_it_was_when_redis_is_back(private: TestClient, server: RedisServer) -> None:
    job = private.post("/v1/jobs", json={}).json()
    server.child.stop()
    away(private.get(job["urls"]["self"]))
    with server:
        assert private.get(job["urls"]["self"]).json() == job


def test_a_redis_that_hangs_is_a_503_and_not_a_caller_that_hangs(private: TestClient, server: RedisServer) -> None:
    server.child.send(signal.SIGSTOP)
    try:
        away(private.post("/v1/jobs", json={}))
    finally:
        server.child.send(signal.SIGCONT)


def test_a_caller_whose_job_was_accepted_learns_its_id_though_redis_goes_away(
    private: TestClient, server: RedisServer
) -> None:
    submit = private.app.state.services.store.submit  # type: ignore[attr-defined]

    async def submit_and_lose_redis(*arguments: object) -> object:
        record = await submit(*arguments)
        server.child.stop()
        return record

    private.app.state.services.store.submit = submit_and_lose_redis  # type: ignore[attr-defined]
    answer = private.post("/v1/jobs", json={}, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"] == answer.json()["urls"]["self"]


def test_a_redis_that_is_full_is_a_503_and_takes_no_part_of_a_job(private: TestClient, server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis:
        redis.config_set("maxmemory", "1")
        answer = private.post("/v1/jobs", json={})
        assert answer.status_code == 503
        assert "full" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert {key.decode() for key in redis.scan_iter()} == cards.CATALOGUE_KEYS
        assert private.get("/v1/models").status_code == 200


def test_a_replica_that_takes_no_writes_is_a_503(private: TestClient, server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis:
        redis.replicaof("127.0.0.1", "1")
        assert "read-only" in away(private.post("/v1/jobs", json={}))


def test_a_fault_of_the_service_is_a_problem_too_and_tells_nothing_inner(server: RedisServer) -> None:
    settings = Settings(redis_url=server.url)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:

        async def broken() -> None:
            raise RuntimeError("inner words")

        client.app.state.services.store.catalogue = broken  # type: ignore[attr-defined]
        body = problem(client.get("/v1/models"), 500, "internal_error")
    assert "inner words" not in str(body)
