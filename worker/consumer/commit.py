"""Ending executions: one fenced transaction for everything that says how it ended. Files are stored before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.utils import now

from jobs import keys
from jobs.ending import Ending, end, end_canceled
from jobs.recovery import requeue_after_crash, requeue_unharmed
from worker.consumer.execution import LiveJob


class Books(Protocol):
    """What RQ's worker does for its own statistics."""

    name: str

    def increment_successful_job_count(self, pipeline: Pipeline | None = None) -> None: ...
    def increment_failed_job_count(self, pipeline: Pipeline | None = None) -> None: ...
    def increment_total_working_time(self, job_execution_time: timedelta, pipeline: Pipeline) -> None: ...


def commit(redis: Redis, books: Books, live: Sequence[LiveJob]) -> list[LiveJob]:
    """Write the end of all `live` jobs in one transaction; returns those that were no longer ours.

    A job is ours while it is started, names this worker, and holds this execution in RQ's registry. One that
    was cancelled, or taken back while this worker was frozen, only loses its execution record here.
    """
    return _fenced(redis, books.name, live, lambda pipe, one, _: _end(pipe, books, one))


def give_back(redis: Redis, worker_name: str, live: Sequence[LiveJob], *, crashed: bool) -> list[LiveJob]:
    """Queue unfinished jobs again, at the front; returns those that were no longer ours.

    A planned stop costs them nothing. A crash counts against each of them; see `jobs.recovery`. What its caller
    wants canceled ends so.
    """

    def requeue(pipe: Pipeline, one: LiveJob, unwanted: bool) -> None:
        if unwanted:
            end_canceled(pipe, one.job, one.spec, one.meta)
        elif crashed:
            requeue_after_crash(pipe, one.job, one.meta, len(live))
        else:
            requeue_unharmed(pipe, one.job, one.meta)

    return _fenced(redis, worker_name, live, requeue)


def _fenced(
    redis: Redis, worker_name: str, live: Sequence[LiveJob], finish: Callable[[Pipeline, LiveJob, bool], None]
) -> list[LiveJob]:
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*(one.job.key for one in live))
                holds = _holds(redis, worker_name, live)
                pipe.multi()
                for one, hold in zip(live, holds, strict=True):
                    one.execution.delete(job=one.job, pipeline=pipe)
                    if hold.ours:
                        finish(pipe, one, hold.unwanted)
                pipe.execute()
            except WatchError:
                continue
            return [one for one, hold in zip(live, holds, strict=True) if not hold.ours]


@dataclass(frozen=True)
class _Hold:
    """Whether a job is still this worker's, and whether its caller wants it canceled."""

    ours: bool
    unwanted: bool


def _holds(redis: Redis, worker_name: str, live: Sequence[LiveJob]) -> list[_Hold]:
    with redis.pipeline(transaction=False) as pipe:
        for one in live:
            pipe.hmget(one.job.key, "status", "worker_name", keys.CANCEL_FIELD)
            pipe.zscore(StartedJobRegistry.key_template.format(one.job.origin), one.key)
        answers = pipe.execute()
    ours = [JobStatus.STARTED.value.encode(), worker_name.encode()]
    return [
        _Hold(ours=fields[:2] == ours and score is not None, unwanted=fields[2] is not None)
        for fields, score in zip(answers[::2], answers[1::2], strict=True)
    ]


def _end(pipe: Pipeline, books: Books, one: LiveJob) -> None:
    job = one.job
    assert job.started_at is not None
    books.increment_total_working_time(now() - job.started_at, pipe)
    if one.stopped:
        ending = Ending(JobStatus.STOPPED, one.meta, one.spec)
    elif one.failure is not None:
        books.increment_failed_job_count(pipeline=pipe)
        meta = one.meta.model_copy(update={"failure": one.failure})
        ending = Ending(JobStatus.FAILED, meta, one.spec)
    else:
        books.increment_successful_job_count(pipeline=pipe)
        ending = Ending(JobStatus.FINISHED, one.finished_meta(), one.spec)
    end(pipe, job, ending, books.name, one.execution)
