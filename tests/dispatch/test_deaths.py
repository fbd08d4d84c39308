"""Dispatchers are killed, frozen and stopped, and Redis goes away or is full: no webhook is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from dispatch.pace import Limits, Pace
from jobs import keys
from jobs.outbox import GROUP
from service.redis_server import RedisServer, find_redis_server
from tests.dispatch.dispatching import dispatching, left, put_away, settings_of
from tests.dispatch.process import dispatcher_process
from tests.dispatch.receiver import Receiver, eventually, receiving

PACE = Pace((0.1, 0.2, 0.4, 0.8, 1.6), connect_s=2.0, try_s=5.0, lease_s=4.0, redis_pause_s=0.1)
TO_ONE_HOST = Limits().running_to_host


@pytest.fixture
def server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may harm."""
    binary = find_redis_server()
    assert binary is not None
    with RedisServer(binary, tmp_path / "redis") as started:
        yield started


def slowly(status: int = 200) -> Receiver:
    """A receiver that takes its time, so that something is always under way."""

    def answer(got: object, times: int) -> int:
        time.sleep(0.02)
        return status

    return Receiver(answer=answer)


def test_a_killed_dispatcher_loses_nothing(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    with (
        receiving(slowly()) as receiver,
        dispatcher_process(redis_url, PACE, tmp_path / "first") as first,
        dispatcher_process(redis_url, PACE, tmp_path / "second"),
    ):
        put_away(redis, [receiver.url()] * 400)
        assert eventually(lambda: len(receiver.got) > 100)
        first.kill()
        seen = len(receiver.got)
        assert seen < 400, "it died in the middle"
        assert eventually(lambda: left(redis).nothing), left(redis)
    times = receiver.times()
    assert len(times) == 400
    assert len({(got.id, got.body) for got in receiver.got}) == 400
    assert sum(times.values()) <= 400 + TO_ONE_HOST, "only what was under way is repeated"


def test_one_that_dies_alone_leaves_its_work_to_the_next(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    with receiving(slowly()) as receiver:
        put_away(redis, [receiver.url()] * 200)
        with dispatcher_process(redis_url, PACE, tmp_path / "first") as first:
            assert eventually(lambda: len(receiver.got) > 20)
            first.kill()
        assert left(redis).pending > 0
        with dispatcher_process(redis_url, PACE, tmp_path / "second"):
            assert eventually(lambda: left(redis).nothing), left(redis)
    assert len(receiver.times()) == 200


def test_a_frozen_dispatcher_does_no_harm_when_it_thaws(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    with (
        receiving(slowly()) as receiver,
        dispatcher_process(redis_url, PACE, tmp_path / "first") as first,
        dispatcher_process(redis_url, PACE, tmp_path / "second"),
    ):
        put_away(redis, [receiver.url()] * 400)
        assert eventually(lambda: len(receiver.got) > 100)
        first.process.send_signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: left(redis).nothing), left(redis)
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert len(receiver.times()) == 400
        put_away(redis, [receiver.url()] * 50, first=1000)
        assert eventually(lambda: left(redis).nothing)
        times = receiver.times()
    assert len(times) == 450
    assert sum(times.values()) <= 450 + TO_ONE_HOST, "what it had not sent yet it leaves to who has it now"


def test_on_sigterm_what_is_under_way_is_finished(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    with (
        receiving(Receiver(hang=threading.Event())) as receiver,
        dispatcher_process(redis_url, PACE, tmp_path / "first") as first,
    ):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: len(receiver.got) == 1)
        first.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "stopping" in first.log.read_text())
        assert receiver.hang is not None
        receiver.hang.set()
        assert first.process.wait(timeout=20) == 0
        assert left(redis).nothing
    assert len(receiver.got) == 1


def test_on_sigterm_what_takes_too_long_is_left_to_the_next(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    hurried = Pace(PACE.retries_s, try_s=20.0, lease_s=1.5, stop_s=0.2)
    with receiving(Receiver(hang=threading.Event())) as receiver:
        with dispatcher_process(redis_url, hurried, tmp_path / "first") as first:
            put_away(redis, [receiver.url()])
            assert eventually(lambda: len(receiver.got) == 1)
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(timeout=20) == 0
        assert left(redis).pending == 1
        assert receiver.hang is not None
        receiver.hang.set()
        with dispatcher_process(redis_url, hurried, tmp_path / "second"):
            assert eventually(lambda: left(redis).nothing)
    assert len(receiver.times()) == 1


def test_while_redis_is_gone_it_waits_and_then_goes_on(server: RedisServer) -> None:
    with (
        Redis.from_url(server.url) as redis,
        receiving(Receiver(hang=threading.Event())) as receiver,
        dispatching(settings_of(server.url), PACE),
    ):
        put_away(redis, [receiver.url()] * 20)
        assert eventually(lambda: len(receiver.got) == TO_ONE_HOST)
        server.child.stop()
        assert receiver.hang is not None
        receiver.hang.set()
        server.child.start()
        assert eventually(lambda: server.child.ready() and left(redis).nothing), left(redis)
    times = receiver.times()
    assert len(times) == 20
    assert set(times.values()) == {1}, "what was taken while Redis was away is not repeated"


def test_when_redis_is_back_nobody_claims_before_the_others_could_speak(server: RedisServer) -> None:
    quick = Pace((0.1,), try_s=20.0, lease_s=3.0, redis_pause_s=0.05)
    slow = Pace((0.1,), try_s=20.0, lease_s=3.0, redis_pause_s=0.5)
    settings = settings_of(server.url)
    with (
        Redis.from_url(server.url) as redis,
        receiving(Receiver(hang=threading.Event())) as receiver,
        dispatching(settings, slow, name="slow"),
    ):
        put_away(redis, [receiver.url()] * 4)
        assert eventually(lambda: len(receiver.got) == 4)
        with dispatching(settings, quick, name="quick"):
            server.child.stop()
            time.sleep(slow.lease_s)  # what is held is now overdue
            server.child.start()
            assert eventually(lambda: server.child.ready() and longest_silence_s(redis) < slow.lease_s / 2)
            assert receiver.hang is not None
            receiver.hang.set()
            assert eventually(lambda: left(redis).nothing), left(redis)
    assert list(receiver.times().values()) == [1] * 4


def longest_silence_s(redis: Redis) -> float:
    """For how long the dispatchers have not spoken of what they hold."""
    held: Any = redis.xpending_range(keys.OUTBOX, GROUP, "-", "+", 100)
    return max(float(each["time_since_delivered"]) for each in held) / 1000


def test_an_empty_redis_makes_no_difference(server: RedisServer) -> None:
    with (
        Redis.from_url(server.url) as redis,
        receiving(Receiver()) as receiver,
        dispatching(settings_of(server.url), PACE),
    ):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: len(receiver.got) == 1)
        redis.flushall()
        put_away(redis, [receiver.url()], first=1)
        assert eventually(lambda: len(receiver.got) == 2 and left(redis).nothing)


def test_in_a_full_redis_they_are_delivered_and_put_off_all_the_same(server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis, receiving(Receiver(status=500)) as receiver:
        put_away(redis, [receiver.url()] * 50)
        with dispatching(settings_of(server.url), Pace((0.1,) * 100, lease_s=1.5, redis_pause_s=0.1)):
            assert eventually(lambda: len(receiver.got) >= 5)
            redis.config_set("maxmemory", 1)
            with pytest.raises(OutOfMemoryError):
                redis.set("anything", 1)
            seen = len(receiver.got)
            assert eventually(lambda: len(receiver.got) > seen + 60), "tries go on, those after a pause too"
            receiver.status = 200
            assert eventually(lambda: left(redis).nothing), left(redis)
    assert len(receiver.times()) == 50
