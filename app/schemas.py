"""What the API answers of jobs, as callers see them. Fields are only ever added."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from app.links import Links
from jobs.estimate import NOTHING, Estimate
from jobs.record import JobRecord, Status
from jobs.spec import JobSpec


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


class Urls(BaseModel):
    """Where the things of a job are. `animation` is null unless it was asked for."""

    self: str
    events: str
    cancel: str
    animation: str | None


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
    queue_position: int | None
    """1 for the next one; null once it runs."""
    eta_s: float | None
    """Seconds until its end, as far as one can tell; null while no live worker serves the model."""
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    images: list[ImageView]
    metadata: dict[str, str]
    error: ErrorView | None
    urls: Urls


class JobList(BaseModel):
    """Jobs of a caller, newest first. `next_cursor` leads to the next page; null at the end."""

    object: Literal["list"] = "list"
    data: list[JobView]
    next_cursor: str | None


class CostView(BaseModel):
    """What a job would cost if it were submitted now. Nothing of it is kept."""

    object: Literal["cost"] = "cost"
    model: str
    evaluations: int
    queue_position: int | None
    eta_s: float | None
    request: dict[str, Any]
    """With every choice made; a seed that was left open is drawn anew at submit."""


class ProgressEvent(Progress):
    """The data of a `progress` event."""

    status: Status
    queue_position: int | None
    eta_s: float | None


class PreviewEvent(BaseModel):
    """The data of a `preview` event: one picture of the work in progress, at the model's own size."""

    index: int
    completed: int
    image: str
    """A data URI of a PNG."""


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def progress_of(record: JobRecord) -> Progress:
    """How far the job was when it was read."""
    completed, total = record.meta.completed, record.meta.total
    return Progress(completed=completed, total=total, fraction=fraction(completed, total))


def fraction(completed: int, total: int) -> float:
    """The part that is done, to four digits."""
    return round(completed / total, 4)


def view_of(record: JobRecord, links: Links, estimate: Estimate = NOTHING) -> JobView:
    """The job as callers see it."""
    spec, meta = record.spec, record.meta
    created_at = timestamp(record.created_at)
    assert created_at is not None
    return JobView(
        id=record.id,
        status=record.status,
        model=spec.model,
        model_fingerprint=spec.model_fingerprint,
        engine=meta.engine,
        request=request_of(spec),
        seed=spec.seed,
        attempt=meta.attempt,
        progress=progress_of(record),
        queue_position=estimate.queue_position,
        eta_s=estimate.eta_s,
        created_at=created_at,
        started_at=timestamp(record.started_at),
        finished_at=timestamp(record.finished_at),
        expires_at=timestamp(record.expires_at),
        images=[
            ImageView(url=links.picture(record, picture.index), **picture.model_dump(exclude={"key"}))
            for picture in meta.pictures
        ],
        metadata=spec.metadata,
        error=ErrorView(**record.failure.model_dump()) if record.failure else None,
        urls=Urls(
            self=links.job(record),
            events=links.events(record),
            cancel=links.cancel(record),
            animation=links.animation(record) if spec.animation else None,
        ),
    )


def request_of(spec: JobSpec) -> dict[str, Any]:
    """The request with its choices made: sent again, it makes the same pictures."""
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
        "init_image": spec.init_image,
        "strength": spec.strength,
        "seed_to": spec.seed_to,
        "seed_mix": spec.seed_mix,
        "animation": spec.animation,
        "preview": spec.preview,
        "cancel_on_disconnect": spec.cancel_on_disconnect,
        "webhook_url": spec.webhook_url,
        "ttl_s": spec.ttl_s,
        "priority": spec.priority,
    }
