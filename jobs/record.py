"""A job as it stands in Redis: RQ's own hash, read as one record."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from jobs.queue import GENERATE, ServiceJob
from jobs.spec import JobSpec


class Status(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)


_STATUS_OF_RQ = {
    JobStatus.STARTED: Status.RUNNING,
    JobStatus.FINISHED: Status.SUCCEEDED,
    JobStatus.FAILED: Status.FAILED,
    JobStatus.STOPPED: Status.CANCELED,
    JobStatus.CANCELED: Status.CANCELED,
}


class Picture(BaseModel):
    """One finished picture: where it lies and what it shows."""

    model_config = ConfigDict(frozen=True)

    index: int
    key: str
    seed: int
    class_label: str | None
    width: int
    height: int
    sha256: str


class Failure(BaseModel):
    """Why a job failed: a stable code, and a sentence for people."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class JobMeta(BaseModel):
    """What the worker tells of a job while it runs and when it ends; kept in RQ's `meta`."""

    model_config = ConfigDict(frozen=True)

    total: int = Field(ge=1)
    completed: int = 0
    attempt: int = 0
    crashes: int = 0
    """Deaths of its worker while this job ran."""
    group: int = 0
    """For a suspect, the largest company it may run in; 0 for others. See `jobs.recovery`."""
    alone: int = 0
    """Deaths of its worker while it ran this job by itself, as a suspect."""
    engine: str | None = None
    pictures: tuple[Picture, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class JobRecord:
    """One job at the moment it was read. Times are UTC."""

    id: str
    status: Status
    spec: JobSpec
    meta: JobMeta
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def expires_at(self) -> datetime | None:
        """When the job and its pictures are forgotten; None while it has not ended."""
        return self.finished_at + timedelta(seconds=self.spec.ttl_s) if self.finished_at else None

    @property
    def failure(self) -> Failure | None:
        """Why the job failed, also when it was RQ that gave it up; None unless it failed."""
        if self.status is not Status.FAILED:
            return None
        detail = "the worker died each time it ran this job; submit it again, or with fewer images"
        return self.meta.failure or Failure(code="worker_died", detail=detail)


def spec_of(job: ServiceJob) -> JobSpec:
    """The spec that a job carries.

    Raises `ValueError` or `KeyError` for a job that this service did not submit; what else a forged hash can
    provoke is RQ's business.
    """
    if job.func_name != GENERATE:
        raise ValueError(f"{job.func_name!r} is not a function of this service")
    return JobSpec.model_validate_json(job.kwargs["spec"])


def restore(job_id: str, raw: dict[bytes, bytes], connection: Redis) -> ServiceJob:
    """The RQ job of a raw hash. Raises whatever RQ raises for a malformed one."""
    job = ServiceJob(job_id, connection=connection, serializer=JSONSerializer)
    job.restore(raw)
    return job


def record_of(job: ServiceJob) -> JobRecord:
    """The record of a restored RQ job."""
    status = _STATUS_OF_RQ.get(job.get_status(refresh=False), Status.QUEUED)
    meta: dict[str, Any] = job.meta
    return JobRecord(
        id=job.id,
        status=status,
        spec=spec_of(job),
        meta=JobMeta.model_validate(meta),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.ended_at if status.ended else None,
    )


def write_meta(pipeline: Any, job: ServiceJob, meta: JobMeta) -> None:
    """Set a job's `meta` in a pipeline, and on the job, so that a later save does not write the old one."""
    job.meta = meta.model_dump(mode="json")
    pipeline.hset(job.key, "meta", JSONSerializer.dumps(job.meta))


_WHILE_RUNNING = """
local found = redis.call('HMGET', KEYS[1], 'status', 'worker_name')
if found[1] == 'started' and found[2] == ARGV[1] then redis.call('HSET', KEYS[1], 'meta', ARGV[2]) end
"""


def write_running_meta(pipeline: Any, job: ServiceJob, meta: JobMeta) -> None:
    """As `write_meta`, but only while this worker runs the job: one that was frozen must not undo an end."""
    job.meta = meta.model_dump(mode="json")
    pipeline.eval(_WHILE_RUNNING, 1, job.key, job.worker_name, JSONSerializer.dumps(job.meta))
