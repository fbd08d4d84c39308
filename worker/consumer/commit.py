"""Ending executions: pictures first, then one fenced transaction for everything that says they are there."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.job import JobStatus
from rq.results import Result
from rq.utils import now

from jobs import keys
from jobs.events import publish_ended
from jobs.record import JobMeta, write_meta
from worker.consumer.execution import LiveJob

PICTURE_MARGIN_S = 60
"""Pictures outlive the job that names them, so that a job never points at nothing."""


class Books(Protocol):
    """What RQ's worker does for its own statistics."""

    name: str

    def increment_successful_job_count(self, pipeline: Pipeline | None = None) -> None: ...
    def increment_failed_job_count(self, pipeline: Pipeline | None = None) -> None: ...
    def increment_total_working_time(self, job_execution_time: timedelta, pipeline: Pipeline) -> None: ...


def store_pictures(redis: Redis, live: Sequence[LiveJob]) -> None:
    """Write the pictures of finished jobs under keys of their executions: one round trip."""
    with redis.pipeline(transaction=False) as pipe:
        for one in live:
            for index, encoded in one.encoded.items():
                key = keys.picture(one.job.id, one.execution.id, index)
                pipe.set(key, encoded.png, ex=one.spec.ttl_s + PICTURE_MARGIN_S)
        pipe.execute()


def commit(redis: Redis, books: Books, live: Sequence[LiveJob]) -> list[LiveJob]:
    """Write the end of all `live` jobs in one transaction; returns those that were no longer ours.

    A job is ours while it is started, names this worker, and holds this execution in RQ's registry. One that
    was cancelled, or taken back while this worker was frozen, only loses its execution record here.
    """
    return _fenced(redis, books.name, live, lambda pipe, one: _end(pipe, books, one))


def give_back(redis: Redis, worker_name: str, live: Sequence[LiveJob], *, crashed: bool) -> list[LiveJob]:
    """Queue unfinished jobs again, at the front; returns those that were no longer ours.

    A crash spends one of a job's retries, and a job without any fails; a planned stop spends none.
    """

    def requeue(pipe: Pipeline, one: LiveJob) -> None:
        if crashed:
            assert one.job.retries_left is not None
            one.job.retries_left -= 1
        write_meta(pipe, one.job, one.meta.model_copy(update={"completed": 0}))
        one.queue.enqueue_job(one.job, pipeline=pipe, at_front=True)

    return _fenced(redis, worker_name, live, requeue)


def _fenced(
    redis: Redis, worker_name: str, live: Sequence[LiveJob], end: Callable[[Pipeline, LiveJob], None]
) -> list[LiveJob]:
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*(one.job.key for one in live))
                owned = _owned(redis, worker_name, live)
                pipe.multi()
                for one, is_ours in zip(live, owned, strict=True):
                    one.execution.delete(job=one.job, pipeline=pipe)
                    if is_ours:
                        end(pipe, one)
                pipe.execute()
            except WatchError:
                continue
            return [one for one, is_ours in zip(live, owned, strict=True) if not is_ours]


def _owned(redis: Redis, worker_name: str, live: Sequence[LiveJob]) -> list[bool]:
    with redis.pipeline(transaction=False) as pipe:
        for one in live:
            pipe.hmget(one.job.key, "status", "worker_name")
            pipe.zscore(one.job.started_job_registry.key, one.key)
        answers = pipe.execute()
    ours = [JobStatus.STARTED.value.encode(), worker_name.encode()]
    return [answers[n] == ours and answers[n + 1] is not None for n in range(0, len(answers), 2)]


def _end(pipe: Pipeline, books: Books, one: LiveJob) -> None:
    job, ttl_s = one.job, one.spec.ttl_s
    job.ended_at = now()
    assert job.started_at is not None
    books.increment_total_working_time(job.ended_at - job.started_at, pipe)
    if one.stopped:
        job.set_status(JobStatus.STOPPED, pipeline=pipe)
        meta, registry, kind = one.meta, job.failed_job_registry, Result.Type.STOPPED
    elif one.failure is not None:
        books.increment_failed_job_count(pipeline=pipe)
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        meta = one.meta.model_copy(update={"failure": one.failure})
        registry, kind = job.failed_job_registry, Result.Type.FAILED
    else:
        books.increment_successful_job_count(pipeline=pipe)
        job.set_status(JobStatus.FINISHED, pipeline=pipe)
        meta = _finished(one)
        registry, kind = job.finished_job_registry, Result.Type.SUCCESSFUL
    write_meta(pipe, job, meta)
    job.save(pipeline=pipe, include_result=False)
    Result.create(
        job,
        kind,
        ttl_s,
        return_value=[picture.key for picture in meta.pictures] if meta.pictures else None,
        exc_string=meta.failure.detail if meta.failure else None,
        worker_name=books.name,
        pipeline=pipe,
        execution_id=one.execution.id,
        execution_started_at=one.execution.created_at,
        execution_ended_at=job.ended_at,
    )
    pipe.zadd(registry.key, {job.id: int(job.ended_at.timestamp()) + ttl_s})
    job.cleanup(ttl_s, pipeline=pipe, remove_from_queue=False)
    publish_ended(pipe, job.id)


def _finished(one: LiveJob) -> JobMeta:
    key_of = {index: keys.picture(one.job.id, one.execution.id, index) for index in one.encoded}
    return one.meta.model_copy(update={"completed": one.meta.total, "pictures": one.pictures(key_of)})
