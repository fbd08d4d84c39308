"""Ending executions: pictures first, then one fenced transaction for everything that says they are there."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.job import JobStatus
from rq.utils import now

from jobs import keys, work
from jobs.ending import Ending, end
from jobs.record import JobMeta
from jobs.recovery import requeue_after_crash, requeue_unharmed
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

    A planned stop costs them nothing. A crash counts against each of them; see `jobs.recovery`.
    """

    def requeue(pipe: Pipeline, one: LiveJob) -> None:
        if crashed:
            requeue_after_crash(pipe, one.job, one.meta, len(live))
        else:
            requeue_unharmed(pipe, one.job, one.meta)

    return _fenced(redis, worker_name, live, requeue)


def _fenced(
    redis: Redis, worker_name: str, live: Sequence[LiveJob], finish: Callable[[Pipeline, LiveJob], None]
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
                        finish(pipe, one)
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
    job = one.job
    assert job.started_at is not None
    books.increment_total_working_time(now() - job.started_at, pipe)
    if one.stopped:
        ending = Ending(JobStatus.STOPPED, one.meta, one.spec.ttl_s)
    elif one.failure is not None:
        books.increment_failed_job_count(pipeline=pipe)
        meta = one.meta.model_copy(update={"failure": one.failure})
        ending = Ending(JobStatus.FAILED, meta, one.spec.ttl_s)
    else:
        books.increment_successful_job_count(pipeline=pipe)
        ending = Ending(JobStatus.FINISHED, _finished(one), one.spec.ttl_s)
    end(pipe, job, ending, books.name, one.execution)
    work.moved(pipe, running=-one.meta.total)


def _finished(one: LiveJob) -> JobMeta:
    key_of = {index: keys.picture(one.job.id, one.execution.id, index) for index in one.encoded}
    return one.meta.model_copy(update={"completed": one.meta.total, "pictures": one.pictures(key_of)})
