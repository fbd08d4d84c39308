"""A real Redis for the outbox."""

from collections.abc import Iterator

import pytest
from redis import Redis

from jobs.settings import Settings
from tests.dispatch.dispatching import settings_of


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Settings that name it, with a secret, and with which webhooks may go to this machine."""
    return settings_of(redis_url)
