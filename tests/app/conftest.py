"""The API in this process on a real Redis, two models announced, no worker."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.settings import Settings
from service.redis_server import RedisServer
from tests import cards


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """The Redis that the API of the test uses, empty at first."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """The settings of the API."""
    return Settings(redis_url=redis_url)


@pytest.fixture(scope="session")
def started(redis_server: RedisServer) -> Iterator[TestClient]:
    """One API for all tests; between two calls it keeps only what the same bytes in Redis mean."""
    small = Settings(redis_url=redis_server.url, max_body_bytes=1_048_576)  # a limit that tests can afford to pass
    with TestClient(create_app(small)) as client:
        yield client


@pytest.fixture
def empty(redis: Redis, started: TestClient) -> TestClient:
    """The API before any worker has come."""
    return started


@pytest.fixture
def client(redis: Redis, empty: TestClient) -> TestClient:
    """The API with two models known."""
    cards.announce_both(redis)
    return empty
