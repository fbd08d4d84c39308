"""Who watches a running job hears the newest, costs nothing when gone, and hears again when Redis is back."""

import asyncio
import base64
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis

from jobs import keys
from jobs.connection import connect_async
from jobs.settings import Settings
from jobs.watch import News, Preview, Progress, Watcher, count_listeners, tell
from service.redis_server import RedisServer, find_redis_server
from tests.service.running import eventually

PATIENCE_S = 20.0


def with_watcher(settings: Settings, act: Callable[[Watcher], Awaitable[None]]) -> Watcher:
    async def run() -> Watcher:
        redis = connect_async(settings)
        watcher = Watcher(redis)
        async with watcher.running():
            await act(watcher)
        await redis.aclose()
        return watcher

    return asyncio.run(asyncio.wait_for(run(), 3 * PATIENCE_S))


def progress(completed: int) -> Progress:
    return Progress(completed=completed, total=100, attempt=1)


def preview(index: int, completed: int) -> Preview:
    return Preview(index=index, completed=completed, png=base64.b64encode(b"picture").decode())


async def subscribed(redis: Redis, *job_ids: str) -> None:
    """Return when just these jobs are listened to."""
    wanted = {keys.watch(job_id).encode() for job_id in job_ids}
    async with asyncio.timeout(PATIENCE_S):
        while set(redis.pubsub_channels("unfog:watch:*")) != wanted:
            await asyncio.sleep(0.01)


def test_a_listener_hears_the_progress_and_the_previews_of_its_job_alone(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener, watcher.listen("b") as other:
            await subscribed(redis, "a", "b")
            assert tell(redis, [("a", progress(3)), ("nobody", progress(9))]) == {"a": 1}
            assert await listener.next(PATIENCE_S) == News(progress(3), ())
            tell(redis, [("a", preview(1, 4))])
            assert await listener.next(PATIENCE_S) == News(None, (preview(1, 4),))
            tell(redis, [("b", progress(5))])
            assert await other.next(PATIENCE_S) == News(progress(5), ())
            assert await listener.next(0.0) is None

    with_watcher(settings, act)


def test_listeners_are_counted_by_process_and_only_where_there_are_any(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a"), watcher.listen("a"), watcher.listen("c"):
            await subscribed(redis, "a", "c")
            assert count_listeners(redis, ["a", "b", "c"]) == {"a": 1, "c": 1}
            assert count_listeners(redis, []) == {}

    with_watcher(settings, act)


def test_a_hundred_listeners_to_one_job_share_one_subscription_and_all_hear(
    settings: Settings, redis: Redis
) -> None:
    async def listens(watcher: Watcher) -> int:
        with watcher.listen("a") as listener:
            while True:
                news = await listener.next(PATIENCE_S)
                assert news is not None
                assert news.progress is not None
                if news.progress.completed == 50:
                    return 1

    async def act(watcher: Watcher) -> None:
        tasks = [asyncio.create_task(listens(watcher)) for _ in range(100)]
        await subscribed(redis, "a")
        for n in range(1, 51):
            assert tell(redis, [("a", progress(n))]) == {"a": 1}
        assert sum(await asyncio.gather(*tasks)) == 100

    with_watcher(settings, act)


def test_a_slow_listener_loses_what_was_between_and_never_the_newest(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as slow, watcher.listen("a") as quick:
            await subscribed(redis, "a")
            for n in range(1, 101):
                tell(redis, [("a", progress(n)), ("a", preview(0, n)), ("a", preview(3, n))])
            while True:
                news = await quick.next(PATIENCE_S)
                assert news is not None
                if news.previews and news.previews[-1] == preview(3, 100):
                    break
            assert len(slow._previews) == 2, "one for each image is kept, whatever was said"
            assert await slow.next(PATIENCE_S) == News(progress(100), (preview(0, 100), preview(3, 100)))
            assert await slow.next(0.0) is None, "and each is told once"

    with_watcher(settings, act)


def test_a_large_preview_that_comes_in_pieces_is_heard_whole(settings: Settings, redis: Redis) -> None:
    large = Preview(index=0, completed=1, png=base64.b64encode(os.urandom(4_000_000)).decode())

    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            await subscribed(redis, "a")
            for _ in range(5):
                await asyncio.to_thread(tell, redis, [("a", large)])
                assert await listener.next(PATIENCE_S) == News(None, (large,))

    with_watcher(settings, act)


def test_words_that_mean_nothing_here_are_passed_over(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            await subscribed(redis, "a")
            for word in (b"no json", b"[]", b'{"type":"another"}', b'{"type":"preview","index":99}', b"\xff"):
                redis.publish(keys.watch("a"), word)
            tell(redis, [("a", progress(1))])
            assert await listener.next(PATIENCE_S) == News(progress(1), ())

    with_watcher(settings, act)


def test_who_leaves_is_unsubscribed_and_the_last_one_closes_the_connection(
    settings: Settings, redis: Redis
) -> None:
    def connections() -> int:
        return len([client for client in redis.client_list() if int(client["sub"])])

    async def act(watcher: Watcher) -> None:
        assert connections() == 0
        with watcher.listen("a"):
            with contextlib.suppress(ZeroDivisionError), watcher.listen("a"), watcher.listen("b"):
                await subscribed(redis, "a", "b")
                raise ZeroDivisionError
            await subscribed(redis, "a")
            assert connections() == 1
        await subscribed(redis)
        async with asyncio.timeout(PATIENCE_S):
            while connections():
                await asyncio.sleep(0.01)
        with watcher.listen("c") as listener:
            await subscribed(redis, "c")
            tell(redis, [("c", progress(1))])
            assert await listener.next(PATIENCE_S) is not None

    assert with_watcher(settings, act)._listeners == {}
    assert eventually(lambda: redis.pubsub_channels("unfog:watch:*") == [])


def test_a_listener_hears_again_after_redis_was_away(redis_server: RedisServer, tmp_path: Path) -> None:
    binary = find_redis_server()
    assert binary is not None
    server = RedisServer(binary, tmp_path / "redis")

    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            with server, Redis.from_url(server.url) as redis:
                await subscribed(redis, "a")
            assert await listener.next(0.2) is None, "Redis is away, and that is no news"
            with server, Redis.from_url(server.url) as redis:
                await subscribed(redis, "a")
                tell(redis, [("a", progress(7))])
                assert await listener.next(PATIENCE_S) == News(progress(7), ())

    with_watcher(Settings(redis_url=server.url), act)


def test_a_connection_that_was_cut_is_made_anew(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            await subscribed(redis, "a")
            redis.client_kill_filter(_type="pubsub")
            news = None
            while news is None:
                tell(redis, [("a", progress(1))])
                news = await listener.next(0.05)

    with_watcher(settings, act)


def test_a_connection_that_hangs_is_given_up(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.watch.QUIET_S", 0.1)

    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            await subscribed(redis, "a")
            first = {client["id"] for client in redis.client_list(_type="pubsub")}
            await asyncio.sleep(0.5)
            assert {client["id"] for client in redis.client_list(_type="pubsub")} == first, (
                "Redis answers when asked"
            )
            redis.client_pause(1000, all=True)
            assert await listener.next(0.5) is None
            async with asyncio.timeout(PATIENCE_S):
                while first & {client["id"] for client in redis.client_list(_type="pubsub")}:
                    await asyncio.sleep(0.01)
            await subscribed(redis, "a")

    with_watcher(settings, act)


def test_the_watcher_ends_while_somebody_waits_and_redis_is_away(tmp_path: Path) -> None:
    nowhere = Settings(redis_url=f"unix://{tmp_path}/nobody.sock")

    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            assert await listener.next(0.1) is None

    with_watcher(nowhere, act)


def test_who_stops_waiting_misses_nothing(settings: Settings, redis: Redis) -> None:
    async def act(watcher: Watcher) -> None:
        with watcher.listen("a") as listener:
            await subscribed(redis, "a")
            waiting = asyncio.create_task(listener.next(PATIENCE_S))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            tell(redis, [("a", progress(1))])
            assert await listener.next(PATIENCE_S) == News(progress(1), ())

    with_watcher(settings, act)
