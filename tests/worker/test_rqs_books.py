"""A claim and a commit are scripts of ours: they leave in Redis what RQ's own methods leave."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.client import Pipeline
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.utils import now

from jobs.lanes import queue_names
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import Failure
from tests.cards import FRUIT, fetch
from tests.jobs.submitting import TTL_S, Desk
from worker.consumer.claim import Claimed
from worker.consumer.execution import LiveJob

WORKER = "a-worker"
OTHERWISE = {b"data", b"meta", b"ended_at", b"total_working_time"}
"""Fields that differ from job to job, or that RQ writes when it saves the whole job."""


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def books(redis: Redis, job_id: str, execution_id: str) -> dict[str, Any]:
    """All that RQ keeps, with names for what differs from run to run, and the time that each has to live."""
    found: dict[str, Any] = {}
    for key in redis.scan_iter("rq:*"):
        read: dict[bytes, Callable[[], Any]] = {
            b"hash": lambda key=key: sorted(one for one in redis.hgetall(key).items() if one[0] not in OTHERWISE),
            b"zset": lambda key=key: redis.zrange(key, 0, -1, withscores=True),
            b"set": lambda key=key: sorted(redis.smembers(key)),
            b"list": lambda key=key: redis.lrange(key, 0, -1),
            b"stream": lambda key=key: [sorted(fields.items()) for _, fields in redis.xrange(key)],
        }
        said = f"{key.decode()} {read[redis.type(key)]()} {redis.ttl(key)}"
        said = said.replace(job_id, "JOB").replace(execution_id, "EXECUTION")
        said = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", re.sub(r"b?'?\b1\d{9}(\.\d+)?'?", "SECONDS", said))
        name, _, rest = said.partition(" ")
        found[name] = rest
    return found


def claimed_by_rq(desk: Desk) -> tuple[ServiceJob, Execution]:
    """A job that RQ's own methods have claimed."""
    job = fetch(desk.redis, desk.submit().id)
    with desk.redis.pipeline() as pipe:
        pipe.lrem(f"rq:queue:{job.origin}", 1, job.id)
        execution = Execution.create(job, TTL_S, pipeline=pipe, worker_name=WORKER)
        job.prepare_for_execution(WORKER, pipeline=pipe)
        pipe.execute()
    return job, execution


def claimed_by_us(desk: Desk) -> Claimed:
    desk.submit()
    (claimed,) = desk.claim_all(WORKER)
    return claimed


def test_a_claim_leaves_what_rq_leaves(desk: Desk) -> None:
    ours = claimed_by_us(desk)
    left_by_us = books(desk.redis, ours.record.id, ours.execution.id)
    desk.redis.flushdb()
    job, execution = claimed_by_rq(desk)
    left_by_rq = books(desk.redis, job.id, execution.id)
    assert left_by_us == left_by_rq
    assert len(left_by_us) == 6, left_by_us


def finish(pipe: Pipeline, job: ServiceJob, worker: SimpleWorker, live: LiveJob) -> None:
    """What RQ's worker does when a job has succeeded."""
    worker.increment_successful_job_count(pipeline=pipe)
    job.set_status(JobStatus.FINISHED, pipeline=pipe)
    FinishedJobRegistry(job.origin, connection=job.connection).add(job, live.spec.ttl_s, pipe)


def fail(pipe: Pipeline, job: ServiceJob, worker: SimpleWorker, live: LiveJob) -> None:
    """What RQ's worker does when a job has failed."""
    worker.increment_failed_job_count(pipeline=pipe)
    job.set_status(JobStatus.FAILED, pipeline=pipe)
    pipe.zadd(FailedJobRegistry(job.origin, connection=job.connection).key, {job.id: now().timestamp()})


def stop(pipe: Pipeline, job: ServiceJob, worker: SimpleWorker, live: LiveJob) -> None:
    """What RQ's worker does when a job was stopped."""
    job.set_status(JobStatus.STOPPED, pipeline=pipe)
    pipe.zadd(FailedJobRegistry(job.origin, connection=job.connection).key, {job.id: now().timestamp()})


ENDS: dict[str, tuple[Callable[..., None], Result.Type]] = {
    "succeeded": (finish, Result.Type.SUCCESSFUL),
    "failed": (fail, Result.Type.FAILED),
    "stopped": (stop, Result.Type.STOPPED),
}


def committed_by_us(desk: Desk, end: str) -> LiveJob:
    live = desk.live(claimed_by_us(desk))
    if end == "stopped":
        assert desk.stop(WORKER, live)
    else:
        failure = Failure(code="out_of_memory", detail="too löng") if end == "failed" else None
        assert desk.finish(WORKER, live, failure=failure)
    return live


@pytest.mark.parametrize("end", ENDS)
def test_a_commit_leaves_what_rq_leaves(desk: Desk, end: str) -> None:
    live = committed_by_us(desk, end)
    left_by_us = books(desk.redis, live.id, live.execution.id)
    desk.redis.flushdb()
    job, execution = claimed_by_rq(desk)
    mark, kind = ENDS[end]
    queues = [ServiceQueue(name, connection=desk.redis) for name in queue_names(FRUIT.id)]
    worker = SimpleWorker(queues, name=WORKER, connection=desk.redis)
    pictures = live.finished_meta().pictures if end == "succeeded" else ()
    with desk.redis.pipeline() as pipe:
        execution.delete(job=job, pipeline=pipe)
        worker.increment_total_working_time(now() - execution.created_at, pipe)
        mark(pipe, job, worker, live)
        Result.create(
            job,
            kind,
            live.spec.ttl_s,
            return_value=[picture.key for picture in pictures] or None,
            exc_string=live.failure.detail if live.failure else None,
            worker_name=WORKER,
            pipeline=pipe,
            execution_id=execution.id,
            execution_started_at=execution.created_at,
            execution_ended_at=now(),
        )
        job.cleanup(live.spec.ttl_s, pipeline=pipe, remove_from_queue=False)
        pipe.execute()
    left_by_rq = books(desk.redis, job.id, execution.id)
    assert left_by_us == left_by_rq
    assert len(left_by_us) == 5, left_by_us
