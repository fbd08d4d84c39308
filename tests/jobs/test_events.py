"""Who waits for a job is woken by its end and by nothing else, and leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from jobs import keys
from jobs.connection import connect_async
from jobs.events import STREAM_LENGTH, EventReader, publish_moved
from jobs.settings import Settings
from service.redis_server import RedisServer, find_redis_server

PATIENCE_S = 20.0


def ended(redis: Redis, job_id: str) -> None:
    with redis.pipeline() as pipe:
        publish_moved(pipe, job_id)
        pipe.execute()


def with_reader(settings: Settings, act: Callable[[EventReader], Awaitable[None]]) -> EventReader:
    async def run() -> EventReader:
        redis = connect_async(settings)
        reader = EventReader(redis)
        async with reader.running():
            await act(reader)
        await redis.aclose()
        return reader

    return asyncio.run(run())


async def at_work(reader: EventReader, redis: Redis) -> None:
    """Return when the reader hears."""
    with reader.listen("first") as woken:
        while not woken.is_set():
            ended(redis, "first")
            await asyncio.sleep(0.01)


def test_a_listener_is_woken_by_the_end_of_its_job(settings: Settings, redis: Redis) -> None:
    async def act(reader: EventReader) -> None:
        await at_work(reader, redis)
        with reader.listen("a") as woken:
            ended(redis, "a")
            await asyncio.wait_for(woken.wait(), PATIENCE_S)

    with_reader(settings, act)


def test_all_who_wait_for_a_job_are_woken_and_nobody_else(settings: Settings, redis: Redis) -> None:
    async def act(reader: EventReader) -> None:
        await at_work(reader, redis)
        with reader.listen("a") as one, reader.listen("a") as two, reader.listen("b") as other:
            ended(redis, "unheard")
            ended(redis, "a")
            await asyncio.wait_for(asyncio.gather(one.wait(), two.wait()), PATIENCE_S)
            assert not other.is_set()

    with_reader(settings, act)


def test_no_waiter_is_left_behind(settings: Settings, redis: Redis) -> None:
    async def act(reader: EventReader) -> None:
        await at_work(reader, redis)
        with reader.listen("a"), reader.listen("a"), reader.listen("b"):
            assert {name: len(events) for name, events in reader._waiting.items()} == {"a": 2, "b": 1}
        with pytest.raises(ZeroDivisionError), reader.listen("c"):
            raise ZeroDivisionError
        ended(redis, "a")

    assert with_reader(settings, act)._waiting == {}


def test_an_end_before_the_reader_started_wakes_nobody_later(settings: Settings, redis: Redis) -> None:
    ended(redis, "a")

    async def act(reader: EventReader) -> None:
        await at_work(reader, redis)
        with reader.listen("a") as woken:
            await at_work(reader, redis)
            assert not woken.is_set()

    with_reader(settings, act)


class Scripted:
    """A Redis whose stream answers what it is told, and notes from where it was read."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers, self.read_from = answers, list[Any]()

    async def xrevrange(self, key: str, count: int) -> list[Any]:
        return []

    async def xread(self, streams: dict[str, Any], block: int, count: int) -> Any:
        self.read_from.append(streams[keys.EVENTS])
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_what_is_written_between_two_reads_is_not_missed() -> None:
    entry = [[b"unfog:events", [(b"5-0", {b"job": b"a"})]]]
    redis = Scripted([None, entry, None])

    async def run() -> None:
        reader = EventReader(redis)  # type: ignore[arg-type]
        async with reader.running():
            while len(redis.read_from) < 4:
                await asyncio.sleep(0)

    asyncio.run(run())
    assert redis.read_from == ["0-0", "0-0", b"5-0", b"5-0"], "a place in the stream, and never `$`"


def test_an_error_of_redis_does_not_end_the_reader_and_wakes_everybody() -> None:
    redis = Scripted([ResponseError("UNBLOCKED instance state changed")])

    async def run() -> None:
        reader = EventReader(redis)  # type: ignore[arg-type]
        async with reader.running():
            with reader.listen("a") as woken:
                await asyncio.sleep(0)
                await asyncio.wait_for(woken.wait(), PATIENCE_S)
            while len(redis.read_from) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(run())


class Deaf(Scripted):
    """A Redis client that loses the first two cancellations, as redis-py does when an answer comes with one."""

    lost = 0

    async def xread(self, streams: dict[str, Any], block: int, count: int) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.lost += 1
            if self.lost > 2:
                raise


def test_the_reader_ends_though_its_client_loses_a_cancellation() -> None:
    redis = Deaf([])

    async def run() -> None:
        async with EventReader(redis).running():  # type: ignore[arg-type]
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))
    assert redis.lost == 3


def test_everybody_is_woken_when_redis_goes_away_and_the_reader_hears_again_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    binary = find_redis_server()
    assert binary is not None
    server = RedisServer(binary, tmp_path / "redis")

    async def act(reader: EventReader) -> None:
        with server:
            with Redis.from_url(server.url) as redis:
                await at_work(reader, redis)
            with reader.listen("a") as woken:
                server.child.stop()
                await asyncio.wait_for(woken.wait(), PATIENCE_S)
        with server, Redis.from_url(server.url) as redis:
            await asyncio.wait_for(at_work(reader, redis), PATIENCE_S)

    with_reader(Settings(redis_url=server.url), act)


def test_the_stream_does_not_grow_without_end(redis: Redis) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for n in range(STREAM_LENGTH + 2000):
            publish_moved(pipe, f"job_{n}")
        pipe.execute()
    assert redis.xlen(keys.EVENTS) < STREAM_LENGTH + 1000
