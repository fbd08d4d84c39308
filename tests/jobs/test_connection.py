"""The ways to Redis, and when a Redis will not do."""

import asyncio
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from jobs.connection import (
    API_CONNECTIONS,
    REDIS_DOWN,
    connect,
    connect_async,
    require_no_eviction,
    takes_no_writes,
)
from jobs.errors import StoreUnsuitable
from jobs.settings import Settings

NOBODY = Settings(redis_url="redis://127.0.0.1:1/0")


def test_both_clients_reach_the_redis_of_the_settings(settings: Settings, redis: Redis) -> None:
    async def ask() -> Any:
        client = connect_async(settings)
        answer = await client.get("a")
        await client.aclose()
        return answer

    redis.set("a", "b")
    with connect(settings) as client:
        assert client.get("a") == b"b"
    assert asyncio.run(ask()) == b"b"


def test_where_nobody_listens_both_raise_what_stands_for_redis_being_down() -> None:
    async def ask() -> None:
        client = connect_async(NOBODY)
        try:
            await client.get("a")
        finally:
            await client.aclose()

    with pytest.raises(REDIS_DOWN):
        asyncio.run(ask())
    with connect(NOBODY) as client, pytest.raises(REDIS_DOWN):
        client.get("a")


def test_more_calls_than_connections_wait_for_one(settings: Settings) -> None:
    async def ask() -> list[Any]:
        client = connect_async(settings)
        answers = await asyncio.gather(*(client.incr("n") for _ in range(3 * API_CONNECTIONS)))
        await client.aclose()
        return answers

    assert sorted(asyncio.run(ask())) == list(range(1, 3 * API_CONNECTIONS + 1))


def test_a_redis_that_evicts_is_unsuitable_and_the_message_says_what_to_set() -> None:
    require_no_eviction("noeviction")
    for policy in ("allkeys-lru", "volatile-ttl"):
        with pytest.raises(StoreUnsuitable, match=f"{policy}.+set it to noeviction"):
            require_no_eviction(policy)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (ReadOnlyError("You can't write against a read only replica."), True),
        (ResponseError("Error running script: @user_script:10: -READONLY You can't write"), True),
        (ResponseError("Error running script: @user_script:10: -OOM command not allowed"), True),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), True),
        (ResponseError("WRONGTYPE Operation against a key"), False),
        (ResponseError("unknown command 'BLOOM'"), False),
    ],
    ids=str,
)
def test_a_redis_that_takes_no_writes_is_told_from_a_fault_of_ours(error: ResponseError, expected: bool) -> None:
    assert takes_no_writes(error) is expected
