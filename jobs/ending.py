"""What is written when a job ends, whoever ends it: RQ's registries and result, our meta, and the word of it."""

from dataclasses import dataclass
from typing import Any

from redis.client import Pipeline
from rq.executions import Execution
from rq.job import JobStatus
from rq.results import Result
from rq.utils import now

from jobs.events import publish_ended
from jobs.queue import ServiceJob
from jobs.record import Failure, JobMeta, write_meta

_RESULT_TYPES = {
    JobStatus.FINISHED: Result.Type.SUCCESSFUL,
    JobStatus.FAILED: Result.Type.FAILED,
    JobStatus.STOPPED: Result.Type.STOPPED,
}


@dataclass(frozen=True)
class Ending:
    """How a job ends: its last status, its last meta, and for how long that is kept."""

    status: JobStatus
    meta: JobMeta
    ttl_s: int


def end(
    pipe: Pipeline, job: ServiceJob, ending: Ending, worker_name: str = "", execution: Execution | None = None
) -> None:
    """Write the end of a job in a transaction that holds the fence."""
    job.ended_at = now()
    meta, ttl_s = ending.meta, ending.ttl_s
    job.set_status(ending.status, pipeline=pipe)
    write_meta(pipe, job, meta)
    job.save(pipeline=pipe, include_result=False)
    Result.create(
        job,
        _RESULT_TYPES[ending.status],
        ttl_s,
        return_value=[picture.key for picture in meta.pictures] or None,
        exc_string=meta.failure.detail if meta.failure else None,
        worker_name=worker_name,
        pipeline=pipe,
        execution_id=execution.id if execution else None,
        execution_started_at=execution.created_at if execution else None,
        execution_ended_at=job.ended_at,
    )
    finished = ending.status == JobStatus.FINISHED
    registry: Any = job.finished_job_registry if finished else job.failed_job_registry
    pipe.zadd(registry.key, {job.id: int(job.ended_at.timestamp()) + ttl_s})
    job.cleanup(ttl_s, pipeline=pipe, remove_from_queue=False)
    publish_ended(pipe, job.id)


def end_failed(pipe: Pipeline, job: ServiceJob, ttl_s: int, meta: JobMeta, failure: Failure) -> None:
    """Write the end of a job that failed without a worker to say so."""
    end(pipe, job, Ending(JobStatus.FAILED, meta.model_copy(update={"failure": failure}), ttl_s))
