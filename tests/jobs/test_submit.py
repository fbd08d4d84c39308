"""A submit takes a job or it does not: limits, and keys that make a repeat the same job."""

import asyncio
from collections.abc import Iterator

import pytest

from jobs import keys
from jobs.catalogue import announce
from jobs.errors import CallerQueueFull, IdempotencyConflict, JobGone, TooMuchQueued
from jobs.estimate import LONGEST_S, UNKNOWN_S
from jobs.recovery import worker_name
from jobs.store import JobStore
from jobs.submit import Idempotency
from tests.cards import FRUIT, PEBBLE
from tests.jobs.submitting import Desk

A = worker_name("here", 1, 1)
KEY = Idempotency("k", "hash of a body")


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


@pytest.fixture
def narrow(redis_url: str) -> Iterator[Desk]:
    """1000 evaluations may wait, 300 of one caller."""
    desk = Desk(redis_url, max_queued_evaluations=1000, max_caller_queued_evaluations=300)
    yield desk
    desk.redis.close()


# Limits


def test_a_callers_evaluations_that_wait_are_limited_and_others_are_not_held_up(narrow: Desk) -> None:
    for _ in range(3):
        narrow.submit(caller="ada", steps=100)
    with pytest.raises(CallerQueueFull, match="300 evaluations of yours wait already, and 300 may") as caught:
        narrow.submit(caller="ada", steps=1)
    assert (caught.value.queued, caught.value.limit) == (300, 300)
    narrow.submit(caller="bob", steps=100)
    narrow.claim_all(A)
    narrow.submit(caller="ada", steps=300)


def test_all_evaluations_that_wait_are_limited(narrow: Desk) -> None:
    for caller in range(5):
        narrow.submit(caller=str(caller), steps=200)
    with pytest.raises(TooMuchQueued, match="1000 evaluations wait already, and 1000 may") as caught:
        narrow.submit(caller="late", steps=1)
    assert not isinstance(caught.value, CallerQueueFull)
    assert narrow.counters() == {"queued": 1000}
    assert not narrow.redis.exists(keys.caller_jobs("late")), "nothing of a refused job happens"


@pytest.mark.parametrize("steps", [301, 1000])
def test_a_job_larger_than_a_limit_is_taken_when_nothing_else_waits(narrow: Desk, steps: int) -> None:
    narrow.submit(caller="ada", steps=steps)
    with pytest.raises(TooMuchQueued):
        narrow.submit(caller="ada", steps=1)
    narrow.claim_all(A)
    narrow.submit(caller="ada", steps=steps)


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_a_job_that_ends_makes_room(narrow: Desk, how: str) -> None:
    job = narrow.submit(caller="ada", steps=300)
    if how == "cancel":
        narrow.cancel(job.id)
    else:
        narrow.stop(A, narrow.live(narrow.claim_all(A)[0]))
    narrow.submit(caller="ada", steps=300)


def test_of_many_at_once_only_as_many_are_taken_as_the_limit_allows(narrow: Desk) -> None:
    spec, cost = narrow.resolved("ada", steps=30)

    async def rush(store: JobStore) -> list[object]:
        return await asyncio.gather(*(store.submit(spec, cost) for _ in range(40)), return_exceptions=True)

    answers = narrow.ask(rush)
    assert sum(not isinstance(answer, Exception) for answer in answers) == 10
    assert sum(isinstance(answer, CallerQueueFull) for answer in answers) == 30
    assert narrow.callers() == {"ada": 300}


def refused(desk: Desk, **fields: object) -> int:
    with pytest.raises(TooMuchQueued) as caught:
        desk.submit(**fields)  # type: ignore[arg-type]
    assert f"try again in {caught.value.retry_after_s} s" in str(caught.value)
    return caught.value.retry_after_s


def test_who_is_refused_is_told_when_enough_will_have_been_taken(narrow: Desk) -> None:
    announce(narrow.redis, A, (FRUIT,), 60, {FRUIT.id: 10.0})
    for _ in range(3):
        narrow.submit(caller="ada", steps=100)
    assert refused(narrow, caller="ada", steps=100) == 10, "100 of 300 evaluations, at 10 a second"
    for caller in range(6):
        narrow.submit(caller=str(caller), steps=100)
    assert refused(narrow, caller="ada", steps=100) == 30, "a third of the 90 s that all 900 take"
    narrow.submit(caller="last", steps=100)
    assert refused(narrow, caller="new", steps=50) == 5


def test_a_large_job_waits_until_all_are_taken(narrow: Desk) -> None:
    announce(narrow.redis, A, (FRUIT,), 60, {FRUIT.id: 10.0})
    narrow.submit(caller="ada", steps=100)
    assert refused(narrow, caller="ada", steps=900) == 10


@pytest.mark.parametrize(("rate", "told"), [(None, UNKNOWN_S), (1e-9, LONGEST_S), (1e9, 1)])
def test_the_time_is_never_silly(narrow: Desk, rate: float | None, told: int) -> None:
    announce(narrow.redis, A, (FRUIT,), 60, {FRUIT.id: rate} if rate else {})
    narrow.submit(caller="ada", steps=300)
    assert refused(narrow, caller="ada", steps=100) == told


def test_work_of_several_models_is_done_at_the_rate_of_each(narrow: Desk) -> None:
    announce(narrow.redis, A, (FRUIT, PEBBLE), 60, {FRUIT.id: 10.0, PEBBLE.id: 100.0})
    spec, _ = narrow.resolved("bob", steps=300)
    narrow.ask(lambda store: store.submit(spec.model_copy(update={"model": PEBBLE.id}), 300))
    narrow.submit(caller="ada", steps=300)
    assert refused(narrow, caller="ada", steps=300) == 33


# Keys


def test_a_repeat_with_the_same_key_is_the_same_job(desk: Desk) -> None:
    first = desk.submit(KEY, seed=1)
    assert desk.submit(KEY, seed=2) == first
    assert desk.counters() == {"queued": 10}
    assert desk.submit(KEY, caller="bob").id != first.id, "keys are a caller's own"


def test_a_key_with_another_body_is_a_conflict(desk: Desk) -> None:
    desk.submit(KEY)
    with pytest.raises(IdempotencyConflict):
        desk.submit(Idempotency(KEY.key, "another"))


def test_of_many_with_one_key_at_once_one_is_taken_and_all_get_it(desk: Desk) -> None:
    """None is ever refused since another is still under way: the script that takes one writes the key."""

    async def rush(store: JobStore) -> list[str]:
        specs = [desk.resolved(seed=seed) for seed in range(40)]
        records = await asyncio.gather(*(store.submit(spec, cost, KEY) for spec, cost in specs))
        return [record.id for record in records]

    assert len(set(desk.ask(rush))) == 1
    assert len(desk.ledger()) == 1


@pytest.mark.parametrize("how", ["expired", "erased"])
def test_the_key_of_a_job_that_is_gone_says_so_for_its_day(desk: Desk, how: str) -> None:
    job = desk.submit(KEY)
    if how == "erased":
        desk.cancel(job.id)
        desk.ask(lambda store: store.erase(job.id))
    else:
        desk.redis.delete(f"rq:job:{job.id}")
    with pytest.raises(JobGone):
        desk.submit(KEY)
    with pytest.raises(IdempotencyConflict):
        desk.submit(Idempotency(KEY.key, "another"))
    assert 86_000 < desk.redis.ttl(keys.idempotency("anonymous", "k")) <= 86_400
    desk.redis.delete(keys.idempotency("anonymous", "k"))
    assert desk.submit(KEY).id != job.id


def test_a_refused_request_leaves_its_key_free(narrow: Desk) -> None:
    narrow.submit(caller="ada", steps=300)
    with pytest.raises(CallerQueueFull):
        narrow.submit(KEY, caller="ada")
    narrow.claim_all(A)
    assert narrow.submit(KEY, caller="ada") == narrow.submit(KEY, caller="ada")


# Round trips


def test_a_submit_is_one_script(desk: Desk) -> None:
    desk.submit()
    spec, cost = desk.resolved()

    async def submitted(store: JobStore) -> None:
        await store.submit(spec, cost)
        desk.redis.config_resetstat()
        await store.submit(spec, cost)

    desk.ask(submitted)
    stats = desk.redis.info("commandstats")
    assert stats["cmdstat_eval"]["calls"] == 1
    assert "cmdstat_info" not in stats, "the memory is looked at once a second at most"
    assert "cmdstat_hgetall" not in stats
