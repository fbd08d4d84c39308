"""A dead worker's jobs are taken back, each once, and the one that kills workers is found."""

import time
from collections.abc import Iterator

import pytest
from redis import Redis
from rq.command import send_stop_job_command
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from jobs import keys
from jobs.ending import Ending, end
from jobs.lanes import suspects_name
from jobs.queue import ServiceJob
from jobs.record import JobMeta, Status
from jobs.recovery import (
    ALONE_DEATHS,
    SUSPECT_AFTER,
    after_crash,
    alive_key,
    executions_of,
    take_back,
    take_back_from_process,
    take_back_overdue,
    worker_name,
)
from jobs.tidying import expire_canceled, forget_dead_workers
from jobs.work import recount
from tests.cards import FRUIT, fetch
from tests.jobs.submitting import TTL_S, Desk
from worker.consumer.claim import Claimed

A, B = worker_name("here", 1, 1), worker_name("here", 2, 1)


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def keys_of(claimed: list[Claimed]) -> list[str]:
    return [one.execution.composite_key for one in claimed]


def crash(desk: Desk, *claimed: Claimed) -> None:
    assert take_back(desk.redis, keys_of(list(claimed)))


def expire(redis: Redis, claimed: Claimed, by_s: int = 5) -> None:
    """Pretend that an execution has had no heartbeat for its ttl and `by_s` more."""
    redis.zadd(claimed.queue.started_job_registry.key, {claimed.execution.composite_key: int(time.time()) - by_s})


def waiting(desk: Desk) -> dict[str, list[str]]:
    found = {queue.name: queue.get_job_ids() for queue in desk.queues()}
    return {name: job_ids for name, job_ids in found.items() if job_ids}


# Whom a crash makes a suspect


@pytest.mark.parametrize(
    ("before", "companions", "after"),
    [
        ((0, 0), 16, (1, 0)),
        ((1, 0), 16, (2, 8)),
        ((1, 0), 1, (2, 1)),
        ((2, 8), 8, (3, 4)),
        ((2, 8), 3, (3, 1)),
        ((3, 4), 16, (4, 2)),
        ((4, 1), 2, (5, 1)),
    ],
)
def test_the_second_crash_makes_a_suspect_and_further_ones_halve_its_company(
    before: tuple[int, int], companions: int, after: tuple[int, int]
) -> None:
    meta = after_crash(JobMeta(total=5, completed=3, crashes=before[0], group=before[1]), companions)
    assert (meta.crashes, meta.group, meta.completed) == (*after, 0)


def test_from_any_batch_a_poisonous_job_is_alone_within_log2_crashes() -> None:
    for batch in (1, 2, 16, 100, 512):
        meta, company = JobMeta(total=1), batch
        while not (meta.group == 1 and company == 1):
            meta = after_crash(meta, company)
            company = min(batch, meta.group or batch)
        assert meta.crashes <= 2 + batch.bit_length()


# Taking back


def test_jobs_of_a_dead_worker_are_queued_again_in_front(desk: Desk) -> None:
    job = desk.submit()
    claimed = desk.claim_all(A)
    later = desk.submit()
    assert take_back(desk.redis, keys_of(claimed)).requeued == (job.id,)
    assert list(waiting(desk).values()) == [[job.id, later.id]]
    record = desk.read(job.id)
    assert (record.status, record.meta.crashes, record.meta.attempt) == (Status.QUEUED, 1, 1)
    assert executions_of(desk.redis, A) == []
    assert not desk.redis.keys("rq:execution:*")


def test_a_job_is_taken_back_once_however_many_try(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    taken = [take_back(desk.redis, keys_of([claimed])) for _ in range(3)]
    assert [one.requeued for one in taken] == [(job.id,), (), ()]
    assert list(waiting(desk).values()) == [[job.id]]


def test_a_job_that_has_ended_is_left_alone(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    with desk.redis.pipeline() as pipe:
        end(pipe, claimed.record, Ending(JobStatus.FINISHED, claimed.record.meta))
        pipe.execute()
    assert not take_back(desk.redis, keys_of([claimed]))
    assert desk.read(job.id).status is Status.SUCCEEDED
    assert waiting(desk) == {}


def test_a_cancelled_job_is_left_alone(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    fetch(desk.redis, claimed.record.id).cancel()
    assert not take_back(desk.redis, keys_of([claimed]))
    assert desk.read(job.id).status is Status.CANCELED
    assert waiting(desk) == {}


def test_an_older_execution_of_a_job_that_runs_again_is_left_alone(desk: Desk) -> None:
    job = desk.submit()
    (old,) = desk.claim_all(A)
    crash(desk, old)
    (new,) = desk.claim_all(B)
    desk.redis.set(alive_key(B), 1, ex=TTL_S)
    desk.redis.zadd(old.queue.started_job_registry.key, {old.execution.composite_key: time.time() - 99})
    assert not take_back(desk.redis, keys_of([old]))
    assert not take_back_overdue(desk.redis, desk.queue_names)
    assert desk.read(job.id).status is Status.RUNNING
    assert desk.redis.zscore(new.queue.started_job_registry.key, new.execution.composite_key) is not None
    assert desk.redis.zcard(new.queue.started_job_registry.key) == 1


def test_a_forged_hash_among_the_started_is_nobodys_job(desk: Desk) -> None:
    desk.redis.hset("rq:job:forged", mapping={"status": "started", "data": "no JSON", "created_at": "never"})
    registry = desk.queues()[0].started_job_registry.key
    desk.redis.zadd(registry, {"forged:x": 1})
    assert not take_back_overdue(desk.redis, desk.queue_names)
    assert desk.redis.zcard(registry) == 0
    assert waiting(desk) == {}


# Silent workers


def test_all_jobs_of_a_silent_worker_are_taken_back_when_the_first_is_overdue(desk: Desk) -> None:
    jobs = {desk.submit(steps=steps).id for steps in (10, 20, 500)}
    claimed = desk.claim_all(A)
    expire(desk.redis, claimed[0])
    taken = take_back_overdue(desk.redis, desk.queue_names)
    assert set(taken.requeued) == jobs
    assert all(desk.read(job).meta.crashes == 1 for job in jobs)


def test_the_jobs_of_another_worker_stay_with_it(desk: Desk) -> None:
    dead = desk.submit()
    (of_dead,) = desk.claim_all(A)
    desk.submit()
    (of_living,) = desk.claim_all(B)
    expire(desk.redis, of_dead)
    assert take_back_overdue(desk.redis, desk.queue_names).requeued == (dead.id,)
    assert desk.read(of_living.record.id).status is Status.RUNNING


def test_companions_are_counted_worker_by_worker(desk: Desk) -> None:
    for _ in range(4):
        desk.submit()
    together = desk.claim_all(A)
    crash(desk, *together)
    together = desk.claim_all(A)
    lonely = desk.submit().id
    crash(desk, *desk.claim_all(B))
    for one in [*desk.claim_all(B), *together]:
        expire(desk.redis, one)
    taken = take_back_overdue(desk.redis, desk.queue_names)
    assert set(taken.suspects) == {lonely, *(one.record.id for one in together)}
    assert {desk.read(one.record.id).meta.group for one in together} == {2}
    assert desk.read(lonely).meta.group == 1


def test_a_worker_that_breathes_keeps_its_jobs_for_the_second_that_rounding_may_cost(desk: Desk) -> None:
    desk.submit()
    (claimed,) = desk.claim_all(A)
    desk.redis.set(alive_key(A), 1, ex=TTL_S)
    expire(desk.redis, claimed, by_s=0)
    assert not take_back_overdue(desk.redis, desk.queue_names)
    assert desk.read(claimed.record.id).status is Status.RUNNING
    assert executions_of(desk.redis, A) == keys_of([claimed])


def test_a_claim_that_its_living_worker_never_heard_of_costs_the_job_nothing(desk: Desk) -> None:
    job = desk.submit()
    (claimed,) = desk.claim_all(A)
    desk.redis.set(alive_key(A), 1, ex=TTL_S)
    expire(desk.redis, claimed)
    assert take_back_overdue(desk.redis, desk.queue_names).requeued == (job.id,)
    assert desk.read(job.id).meta.crashes == 0


def test_the_jobs_of_a_process_that_died_are_taken_back_without_waiting(desk: Desk) -> None:
    job = desk.submit()
    other = worker_name("here", 11, 1)  # begins with the digits of the dead one
    desk.claim_all(A)
    desk.submit()
    desk.claim_all(other)
    desk.redis.sadd("rq:workers", *(f"rq:worker:{name}" for name in (A, other)))
    desk.redis.set(alive_key(A), 1, ex=TTL_S)
    assert take_back_from_process(desk.redis, "here", 1).requeued == (job.id,)
    assert not desk.redis.exists(alive_key(A))
    assert len(executions_of(desk.redis, other)) == 1


# Suspects


def test_suspects_leave_the_lanes(desk: Desk) -> None:
    jobs = [desk.submit().id for _ in range(4)]
    for _ in range(2):
        crash(desk, *desk.claim_all(A))
    (name,) = waiting(desk)
    assert name == suspects_name(FRUIT.id)
    assert sorted(waiting(desk)[name]) == sorted(jobs)


def test_who_dies_alone_as_a_suspect_three_times_fails_with_a_reason(desk: Desk) -> None:
    job = desk.submit(steps=7)
    for _ in range(SUSPECT_AFTER + ALONE_DEATHS - 1):
        crash(desk, *desk.claim_all(A))
    assert desk.read(job.id).status is Status.QUEUED
    taken = take_back(desk.redis, keys_of(desk.claim_all(A)))
    assert taken.failed == (job.id,)
    record = desk.read(job.id)
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code == "worker_died"
    assert "alone" in record.failure.detail
    assert desk.redis.ttl(f"rq:job:{job.id}") > 0
    assert desk.redis.xlen(f"rq:results:{job.id}") == 1
    assert desk.counters() == {"queued": 0, "running": 0}


def test_a_suspect_that_dies_in_company_does_not_fail(desk: Desk) -> None:
    jobs = [desk.submit().id for _ in range(2)]
    for _ in range(8):
        crash(desk, *desk.claim_all(A))
    assert {desk.read(job).status for job in jobs} == {Status.QUEUED}
    assert {desk.read(job).meta.group for job in jobs} == {1}


# Counters, and what would stay for ever


def test_the_work_counters_move_with_the_jobs(desk: Desk) -> None:
    desk.submit(steps=10)
    desk.submit(steps=7)
    assert desk.counters() == {"queued": 17}
    claimed = desk.claim_all(A)
    assert desk.counters() == {"queued": 0, "running": 17}
    crash(desk, *claimed)
    assert desk.counters() == {"queued": 17, "running": 0}


def test_a_recount_sets_right_what_rqs_tools_moved_and_only_one_does_it(desk: Desk) -> None:
    desk.submit(steps=10)
    (claimed,) = desk.claim_all(A)
    desk.submit(steps=7)
    fetch(desk.redis, claimed.record.id).cancel()
    assert desk.counters() == {"queued": 7, "running": 10}
    assert recount(desk.redis)
    assert desk.counters() == {"queued": 7, "running": 0}
    assert not recount(desk.redis)
    assert desk.redis.ttl(keys.WORK_LOCK) > 0


def test_a_job_that_rq_cancelled_is_forgotten_in_its_time(desk: Desk) -> None:
    job = desk.submit(ttl_s=120)
    rq_job = ServiceJob.fetch(job.id, connection=desk.redis, serializer=JSONSerializer)
    rq_job.cancel()
    assert desk.redis.ttl(rq_job.key) == -1, "RQ keeps it for ever"
    expire_canceled(desk.redis, desk.queue_names)
    assert 0 < desk.redis.ttl(rq_job.key) <= 120
    desk.redis.delete(rq_job.key)
    expire_canceled(desk.redis, desk.queue_names)
    assert not desk.redis.exists(f"rq:canceled:{rq_job.origin}")


def test_a_job_that_the_api_cancelled_is_struck_from_rqs_list_when_it_has_expired(desk: Desk) -> None:
    soon, later = desk.submit(ttl_s=1), desk.submit(ttl_s=120)
    registry = f"rq:canceled:{soon.queue}"
    for job in (soon, later):
        desk.cancel(job.id)
    desk.redis.zincrby(registry, -2, soon.id)
    desk.redis.delete(f"rq:job:{soon.id}")
    expire_canceled(desk.redis, desk.queue_names)
    assert desk.redis.zrange(registry, 0, -1) == [later.id.encode()]


def test_a_cancelled_job_that_was_requeued_keeps_no_end(desk: Desk) -> None:
    job = desk.submit()
    rq_job = ServiceJob.fetch(job.id, connection=desk.redis, serializer=JSONSerializer)
    rq_job.cancel()
    desk.redis.hset(rq_job.key, "status", "queued")
    expire_canceled(desk.redis, desk.queue_names)
    assert desk.redis.ttl(rq_job.key) == -1


def test_the_names_of_dead_workers_go_from_every_list(desk: Desk) -> None:
    lists = ["rq:workers", *(f"rq:workers:{name}" for name in desk.queue_names)]
    for name in lists:
        desk.redis.sadd(name, "rq:worker:dead", "rq:worker:living")
    desk.redis.hset("rq:worker:living", "pid", 1)
    forget_dead_workers(desk.redis, desk.queue_names)
    assert all(desk.redis.smembers(name) == {b"rq:worker:living"} for name in lists)


def test_a_stop_command_finds_the_worker_of_a_claimed_job(desk: Desk) -> None:
    job = desk.submit()
    desk.claim_all(A)
    with desk.redis.pubsub() as heard:
        heard.subscribe(f"rq:pubsub:{A}")
        heard.get_message(timeout=5)
        send_stop_job_command(desk.redis, job.id, serializer=JSONSerializer)
        message = heard.get_message(timeout=5)
    assert message is not None
    assert job.id.encode() in message["data"]
