"""What the API answers: the job as callers see it. Fields are only ever added."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from jobs.record import JobRecord, Status


class Progress(BaseModel):
    """How far a job is, in evaluations of the network."""

    completed: int
    total: int
    fraction: float


class ImageView(BaseModel):
    """One finished picture."""

    index: int
    url: str
    seed: int
    class_label: str | None
    width: int
    height: int
    sha256: str


class ErrorView(BaseModel):
    """Why a job failed."""

    code: str
    detail: str


class JobView(BaseModel):
    """A job. Times are RFC 3339 in UTC; what is not known is null."""

    id: str
    object: Literal["job"] = "job"
    status: Status
    model: str
    model_fingerprint: str
    engine: str | None
    request: dict[str, Any]
    seed: int
    attempt: int
    progress: Progress
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    images: list[ImageView]
    metadata: dict[str, str]
    error: ErrorView | None
    urls: dict[str, str]


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_url(record: JobRecord, public_url: str) -> str:
    """Where the job is."""
    return f"{public_url.rstrip('/')}/v1/jobs/{record.id}"


def view_of(record: JobRecord, public_url: str) -> JobView:
    """The job as callers see it."""
    spec, meta, url = record.spec, record.meta, job_url(record, public_url)
    created_at = timestamp(record.created_at)
    assert created_at is not None
    return JobView(
        id=record.id,
        status=record.status,
        model=spec.model,
        model_fingerprint=spec.model_fingerprint,
        engine=meta.engine,
        request=_request_of(record),
        seed=spec.seed,
        attempt=meta.attempt,
        progress=Progress(
            completed=meta.completed, total=meta.total, fraction=round(meta.completed / meta.total, 4)
        ),
        created_at=created_at,
        started_at=timestamp(record.started_at),
        finished_at=timestamp(record.finished_at),
        expires_at=timestamp(record.expires_at),
        images=[
            ImageView(url=f"{url}/images/{picture.index}.png", **picture.model_dump(exclude={"key"}))
            for picture in meta.pictures
        ],
        metadata=spec.metadata,
        error=ErrorView(**record.failure.model_dump()) if record.failure else None,
        urls={"self": url},
    )


def _request_of(record: JobRecord) -> dict[str, Any]:
    """The request with its choices made: sent again, it makes the same pictures."""
    spec = record.spec
    names = set(spec.class_names or ())
    return {
        "model": spec.model,
        "sampler": spec.sampler,
        "steps": spec.steps,
        "num_images": spec.num_images,
        "seed": spec.seed,
        "class_label": names.pop() if len(names) == 1 else None,
        "guidance_scale": spec.guidance_scale,
        "eta": spec.eta,
        "timestep_spacing": spec.timestep_spacing,
        "scale": spec.scale,
        "ttl_s": spec.ttl_s,
        "priority": spec.priority,
    }
