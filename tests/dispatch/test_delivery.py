"""A webhook reaches its receiver, whatever the receiver, Redis or a dispatcher does meanwhile."""

import threading

import pytest
from redis import Redis

from dispatch.pace import Limits, Pace
from jobs import keys
from jobs.record import Status
from jobs.settings import Settings
from jobs.webhook import secret_of
from tests.dispatch.dispatching import FAST, SECRET, dispatching, left, put_away, settings_of
from tests.dispatch.receiver import Receiver, eventually, free_port, receiving


async def all_here(host: str, port: int) -> list[str]:
    """Every host is this machine."""
    return ["127.0.0.1"]


def test_it_comes_once_with_a_signature_that_any_receiver_can_check(redis: Redis, settings: Settings) -> None:
    with receiving(Receiver()) as receiver, dispatching(settings):
        (job,) = put_away(redis, [receiver.url("/hook?token=x")])
        assert eventually(lambda: left(redis).nothing and bool(receiver.got))
    (got,) = receiver.got
    assert got.path == "/hook?token=x"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    said = got.verified(secret_of(SECRET, "anonymous"))
    assert (said["type"], said["data"]["id"], said["data"]["status"]) == ("job.succeeded", job, Status.SUCCEEDED)


def test_one_that_fails_comes_again_with_the_same_id_and_body_until_it_is_taken(
    redis: Redis, settings: Settings
) -> None:
    with (
        receiving(Receiver(answer=lambda got, time: 500 if time < 3 else 200)) as receiver,
        dispatching(settings),
    ):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: left(redis).nothing and len(receiver.got) == 3)
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    for got in receiver.got:
        got.verified(secret_of(SECRET, "anonymous"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(redis: Redis, settings: Settings, status: int) -> None:
    with (
        receiving(Receiver()) as elsewhere,
        receiving(Receiver(status=status, headers={"Location": elsewhere.url()})) as receiver,
        dispatching(settings),
    ):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: left(redis).dead == 1)
    assert len(receiver.got) == 1 + len(FAST.retries_s)
    assert elsewhere.got == []


def test_one_that_says_gone_is_never_asked_again(redis: Redis, settings: Settings) -> None:
    with receiving(Receiver(status=410)) as receiver, dispatching(settings):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: left(redis).nothing and bool(receiver.got))
    assert len(receiver.got) == 1


def test_one_that_hangs_is_left_and_tried_again(redis: Redis, settings: Settings) -> None:
    hang = threading.Event()
    with (
        receiving(Receiver(hang=hang)) as receiver,
        dispatching(settings, Pace((0.05,) * 5, try_s=0.3, redis_pause_s=0.05)),
    ):
        put_away(redis, [receiver.url()])
        assert eventually(lambda: len(receiver.got) == 2)
        hang.set()
        assert eventually(lambda: left(redis).nothing)
    assert len(receiver.times()) == 1


def test_one_that_hangs_holds_up_no_other_host_and_no_other_caller(redis: Redis, settings: Settings) -> None:
    limits = Limits(running=6, running_of_caller=4, running_to_host=2, held=40, held_of_caller=24, held_to_host=8)
    pace = Pace((30.0,), try_s=20.0, crowded_s=0.2, stop_s=0.1)
    with (
        receiving(Receiver(hang=threading.Event())) as slow,
        receiving(Receiver()) as good,
        dispatching(settings, pace, limits, resolve=all_here),
    ):
        names = [f"tar{k}.example" for k in range(4)]
        put_away(redis, [slow.url(host=name) for name in names for _ in range(60)], caller="mallory")
        assert eventually(lambda: len(slow.got) == 4), "all that one caller may have under way"
        put_away(redis, [good.url() for _ in range(50)], first=1000, caller="alice")
        assert eventually(lambda: len(good.times()) == 50)
        assert len(slow.got) == 4


def test_a_thousand_outlive_a_receiver_that_is_down(redis: Redis, settings: Settings) -> None:
    port = free_port()
    pace = Pace((0.2, 0.3, 0.5, 0.5, 1, 1, 2, 2, 4, 8), try_s=5.0, lease_s=3.0, redis_pause_s=0.05)
    with dispatching(settings, pace, name="a"), dispatching(settings, pace, name="b"):
        put_away(redis, [f"http://127.0.0.1:{port}/hook"] * 1000)
        assert eventually(lambda: redis.zcard(keys.WEBHOOKS_DUE) > 100), "it is down"
        stumbling = Receiver(answer=lambda got, time: 503 if stumbles(got.id) and time == 1 else 200)
        with receiving(stumbling, port=port) as up:
            assert eventually(lambda: left(redis).nothing, within_s=60), left(redis)
    times = up.times()
    assert len(times) == 1000
    assert len({(got.id, got.body) for got in up.got}) == 1000, "every repeat has the same id and body"
    assert all(count == 1 + stumbles(name) for name, count in times.items()), "and none came for nothing"


def stumbles(webhook_id: str) -> bool:
    """Whether the receiver fails at the first try of this one: at every tenth."""
    return int(webhook_id.split("_")[1], 16) % 10 == 0


def test_after_the_last_try_it_is_on_the_dead_list(redis: Redis, redis_url: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/"
    with dispatching(settings_of(redis_url)):
        put_away(redis, [nowhere])
        assert eventually(lambda: left(redis).dead == 1)
    assert (left(redis).waiting, left(redis).due, left(redis).kept) == (0, 0, 1)
