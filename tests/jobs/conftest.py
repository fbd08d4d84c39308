"""A real Redis, and a job store on it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
from redis import Redis

from jobs.connection import connect, connect_async
from jobs.settings import Settings
from jobs.store import JobStore

Answer = TypeVar("Answer")
WithStore = Callable[[Callable[[JobStore], Awaitable[Answer]]], Answer]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Settings that name it."""
    return Settings(redis_url=redis_url)


@pytest.fixture
def with_store(settings: Settings) -> WithStore[Answer]:
    """Calls something with a job store, in an event loop that ends with it."""

    async def run(act: Callable[[JobStore], Awaitable[Answer]]) -> Answer:
        store = JobStore(connect_async(settings), connect(settings), settings.max_queued_evaluations)
        try:
            return await act(store)
        finally:
            await store.close()

    return lambda act: asyncio.run(run(act))
