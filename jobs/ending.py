"""What is written when a job ends, whoever ends it: RQ's registries and result, our meta, and the word of it."""

from dataclasses import dataclass
from typing import Any

from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import BaseRegistry, CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.utils import now, utcformat

from jobs import keys, ledger, outbox
from jobs.events import publish_moved
from jobs.queue import ServiceJob
from jobs.record import Failure, JobMeta, Status, write_meta
from jobs.spec import JobSpec

_RESULT_TYPES = {
    JobStatus.FINISHED: Result.Type.SUCCESSFUL,
    JobStatus.FAILED: Result.Type.FAILED,
    JobStatus.STOPPED: Result.Type.STOPPED,
}
"""A job that was canceled while it waited has no result, as in RQ."""

_REGISTRIES: dict[JobStatus, type[BaseRegistry]] = {
    JobStatus.FINISHED: FinishedJobRegistry,
    JobStatus.CANCELED: CanceledJobRegistry,
}
"""Where an ended job is kept; any other end is a failed one."""

_STATUSES = {
    JobStatus.FINISHED: Status.SUCCEEDED,
    JobStatus.FAILED: Status.FAILED,
    JobStatus.STOPPED: Status.CANCELED,
    JobStatus.CANCELED: Status.CANCELED,
}


@dataclass(frozen=True)
class Ending:
    """How a job ends: its last status in RQ's words, its last meta, and its spec."""

    status: JobStatus
    meta: JobMeta
    spec: JobSpec


def end(
    pipe: Any, job: ServiceJob, ending: Ending, worker_name: str = "", execution: Execution | None = None
) -> None:
    """Write the end of a job in a transaction that holds the fence; a pipeline of either client will do."""
    job.ended_at = now()
    ttl_s = ending.spec.ttl_s
    job.set_status(ending.status, pipeline=pipe)
    write_meta(pipe, job, ending.meta)
    # RQ saves the whole job here; nothing else of it has changed since it was read or claimed.
    pipe.hset(job.key, "ended_at", utcformat(job.ended_at))
    pipe.hdel(job.key, keys.CANCEL_FIELD)
    if ending.status in _RESULT_TYPES:
        _write_result(pipe, job, ending, worker_name, execution)
    pipe.zadd(_registry_key(job, ending.status), {job.id: int(job.ended_at.timestamp()) + ttl_s})
    job.cleanup(ttl_s, pipeline=pipe, remove_from_queue=False)
    ledger.gone(pipe, job.origin, job.id)
    outbox.put(pipe, job, ending.spec, _STATUSES[ending.status])
    publish_moved(pipe, job.id)


def _write_result(
    pipe: Any, job: ServiceJob, ending: Ending, worker_name: str, execution: Execution | None
) -> None:
    meta = ending.meta
    Result.create(
        job,
        _RESULT_TYPES[ending.status],
        ending.spec.ttl_s,
        return_value=[picture.key for picture in meta.pictures] or None,
        exc_string=meta.failure.detail if meta.failure else None,
        worker_name=worker_name,
        pipeline=pipe,
        execution_id=execution.id if execution else None,
        execution_started_at=execution.created_at if execution else None,
        execution_ended_at=job.ended_at,
    )


def _registry_key(job: ServiceJob, status: JobStatus) -> str:
    # By name: to make a registry, RQ checks its serializer, which takes longer than all else here.
    return _REGISTRIES.get(status, FailedJobRegistry).key_template.format(job.origin)


def end_failed(pipe: Any, job: ServiceJob, spec: JobSpec, meta: JobMeta, failure: Failure) -> None:
    """Write the end of a job that failed without a worker to say so."""
    end(pipe, job, Ending(JobStatus.FAILED, meta.model_copy(update={"failure": failure}), spec))


def end_canceled(pipe: Any, job: ServiceJob, spec: JobSpec, meta: JobMeta) -> None:
    """Write the end of a job that ran and was canceled, and whose worker will not say so."""
    end(pipe, job, Ending(JobStatus.STOPPED, meta, spec))
