"""The health routes tell whoever starts, watches and balances the service what is missing."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.settings import Settings
from tests import cards


def ready(client: TestClient) -> tuple[int, dict[str, Any]]:
    answer = client.get("/health/ready")
    return answer.status_code, answer.json()


@pytest.fixture
def eviction(redis: Redis) -> Iterator[Redis]:
    """A Redis that throws keys away when it is full."""
    redis.config_set("maxmemory-policy", "allkeys-lru")
    yield redis
    redis.config_set("maxmemory-policy", "noeviction")


def test_the_process_is_live_without_models(empty: TestClient) -> None:
    answer = empty.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


def test_with_models_it_is_ready_and_counts_the_workers(client: TestClient) -> None:
    status, body = ready(client)
    assert (status, body["status"], body["reason"], body["redis"]) == (200, "ready", None, True)
    assert (body["workers"], body["models"]) == (1, ["fruit-16", "pebble-8"])


def test_without_models_it_is_not_ready(empty: TestClient) -> None:
    status, body = ready(empty)
    assert (status, body["status"], body["redis"]) == (503, "not_ready", True)
    assert "no worker has announced a model" in body["reason"]


def test_a_redis_that_evicts_is_not_ready_and_the_policy_is_named(client: TestClient, eviction: Redis) -> None:
    status, body = ready(client)
    assert status == 503
    assert "allkeys-lru" in body["reason"]
    assert "noeviction" in body["reason"]


def test_missing_workers_are_told_and_fail_it_only_when_they_are_needed(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis, ttl_s=-1)
    for needed, status in ((False, 200), (True, 503)):
        settings = Settings(redis_url=redis_url, ready_needs_worker=needed)
        with TestClient(create_app(settings)) as client:
            answered, body = ready(client)
        assert (answered, body["workers"]) == (status, 0)
        assert body["reason"] == ("no worker is running" if needed else None)


def test_with_a_worker_it_is_ready_where_one_is_needed(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis)
    settings = Settings(redis_url=redis_url, ready_needs_worker=True)
    with TestClient(create_app(settings)) as client:
        assert ready(client)[0] == 200
