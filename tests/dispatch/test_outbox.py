"""The outbox in Redis: what is written at a job's end, and that no move loses a webhook or makes two of one."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import Redis
from rq.job import JobStatus

from app.links import Links
from app.schemas import view_of
from dispatch.sender import body_of
from jobs import keys
from jobs.connection import connect_async
from jobs.ending import Ending, end
from jobs.lanes import lane_of
from jobs.outbox import DEAD_KEPT_S, GROUP, Entry, Outbox
from jobs.record import JobMeta, Status, record_of
from jobs.settings import Settings
from jobs.spec import JobSpec
from jobs.store import JobStore
from jobs.webhook import Webhook, secret_of, webhook_of
from tests.dispatch.dispatching import Left, ended_job, left, put_away, spec_to
from tests.jobs.submitting import Desk

URL = "https://hooks.example/"


def with_outboxes(settings: Settings, act: Callable[[Outbox, Outbox], Awaitable[Any]]) -> Any:
    """Do something with the outbox as two dispatchers see it."""

    async def run() -> Any:
        redis = connect_async(settings)
        try:
            first, second = Outbox(redis, "first"), Outbox(redis, "second")
            await first.prepare()
            await second.prepare()
            return await act(first, second)
        finally:
            await redis.aclose()

    return asyncio.run(run())


def ended(redis: Redis, spec: JobSpec) -> Any:
    """A transaction that will end a job."""
    job, pipe = ended_job(redis, 1, spec), redis.pipeline()
    job.origin = lane_of(spec, 10).name
    end(pipe, record_of(job), Ending(JobStatus.FINISHED, JobMeta.model_validate(job.meta)))
    return pipe


def tried(entry: Entry) -> Webhook:
    return entry.webhook.model_copy(update={"tries": entry.webhook.tries + 1, "reason": "status 500"})


def test_a_job_without_a_url_puts_nothing_in(redis: Redis) -> None:
    ended(redis, spec_to(None)).execute()
    assert not redis.exists(keys.OUTBOX)


def test_it_is_written_with_the_end_of_the_job_or_not_at_all(redis: Redis) -> None:
    pipe = ended(redis, spec_to(URL))
    assert not redis.exists(keys.OUTBOX)
    pipe.execute()
    assert redis.xlen(keys.OUTBOX) == 1


def test_the_store_writes_it_when_a_job_ends_and_only_then(redis: Redis, redis_url: str) -> None:
    desk = Desk(redis_url)
    job = desk.submit(webhook_url=URL)
    desk.submit()
    assert not redis.exists(keys.OUTBOX)

    async def cancel() -> None:
        store = JobStore(connect_async(desk.settings), desk.redis, desk.settings.max_queued_evaluations)
        await store.cancel(job.id, job.spec.caller)
        await store.cancel(job.id, job.spec.caller)
        await store.close()

    asyncio.run(cancel())
    desk.redis.close()
    ((_, fields),) = redis.xrange(keys.OUTBOX)
    webhook = Webhook.model_validate_json(fields[b"webhook"])
    assert (webhook.job, webhook.event, webhook.url) == (job.id, "job.canceled", URL)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_what_is_sent_says_what_the_api_says(redis: Redis, status: Status) -> None:
    spec = spec_to(URL)
    record = record_of(ended_job(redis, 1, spec, status))
    body = json.loads(body_of(webhook_of(record), "https://unfog.example"))
    view = view_of(record, Links("https://unfog.example")).model_dump(mode="json")
    assert set(body) == {"type", "timestamp", "data"}
    assert body["type"] == f"job.{status}"
    assert body["timestamp"] == view["finished_at"]
    assert body["data"].pop("urls") == {"self": view["urls"]["self"]}
    assert body["data"] == {name: view[name] for name in body["data"]}
    assert set(view) - set(body["data"]) <= {"request", "progress", "queue_position", "eta_s", "urls"}


def test_each_end_has_an_id_of_its_own_and_without_a_full_stop(redis: Redis) -> None:
    spec = spec_to(URL)
    records = [
        record_of(ended_job(redis, number, spec, status))
        for number in (1, 2)
        for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)
    ]
    names = [webhook_of(record).id for record in records]
    assert len(set(names)) == len(names)
    assert not any("." in name for name in names)
    assert [webhook_of(record).id for record in records] == names, "asked again it is the same"


def test_each_caller_has_a_secret_of_its_own() -> None:
    secrets = {secret_of(master, caller) for master in ("a" * 32, "b" * 32) for caller in ("alice", "bob", "")}
    assert len(secrets) == 6
    assert all(secret.startswith("whsec_") for secret in secrets)
    assert secret_of("a" * 32, "alice") == "whsec_WEtQO0TY6ql2+C6f4IM+1WcFxGmOKGM73cbkgzA9vCo="


def test_entries_written_before_there_was_a_dispatcher_are_read(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 3)

    async def act(first: Outbox, second: Outbox) -> list[Entry]:
        return await first.read(2, 10) + await second.read(2, 10)

    entries = with_outboxes(settings, act)
    assert len({entry.webhook.id for entry in entries}) == 3


def test_what_a_silent_dispatcher_holds_is_claimed_and_what_another_speaks_of_is_not(
    redis: Redis, settings: Settings
) -> None:
    put_away(redis, [URL] * 2)

    async def act(first: Outbox, second: Outbox) -> tuple[list[Entry], list[Entry]]:
        entries = await first.read(10, 10)
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            await first.renew(entries[:1])
            await asyncio.sleep(0.01)
        claimed = await second.claim(10, 0.2)
        await first.renew(entries)  # too late for one of them
        return entries, claimed

    entries, claimed = with_outboxes(settings, act)
    assert claimed == entries[1:]
    holders = {
        found["consumer"]: found["times_delivered"]
        for found in redis.xpending_range(keys.OUTBOX, GROUP, "-", "+", 10)
    }
    assert set(holders) == {b"first", b"second"}


def test_what_the_dead_held_is_found_behind_much_that_is_in_work(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 50)

    async def act(first: Outbox, second: Outbox) -> tuple[list[Entry], list[Entry]]:
        in_work, (lost,) = await first.read(49, 10), await second.read(1, 10)
        await asyncio.sleep(0.1)
        await first.renew(in_work)
        return [lost], await first.claim(1, 0.1)

    lost, claimed = with_outboxes(settings, act)
    assert claimed == lost


def test_of_two_that_hold_an_entry_only_the_first_can_put_it_away(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL])

    async def act(first: Outbox, second: Outbox) -> None:
        (entry,) = await first.read(10, 10)
        (claimed,) = await second.claim(10, 0)
        await second.postpone(claimed, tried(claimed), 0)
        await first.give_up(entry, tried(entry), 0)
        await first.postpone(entry, tried(entry), 0)

    with_outboxes(settings, act)
    assert left(redis) == Left(waiting=0, pending=0, due=1, dead=0, kept=1)


def test_what_one_has_delivered_is_over_also_when_another_has_put_it_away(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 2)

    async def act(first: Outbox, second: Outbox) -> None:
        one, two = await first.read(10, 10)
        await second.claim(10, 0)
        await second.postpone(one, tried(one), 0)
        await second.give_up(two, tried(two), 0)
        await first.delivered(one)
        await first.delivered(two)
        assert await first.promote(time.time()) == 0

    with_outboxes(settings, act)
    assert left(redis).nothing


def test_what_is_due_comes_back_once_and_what_is_not_does_not(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 2)

    async def act(first: Outbox, second: Outbox) -> list[Entry]:
        one, two = await first.read(10, 10)
        await first.postpone(one, tried(one), 1000)
        await first.postpone(two, tried(two), 2000)
        assert sum(await asyncio.gather(*(box.promote(1500) for box in (first, second) * 5))) == 1
        return await second.read(10, 10)

    (entry,) = with_outboxes(settings, act)
    assert (entry.webhook.tries, entry.webhook.reason) == (1, "status 500")
    assert left(redis) == Left(waiting=1, pending=1, due=1, dead=0, kept=1)


def test_the_dead_are_listed_resent_and_after_a_week_forgotten(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 3)
    week = float(DEAD_KEPT_S)

    async def act(first: Outbox, second: Outbox) -> None:
        entries = await first.read(10, 10)
        for at, entry in enumerate(entries):
            await first.give_up(entry, tried(entry), 100.0 + at)
        dead = await first.dead()
        assert [each.webhook for each in dead] == [tried(entry) for entry in reversed(entries)]
        assert [each.died_at for each in dead] == [102.0, 101.0, 100.0]
        assert await first.resend(entries[1].webhook.id)
        assert not await first.resend(entries[1].webhook.id), "it is on its way"
        assert not await first.resend("msg_unknown")
        await first.tidy(101.0 + week, 3600)
        assert [each.webhook.id for each in await first.dead()] == [entries[2].webhook.id]
        (again,) = await second.read(10, 10)
        assert again.webhook == entries[1].webhook, "all tries before it"

    with_outboxes(settings, act)
    assert left(redis) == Left(waiting=1, pending=1, due=0, dead=1, kept=1)


def test_one_that_waits_for_its_next_try_cannot_be_resent(redis: Redis, settings: Settings) -> None:
    (job,) = put_away(redis, [URL])

    async def act(first: Outbox, second: Outbox) -> None:
        (entry,) = await first.read(10, 10)
        await first.postpone(entry, tried(entry), 1000)
        assert not await first.resend(entry.webhook.id)

    with_outboxes(settings, act)
    assert left(redis).due == 1, job


def test_silent_dispatchers_are_struck_unless_they_hold_something(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL])

    async def act(first: Outbox, second: Outbox) -> None:
        await first.read(10, 10)
        await second.read(10, 10)
        await asyncio.sleep(0.01)
        await second.tidy(time.time(), 0.001)

    with_outboxes(settings, act)
    assert [each["name"] for each in redis.xinfo_consumers(keys.OUTBOX, GROUP)] == [b"first"]
    assert left(redis).pending == 1


def test_what_is_no_webhook_is_taken_off_the_stream_and_holds_nobody_up(redis: Redis, settings: Settings) -> None:
    redis.xadd(keys.OUTBOX, {"webhook": "{}"})
    redis.xadd(keys.OUTBOX, {"something": "else"})
    put_away(redis, [URL])
    entries = with_outboxes(settings, lambda first, second: first.read(10, 10))
    assert len(entries) == 1
    assert left(redis).waiting == left(redis).pending == 1


def test_an_entry_that_somebody_deleted_by_hand_does_no_harm(redis: Redis, settings: Settings) -> None:
    put_away(redis, [URL] * 2)

    async def act(first: Outbox, second: Outbox) -> list[Entry]:
        one, _ = await first.read(10, 10)
        redis.xdel(keys.OUTBOX, one.id)
        return await second.claim(10, 0)

    assert len(with_outboxes(settings, act)) == 1
