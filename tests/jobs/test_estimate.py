"""A job's place and its time are told from counters, at any depth of the queue."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import keys, ledger
from jobs.catalogue import announce, withdraw
from jobs.estimate import Estimate, Own, before_in_other_lanes, eta_s, own_of
from jobs.lanes import lane_of
from jobs.ledger import Group, Sums
from jobs.pace import Pace, pace_of, said
from jobs.record import JobRecord
from jobs.recovery import take_back, worker_name
from jobs.store import JobStore
from tests.cards import FRUIT
from tests.jobs.submitting import Desk
from worker.consumer.claim import claim

A = worker_name("here", 1, 1)
RATE, TICK_S = 100.0, 0.05


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    announce(desk.redis, A, (FRUIT,), 600, {FRUIT.id: RATE}, {FRUIT.id: TICK_S})
    yield desk
    desk.redis.close()


def estimate(desk: Desk, record: JobRecord) -> Estimate:
    async def told(store: JobStore) -> Estimate:
        return await store.estimate(await store.get(record.id))

    return desk.ask(told)


def places(desk: Desk, *records: JobRecord) -> list[int | None]:
    return [estimate(desk, record).queue_position for record in records]


def callers_of_two_lanes(desk: Desk) -> tuple[str, str]:
    names = [f"caller-{n}" for n in range(50)]
    lanes = {name: lane_of(*desk.resolved(name)) for name in names}
    other = next(name for name in names if lanes[name] != lanes[names[0]])
    return names[0], other


def sums(**counts: int) -> Sums:
    """Counters; a dot is written as two underscores."""
    return Sums({field.replace("__", ".").encode(): str(count).encode() for field, count in counts.items()})


# The place


def test_jobs_of_one_lane_have_places_from_one_on_and_move_up(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(3)]
    assert places(desk, *jobs) == [1, 2, 3]
    queue = next(queue for queue in desk.queues() if queue.name == jobs[0].queue)
    desk.redis.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    assert places(desk, *jobs) == [1, 2, 3], "it is not claimed yet"
    (claimed,) = claim(desk.redis, [(queue, jobs[0].id)], A, 60)
    assert places(desk, *jobs) == [None, 1, 2]
    assert take_back(desk.redis, [claimed.execution.composite_key])
    assert places(desk, *jobs) == [1, 2, 3], "it is in front again"


def test_who_is_canceled_in_the_middle_moves_only_those_behind(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(5)]
    desk.cancel(jobs[1].id)
    desk.cancel(jobs[3].id)
    assert places(desk, jobs[0], jobs[2], jobs[4]) == [1, 2, 3]
    assert places(desk, jobs[1], jobs[3]) == [None, None]


def test_the_lanes_of_others_count_as_far_as_workers_go_round_them(desk: Desk) -> None:
    ada, bob = callers_of_two_lanes(desk)
    of_ada = [desk.submit(caller=ada) for _ in range(6)]
    of_bob = [desk.submit(caller=bob) for _ in range(2)]
    assert places(desk, *of_bob) == [1 + 1, 2 + 2]
    assert places(desk, *of_ada) == [1 + 1, 2 + 2, 3 + 2, 4 + 2, 5 + 2, 6 + 2]


def test_low_jobs_stand_behind_all_others_and_hold_up_nobody(desk: Desk) -> None:
    low = desk.submit(priority="low")
    normal = [desk.submit() for _ in range(3)]
    assert places(desk, low, *normal) == [4, 1, 2, 3]


def test_a_job_that_has_ended_has_no_place_and_costs_no_look(desk: Desk) -> None:
    job = desk.submit()
    record = desk.cancel(job.id)
    desk.redis.config_resetstat()
    assert desk.ask(lambda store: store.estimate(record)) == Estimate(None, None)
    mine = {"cmdstat_config|resetstat", "cmdstat_config", "cmdstat_info"}
    assert set(desk.redis.info("commandstats")) <= mine | {"cmdstat_xread"}  # the API of other tests reads on


def test_a_job_to_be_has_the_place_that_it_gets(desk: Desk) -> None:
    ada, bob = callers_of_two_lanes(desk)
    for caller in (ada, ada, bob):
        for fields in ({"steps": 10}, {"steps": 300}, {"steps": 10, "priority": "low"}):
            spec, cost = desk.resolved(caller, **fields)
            foretold = desk.ask(lambda store, s=spec, c=cost: store.estimate_new(s, c))  # type: ignore[misc]
            assert foretold == estimate(desk, desk.submit(caller=caller, **fields))


def test_a_page_of_jobs_is_estimated_as_each_of_them(desk: Desk) -> None:
    ada, bob = callers_of_two_lanes(desk)
    jobs = [desk.submit(caller=caller, steps=steps) for caller in (ada, bob) for steps in (10, 300)]
    jobs.append(desk.cancel(jobs[0].id))
    spec, cost = desk.resolved(steps=10)
    other = spec.model_copy(update={"model": "other-16"})
    jobs += [desk.ask(lambda store: store.submit(other, cost)) for _ in range(2)]
    together = desk.ask(lambda store: store.estimates(jobs[1:]))
    assert together == [desk.ask(lambda store, job=job: store.estimate(job)) for job in jobs[1:]]
    assert together[-2:] == [Estimate(1, None), Estimate(2, None)], "the jobs of another model wait elsewhere"
    assert desk.ask(lambda store: store.estimates([])) == []


# The time


def test_the_time_is_the_work_before_and_ones_own_over_the_rate(desk: Desk) -> None:
    jobs = [desk.submit(steps=100) for _ in range(3)]
    assert [estimate(desk, job).eta_s for job in jobs] == [
        100 * TICK_S,  # one row takes its ticks, however fast the worker is
        100 * TICK_S,
        100 * TICK_S,
    ]
    more = [desk.submit(steps=100) for _ in range(5)]
    assert estimate(desk, more[-1]).eta_s == pytest.approx(8 * 100 / RATE)


def test_a_running_job_counts_with_what_it_has_left(desk: Desk) -> None:
    desk.submit(steps=100, num_images=10)
    (claimed,) = desk.claim_all(A)
    job = desk.submit(steps=100, num_images=10)
    assert estimate(desk, job).eta_s == pytest.approx((1000 + 1000) / RATE)
    desk.progress(desk.live(claimed), 900)
    assert estimate(desk, job).eta_s == pytest.approx((100 + 1000) / RATE)


def test_a_short_job_is_not_held_up_by_all_that_long_ones_have_left(desk: Desk) -> None:
    """Rows share the batch, and short ones go first."""
    for _ in range(4):
        desk.submit(steps=1000, num_images=4)
    desk.claim_all(A)
    desk.submit(steps=1000, num_images=4)
    job = desk.submit(steps=20)
    assert estimate(desk, job).eta_s == pytest.approx((4 * 20 + 20 + 20) / RATE), "not 200 s"


def test_a_running_jobs_time_is_its_own_ticks(desk: Desk) -> None:
    job = desk.submit(steps=100, num_images=2)
    (claimed,) = desk.claim_all(A)
    for _ in range(30):
        desk.submit(steps=100)
    assert estimate(desk, job) == Estimate(None, 100 * TICK_S)
    desk.progress(desk.live(claimed), 150)
    assert estimate(desk, job) == Estimate(None, 25 * TICK_S)


def test_more_running_jobs_than_a_batch_holds_take_turns(desk: Desk) -> None:
    jobs = [desk.submit(steps=100) for _ in range(20)]
    desk.claim_all(A)
    assert estimate(desk, jobs[0]) == Estimate(None, 20 * 100 / RATE)


def test_guided_rows_take_two_places_and_one_tick(desk: Desk) -> None:
    job = desk.submit(steps=100, guidance_scale=2.0)
    assert job.meta.total == 200
    assert estimate(desk, job).eta_s == 100 * TICK_S


def test_several_workers_are_faster_but_one_job_runs_in_one(desk: Desk) -> None:
    announce(desk.redis, "another", (FRUIT,), 600, {FRUIT.id: 3 * RATE}, {FRUIT.id: TICK_S})
    jobs = [desk.submit(steps=100, num_images=10) for _ in range(4)]
    assert estimate(desk, jobs[3]).eta_s == pytest.approx(4000 / (4 * RATE))
    assert estimate(desk, jobs[0]).eta_s == pytest.approx(1000 / (2 * RATE)), "of the two, one of average speed"


@pytest.mark.parametrize("gone", ["withdrawn", "silent", "never said"])
def test_without_a_worker_that_has_said_how_fast_it_is_there_is_no_time(desk: Desk, gone: str) -> None:
    if gone == "silent":
        announce(desk.redis, A, (FRUIT,), -1, {FRUIT.id: RATE})
    else:
        withdraw(desk.redis, A, [FRUIT.id])
    if gone == "never said":
        announce(desk.redis, A, (FRUIT,), 600)
    job = desk.submit()
    assert estimate(desk, job) == Estimate(1, None)
    desk.claim_all(A)
    assert estimate(desk, job) == Estimate(None, None)


def test_the_gap_of_those_who_left_never_counts_for_more_than_what_waits(desk: Desk) -> None:
    jobs = [desk.submit(steps=100) for _ in range(10)]
    for job in jobs[1:9]:
        desk.cancel(job.id)
    assert estimate(desk, jobs[9]).eta_s == max(200 / RATE, 100 * TICK_S)
    assert places(desk, jobs[9]) == [2]


# Any depth


def commands(desk: Desk, record: JobRecord) -> dict[str, int]:
    async def told(store: JobStore) -> None:
        await store.estimate(record)
        desk.redis.config_resetstat()
        await store.estimate(record)

    desk.ask(told)
    stats = desk.redis.info("commandstats")
    return {name: figures["calls"] for name, figures in stats.items() if "config" not in name}


def test_an_estimate_takes_the_same_commands_at_any_depth(desk: Desk) -> None:
    first = desk.submit()
    at_one = commands(desk, first)
    for thousand in range(10):
        with desk.redis.pipeline() as pipe:
            for n in range(1000):
                ledger.waits_in_front(pipe, first.queue, f"job_{thousand}_{n}", 10, "anonymous")
            pipe.execute()
    last = desk.submit()
    assert places(desk, first, last) == [10_001, 10_002]
    assert commands(desk, last) == at_one
    assert sum(at_one.values()) <= 10


# The formula

LANES = st.sampled_from([f"{p}.{n}.{b}" for p in ("normal", "low") for n in ("short", "long") for b in (0, 7)])


@given(
    waiting=st.dictionaries(LANES, st.tuples(st.integers(1, 10**6), st.integers(1, 16_000))),
    running=st.tuples(st.integers(0, 500), st.integers(0, 16_000), st.floats(0, 2)),
    lane=LANES,
    position=st.integers(1, 10**6),
    own=st.builds(Own, st.integers(0, 16_000), st.integers(0, 1000)),
    pace=st.builds(Pace, st.just(frozenset({"w"})), st.integers(1, 9), st.floats(1e-3, 1e6), st.floats(0, 10)),
)
def test_no_counters_make_an_estimate_that_is_negative_or_less_than_ones_own_ticks(
    waiting: dict[str, tuple[int, int]], running: Any, lane: str, position: int, own: Own, pace: Pace
) -> None:
    raw = {}
    for name, (jobs, each) in waiting.items():
        raw |= {f"{name}.jobs": jobs, f"{name}.evaluations": jobs * each}
    jobs, each, done = running
    raw |= {"running.jobs": jobs, "running.evaluations": jobs * each, "running.done": int(jobs * each * done)}
    counted = Sums({field.encode(): str(count).encode() for field, count in raw.items()})
    before = before_in_other_lanes(counted, lane, position, own)
    assert 0 <= before.jobs <= sum(jobs for jobs, _ in waiting.values())
    assert 0 <= before.evaluations <= sum(jobs * each for jobs, each in waiting.values())
    told = eta_s(pace, counted, before.evaluations, own)
    assert told is not None
    assert told >= round(own.in_a_row * pace.tick_s, 3)
    assert told >= round(own.evaluations / pace.rate, 3)
    assert math.isfinite(told)


def test_counters_below_zero_count_as_nothing() -> None:
    counted = sums(running__evaluations=5, running__done=9, queued__jobs=-3, a__jobs=-1, a__evaluations=-10)
    assert (counted.running_left, counted.group("queued"), counted.lanes) == (0, Group(0, 0), {})


def test_suspects_run_apart_from_the_lanes() -> None:
    counted = sums(normal__short__0__jobs=9, normal__short__0__evaluations=90, suspects__jobs=2)
    own = Own(10, 10)
    assert before_in_other_lanes(counted, "suspects", 2, own) == Group(0, 0)
    assert before_in_other_lanes(counted, "normal.short.1", 1, own) == Group(1, 10)


def test_what_must_come_one_after_the_other_is_a_rows_share(desk: Desk) -> None:
    spec, cost = desk.resolved(steps=20, num_images=4, guidance_scale=2.0)
    assert (cost, own_of(spec, cost), own_of(spec, 9)) == (160, Own(160, 20), Own(9, 2))


# The pace


SENSELESS = [b"", b"{}", b"[]", b"null", b"3", b"no JSON", b"\xff", b'{"rate": 1}']


@pytest.mark.parametrize(
    "word", [*SENSELESS, *(b'{"rate": %s, "tick_s": 1}' % rate for rate in (b"0", b'"a"', b"NaN", b"Infinity"))]
)
def test_a_word_that_makes_no_sense_is_not_said(word: bytes) -> None:
    assert pace_of([b"a"], {b"a": word}) == Pace(frozenset({"a"}))


def test_only_the_living_count() -> None:
    words = {b"a": said(10, 1.0).encode(), b"b": said(30, 3.0).encode(), b"dead": said(1000, 9.0).encode()}
    assert pace_of([b"a", b"b", b"new"], words) == Pace(frozenset({"a", "b", "new"}), 2, 40.0, 2.0)


def test_what_a_worker_said_goes_with_it(desk: Desk) -> None:
    announce(desk.redis, "late", (FRUIT,), -1, {FRUIT.id: 5.0})
    announce(desk.redis, A, (FRUIT,), 60, {FRUIT.id: 7.0}, {FRUIT.id: 0.5})
    assert desk.redis.hgetall(keys.model_rates(FRUIT.id)) == {A.encode(): b'{"rate": 7.0, "tick_s": 0.5}'}
    assert desk.ask(lambda store: store.catalogue()).rates == {FRUIT.id: 7.0}
    withdraw(desk.redis, A, [FRUIT.id])
    assert desk.ask(lambda store: store.catalogue()).rates == {}
    assert not desk.redis.exists(keys.model_rates(FRUIT.id))
