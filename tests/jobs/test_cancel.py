"""Cancelling and erasing: at once or at the next tick, any number of times, and only by whose job it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rq.command import parse_payload
from rq.registry import CanceledJobRegistry
from rq.serializers import JSONSerializer

from jobs import keys
from jobs.errors import JobGone, JobNotFound, JobUnfinished
from jobs.outbox import FIELD
from jobs.queue import ServiceJob
from jobs.record import Failure, Status
from jobs.recovery import take_back, worker_name
from tests.jobs.submitting import Desk
from worker.consumer.claim import claim, pop

A, B = worker_name("here", 1, 1), worker_name("here", 2, 1)
HOOK = "https://example.org/hook"


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def erase(desk: Desk, job_id: str, caller: str | None = None) -> None:
    desk.ask(lambda store: store.erase(job_id, caller))


def woken(desk: Desk) -> list[str]:
    return [fields[b"job"].decode() for _, fields in desk.redis.xrange(keys.EVENTS)]


def outbox(desk: Desk) -> list[Any]:
    return [json.loads(fields[FIELD.encode()]) for _, fields in desk.redis.xrange(keys.OUTBOX)]


# A job that waits


def test_a_job_that_waits_ends_at_once_and_leaves_every_list(desk: Desk) -> None:
    job, other = desk.submit(ttl_s=120), desk.submit()
    record = desk.cancel(job.id)
    assert record == desk.read(job.id)
    assert (record.status, record.started_at, record.failure) == (Status.CANCELED, None, None)
    assert record.finished_at is not None
    assert desk.redis.lrange(f"rq:queue:{job.queue}", 0, -1) == [other.id.encode()]
    assert list(desk.ledger()) == [other.id]
    assert desk.counters() == {"queued": 10}
    assert 0 < desk.redis.ttl(f"rq:job:{job.id}") <= 120
    assert woken(desk) == [job.id]
    assert [one.record.id for one in desk.claim_all(A)] == [other.id]


def test_rqs_tools_see_a_canceled_job_as_one_that_they_canceled(desk: Desk) -> None:
    job = desk.submit()
    desk.cancel(job.id)
    seen = ServiceJob.fetch(job.id, connection=desk.redis, serializer=JSONSerializer)
    assert seen.is_canceled
    assert CanceledJobRegistry(job.queue, connection=desk.redis).get_job_ids() == [job.id]


def test_a_job_that_was_popped_and_not_claimed_yet_is_not_claimed_any_more(desk: Desk) -> None:
    job = desk.submit()
    popped = pop(desk.redis, desk.queues())
    assert desk.cancel(job.id).status is Status.CANCELED
    assert claim(desk.redis, popped, A, 60) == []
    assert not desk.redis.keys("rq:queue:*")


def test_a_suspect_that_waits_is_canceled_too(desk: Desk) -> None:
    job = desk.submit()
    for _ in range(2):
        take_back(desk.redis, [one.execution.composite_key for one in desk.claim_all(A)])
    assert desk.read(job.id).queue.endswith(".suspects")
    assert desk.cancel(job.id).status is Status.CANCELED
    assert (desk.claim_all(A), desk.ledger()) == ([], {})


# A job that runs


def test_a_job_that_runs_gets_a_mark_and_its_worker_a_stop_command(desk: Desk) -> None:
    job = desk.submit()
    desk.claim_all(A)
    with desk.redis.pubsub() as heard:
        heard.subscribe(f"rq:pubsub:{A}")
        heard.get_message(timeout=5)
        assert desk.cancel(job.id).status is Status.RUNNING
        message = heard.get_message(timeout=5)
    assert message is not None
    assert parse_payload(message) == {"command": "stop-job", "job_id": job.id}
    assert desk.redis.hexists(f"rq:job:{job.id}", keys.CANCEL_FIELD)


def test_the_mark_outlives_the_worker_and_then_the_job_ends_as_canceled(desk: Desk) -> None:
    job = desk.submit(webhook_url=HOOK, ttl_s=120)
    (claimed,) = desk.claim_all(A)
    desk.cancel(job.id)
    assert take_back(desk.redis, [claimed.execution.composite_key]).canceled == (job.id,)
    record = desk.read(job.id)
    assert (record.status, record.meta.crashes) == (Status.CANCELED, 0)
    assert (desk.claim_all(B), desk.ledger()) == ([], {})
    assert [one["event"] for one in outbox(desk)] == ["job.canceled"]
    assert not desk.redis.hexists(f"rq:job:{job.id}", keys.CANCEL_FIELD)
    assert 0 < desk.redis.ttl(f"rq:job:{job.id}") <= 120
    assert not desk.redis.keys("rq:execution*")


@pytest.mark.parametrize("crashed", [False, True])
def test_what_a_worker_gives_back_ends_as_canceled_if_it_is_marked(desk: Desk, crashed: bool) -> None:
    unwanted, wanted = desk.submit(), desk.submit()
    held = [desk.live(claimed) for claimed in desk.claim_all(A)]
    desk.cancel(unwanted.id)
    assert desk.give_back(A, held, crashed=crashed) == []
    assert desk.read(unwanted.id).status is Status.CANCELED
    assert desk.read(wanted.id).status is Status.QUEUED
    assert list(desk.ledger()) == [wanted.id]


def test_a_stopped_job_that_rqs_tools_queue_again_is_not_marked_any_more(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    desk.cancel(job.id)
    assert desk.stop(A, desk.live(claimed))
    ServiceJob.fetch(job.id, connection=desk.redis, serializer=JSONSerializer).requeue()
    (claimed,) = desk.claim_all(B)
    assert take_back(desk.redis, [claimed.execution.composite_key]).requeued == (job.id,)


def test_a_job_that_is_done_before_its_worker_hears_of_it_has_succeeded(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    desk.cancel(job.id)
    assert desk.finish(A, desk.live(claimed))
    assert desk.cancel(job.id).status is Status.SUCCEEDED


# Any number of times


def test_cancelling_twice_changes_nothing(desk: Desk) -> None:
    job = desk.submit(webhook_url=HOOK)
    first = desk.cancel(job.id)
    assert [desk.cancel(job.id) for _ in range(2)] == [first, first]
    assert (len(outbox(desk)), woken(desk), desk.counters()) == (1, [job.id], {"queued": 0})


@pytest.mark.parametrize("failure", [None, Failure(code="made_up", detail="it failed")])
def test_an_ended_job_stays_as_it_is(desk: Desk, failure: Failure | None) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    desk.finish(A, desk.live(claimed), failure=failure)
    ended = desk.read(job.id)
    assert ended.status is (Status.FAILED if failure else Status.SUCCEEDED)
    assert desk.cancel(job.id) == ended == desk.read(job.id)


def test_only_whose_job_it_is_may_cancel_erase_or_read_it(desk: Desk) -> None:
    job = desk.submit(caller="ada")
    for act in ("get", "cancel", "erase"):
        with pytest.raises(JobNotFound):
            desk.ask(lambda store, act=act: getattr(store, act)(job.id, "bob"))
    assert desk.ask(lambda store: store.get(job.id, "ada")).status is Status.QUEUED
    assert desk.ask(lambda store: store.cancel(job.id, "ada")).status is Status.CANCELED
    erase(desk, job.id, "ada")
    with pytest.raises(JobNotFound):
        desk.ask(lambda store: store.get(job.id, "bob"))


# Erasing


def test_an_erased_job_leaves_nothing_but_that_it_was_there(desk: Desk) -> None:
    job = desk.submit(num_images=2, animation=True)
    (claimed,) = desk.claim_all(A)
    assert desk.finish(A, desk.live(claimed))
    record = desk.read(job.id)
    assert record.meta.animation is not None
    assert desk.ask(lambda store: store.animation(record)).startswith(b"\x89PNG")
    erase(desk, job.id, "anonymous")
    assert not desk.redis.keys("*job_*")
    assert not desk.redis.exists(f"rq:finished:{job.queue}")
    for act in ("get", "cancel", "erase"):
        with pytest.raises(JobGone, match="erased"):
            desk.ask(lambda store, act=act: getattr(store, act)(job.id, "anonymous"))
    with pytest.raises(JobNotFound):
        desk.ask(lambda store: store.animation(record))


@pytest.mark.parametrize("how", ["failed", "stopped", "canceled", "canceled by RQ"])
def test_however_it_ended_a_job_can_be_erased(desk: Desk, how: str) -> None:
    job = desk.submit()
    if how == "canceled":
        desk.cancel(job.id)
    elif how == "canceled by RQ":
        ServiceJob.fetch(job.id, connection=desk.redis, serializer=JSONSerializer).cancel()
    else:
        live = desk.live(desk.claim_all(A)[0])
        if how == "stopped":
            desk.stop(A, live)
        else:
            desk.finish(A, live, failure=Failure(code="made_up", detail="it failed"))
    erase(desk, job.id)
    assert not desk.redis.keys("*job_*")
    assert not desk.redis.keys("rq:failed:*") + desk.redis.keys("rq:canceled:*")


@pytest.mark.parametrize("runs", [False, True])
def test_a_job_that_has_not_ended_is_not_erased(desk: Desk, runs: bool) -> None:
    job = desk.submit()
    if runs:
        desk.claim_all(A)
    with pytest.raises(JobUnfinished, match="cancel it first"):
        erase(desk, job.id)
    assert desk.read(job.id).status is (Status.RUNNING if runs else Status.QUEUED)


def test_a_worker_that_computes_an_erased_job_commits_nothing(desk: Desk) -> None:
    """Given a frozen worker whose job another one finished, when that is erased, nothing of it comes back."""
    job = desk.submit()
    (frozen,) = desk.claim_all(A)
    take_back(desk.redis, [frozen.execution.composite_key])
    (other,) = desk.claim_all(B)
    assert desk.finish(B, desk.live(other))
    erase(desk, job.id)
    late = desk.live(frozen)
    desk.progress(late, 5)
    assert not desk.finish(A, late)
    with pytest.raises(JobGone):
        desk.ask(lambda store: store.get(job.id, "anonymous"))
    assert not desk.redis.exists(f"rq:job:{job.id}", f"rq:results:{job.id}")
    assert (desk.ledger(), desk.model_counters()) == ({}, {})
    pictures = desk.redis.keys("unfog:picture:*")
    assert all(desk.redis.ttl(key) > 0 for key in pictures), "what it had stored expires by itself"


# Gone or never there


def test_an_expired_job_was_there_for_its_caller_and_for_nobody_else(desk: Desk) -> None:
    job = desk.submit(caller="ada")
    desk.redis.delete(f"rq:job:{job.id}", f"rq:queue:{job.queue}")
    with pytest.raises(JobGone):
        desk.ask(lambda store: store.get(job.id, "ada"))
    for caller in ("bob", None):
        with pytest.raises(JobNotFound):
            desk.ask(lambda store, caller=caller: store.get(job.id, caller))
    assert 6 * 86_400 < desk.redis.ttl(keys.caller_jobs("ada")) <= 7 * 86_400


def test_after_seven_days_nobody_knows(desk: Desk) -> None:
    job = desk.submit(caller="ada")
    desk.redis.delete(f"rq:job:{job.id}", f"rq:queue:{job.queue}")
    desk.redis.zincrby(keys.caller_jobs("ada"), -7 * 86_400 - 1, job.id)
    with pytest.raises(JobNotFound):
        desk.ask(lambda store: store.get(job.id, "ada"))


def test_a_job_is_read_in_one_round_trip_and_with_a_caller_too(desk: Desk) -> None:
    job = desk.submit(caller="ada")

    async def read(store: Any) -> None:
        await store.get(job.id, "ada")
        desk.redis.config_resetstat()
        await store.get(job.id, "ada")

    desk.ask(read)
    stats = desk.redis.info("commandstats")
    assert {name: stats[name]["calls"] for name in stats if "config" not in name} == {"cmdstat_hmget": 1}


# The words of an end


@pytest.mark.parametrize(
    ("how", "event"),
    [
        ("finish", "job.succeeded"),
        ("fail", "job.failed"),
        ("stop", "job.canceled"),
        ("cancel", "job.canceled"),
        ("poison", "job.failed"),
    ],
)
def test_whoever_ends_a_job_leaves_its_webhook_in_the_outbox_once(desk: Desk, how: str, event: str) -> None:
    job = desk.submit(webhook_url=HOOK)
    if how == "cancel":
        desk.cancel(job.id)
    elif how == "poison":
        while claimed := desk.claim_all(A):
            take_back(desk.redis, [one.execution.composite_key for one in claimed])
    else:
        live = desk.live(desk.claim_all(A)[0])
        if how == "stop":
            desk.stop(A, live)
        else:
            desk.finish(A, live, failure=Failure(code="made_up", detail="it failed") if how == "fail" else None)
    assert [(one["job"], one["event"], one["url"]) for one in outbox(desk)] == [(job.id, event, HOOK)]


def test_a_job_without_a_webhook_leaves_none(desk: Desk) -> None:
    desk.cancel(desk.submit().id)
    assert outbox(desk) == []


def test_who_listens_is_woken_when_a_job_starts_waits_again_and_ends(desk: Desk) -> None:
    job = desk.submit()
    assert woken(desk) == []
    (claimed,) = desk.claim_all(A)
    assert woken(desk) == [job.id]
    take_back(desk.redis, [claimed.execution.composite_key])
    assert woken(desk) == [job.id] * 2
    (claimed,) = desk.claim_all(A)
    desk.finish(A, desk.live(claimed))
    assert woken(desk) == [job.id] * 4
