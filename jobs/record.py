"""A job as it stands in Redis: RQ's own hash, read as one record."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from jobs import ledger
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
    """Its reference: a key of Redis, or place and name in another store; see `jobs.results`."""
    seed: int
    class_label: str | None
    width: int
    height: int
    sha256: str


class StoredAnimation(BaseModel):
    """The denoising of a finished job as an animated PNG: where it lies."""

    model_config = ConfigDict(frozen=True)

    key: str
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
    animation: StoredAnimation | None = None
    failure: Failure | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """All files of a job that has succeeded; see `jobs.results`."""
        animation = (self.animation.key,) if self.animation else ()
        return (*(picture.key for picture in self.pictures), *animation)


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
    queue: str = ""
    """The queue that the job waits in, or waited in last."""

    def __hash__(self) -> int:
        return hash(self.id)  # a spec has a dict in it; few records of one job are kept at a time

    @property
    def key(self) -> str:
        """Where RQ keeps the job."""
        return str(ServiceJob.key_for(self.id))

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


def status_of(rq_status: str | None) -> Status:
    """The status in our words."""
    return _STATUS_OF_RQ.get(rq_status, Status.QUEUED)  # type: ignore[call-overload,no-any-return]


def spec_of(job: ServiceJob) -> JobSpec:
    """The spec that a job carries, as far as this release knows its fields: enough for everything but running it.

    Raises `ValueError` or `KeyError` for a job that this service did not submit; what else a forged hash can
    provoke is RQ's business.
    """
    if job.func_name != GENERATE:
        raise ValueError(f"{job.func_name!r} is not a function of this service")
    return JobSpec.model_validate_json(job.kwargs["spec"], extra="ignore")


class FromNewerRelease(Exception):
    """A job asks for something that this release does not know; the message names the fields."""


def restore(job_id: str, raw: dict[bytes, bytes], connection: Redis) -> ServiceJob:
    """The RQ job of a raw hash. Raises whatever RQ raises for a malformed one."""
    job = ServiceJob(job_id, connection=connection, serializer=JSONSerializer)
    job.restore(raw)
    return job


def record_of(job: ServiceJob) -> JobRecord:
    """The record of a restored RQ job."""
    status = status_of(job.get_status(refresh=False))
    meta: dict[str, Any] = job.meta
    return JobRecord(
        id=job.id,
        status=status,
        spec=spec_of(job),
        meta=JobMeta.model_validate(meta),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.ended_at if status.ended else None,
        queue=job.origin,
    )


FIELDS = (b"data", b"status", b"meta", b"created_at", b"started_at", b"ended_at", b"origin")
"""What a record is read from, of the many fields of RQ's hash."""
KEPT = 512
"""Records that one process keeps: who polls a job reads the same bytes again and again. A few KB each."""
KEPT_BYTES = 8192
"""The longest job that is kept, as it is stored; one with a picture in it is longer."""


def read_record(job_id: str, raw: Mapping[bytes, bytes | None]) -> JobRecord | None:
    """The record of a raw hash, all of it or `FIELDS`; None for none, and for one that this service did not write.

    The same as `record_of(restore(…))` in a fifth of the time: a status is read far more often than anything else.
    """
    return read_values(job_id, [raw.get(field) for field in FIELDS])


def read_values(job_id: str, values: Sequence[bytes | None]) -> JobRecord | None:
    """The same of the values of `FIELDS`. Equal bytes may give the record that they gave before."""
    data, _, meta, *_ = values
    if not data:
        return None
    small = len(data) + len(meta or b"") <= KEPT_BYTES
    try:
        return _kept(job_id, *values) if small else _read(job_id, *values)
    except Exception:  # noqa: BLE001  # whatever a forged hash provokes
        return None


@lru_cache(maxsize=KEPT)
def _kept(job_id: str, *values: bytes | None) -> JobRecord:
    return _read(job_id, *values)


def _read(job_id: str, *values: bytes | None) -> JobRecord:
    data = values[0] or b""
    spec = _spec_in(data, "ignore") if len(data) > KEPT_BYTES else _kept_spec_in(data)
    return _record(job_id, spec, values)


def whole_record(job_id: str, raw: Mapping[bytes, bytes]) -> JobRecord:
    """The record of a raw hash that is to be run. Raises `FromNewerRelease`, and anything for a forged hash."""
    try:
        spec = _spec_in(raw[b"data"], "forbid")
    except ValidationError as error:
        if all(fault["type"] == "extra_forbidden" for fault in error.errors()):
            raise FromNewerRelease(", ".join(str(fault["loc"][-1]) for fault in error.errors())) from None
        raise
    return _record(job_id, spec, [raw.get(field) for field in FIELDS])


def _record(job_id: str, spec: JobSpec, values: Sequence[bytes | None]) -> JobRecord:
    _, rq_status, meta, created_at, started_at, ended_at, origin = (value or b"" for value in values)
    status = status_of(JobStatus(rq_status.decode() or JobStatus.CREATED))
    created = moment_of(created_at)
    assert created is not None
    return JobRecord(
        id=job_id,
        status=status,
        spec=spec,
        meta=JobMeta.model_validate_json(meta),
        created_at=created,
        started_at=moment_of(started_at),
        finished_at=moment_of(ended_at) if status.ended else None,
        queue=origin.decode(),
    )


def _spec_in(data: bytes, extra: Literal["ignore", "forbid"]) -> JobSpec:
    function, _, _, named = json.loads(zlib.decompress(data))
    if function != GENERATE:
        raise ValueError(f"{function!r} is not a function of this service")
    return JobSpec.model_validate_json(named["spec"], extra=extra)


@lru_cache(maxsize=KEPT)  # it stays as it is while the rest of the job changes
def _kept_spec_in(data: bytes) -> JobSpec:
    return _spec_in(data, "ignore")


def moment_of(text: bytes | None) -> datetime | None:
    """A time as RQ writes it; None for none."""
    return datetime.fromisoformat(text.decode()) if text else None


def write_meta(pipeline: Any, job: ServiceJob, meta: JobMeta) -> None:
    """Set a job's `meta` in a pipeline, and on the job, so that a later save does not write the old one."""
    job.meta = meta.model_dump(mode="json")
    pipeline.hset(job.key, "meta", JSONSerializer.dumps(job.meta))


def write_running_meta(pipeline: Any, record: JobRecord, worker_name: str, meta: JobMeta) -> None:
    """Set a job's `meta`, but only while this worker runs the job: one that was frozen must not undo an end."""
    written = json.dumps(meta.model_dump(mode="json"))
    ledger.progress(pipeline, record.queue, record.key, worker_name, written, meta.completed)
