"""What the service answers, typed. Fields are only ever added; those that are not known here are in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Progress:
    """How far a job is, in evaluations of the network; fraction: 0 to 1; eta_s: seconds to its end, if known."""

    completed: int
    total: int
    fraction: float
    status: str = ""
    queue_position: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True)
class Image:
    """A finished picture. sha256: of the PNG's bytes, in hexadecimal digits."""

    index: int
    url: str
    seed: int
    class_label: str | None
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class JobError:
    """Why a job failed. code: stable, for programs; detail: for people."""

    code: str
    detail: str


@dataclass(frozen=True)
class Job:
    """A job. request: with every choice made, so that sent again it makes the same pictures."""

    id: str
    status: str
    model: str
    model_fingerprint: str
    engine: str | None
    request: dict[str, Any]
    seed: int
    attempt: int
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    images: tuple[Image, ...]
    metadata: dict[str, str]
    error: JobError | None
    urls: dict[str, str | None]
    queue_position: int | None = None
    eta_s: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Its progress says as much as that of an event does, so that both can be shown by the same lines.
        now = replace(self.progress, status=self.status, queue_position=self.queue_position, eta_s=self.eta_s)
        object.__setattr__(self, "progress", now)

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class Model:
    """A model that is served, or was and may be again.

    samplers: their names. workers: live ones. rate: evaluations a second that they do together, if measured.
    quality: a row for each sampler and step count that was measured. limits: the most that one job may ask for.
    """

    id: str
    fingerprint: str
    width: int
    height: int
    class_names: tuple[str, ...]
    guided: bool
    default_sampler: str
    default_steps: int
    default_guidance_scale: float
    timestep_spacing: str
    num_train_timesteps: int
    samplers: tuple[str, ...]
    workers: int
    rate: float | None = None
    quality: tuple[dict[str, Any], ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Sampler:
    """A sampler and what it takes."""

    name: str
    summary: str
    takes_eta: bool
    max_steps: int
    evaluations_per_step: int
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Cost:
    """What a job would cost now. evaluations: of the network; request: with the choices made."""

    model: str
    evaluations: int
    queue_position: int | None = None
    eta_s: float | None = None
    request: dict[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class ModelLoad:
    """How busy one model is. workers: live ones; rate: evaluations a second that they do together, if measured."""

    queued_jobs: int
    queued_evaluations: int
    running_jobs: int
    running_evaluations: int
    workers: int
    rate: float | None = None


@dataclass(frozen=True)
class Stats:
    """How busy the service is, in all and by model."""

    queued_jobs: int
    queued_evaluations: int
    running_jobs: int
    running_evaluations: int
    workers: int
    models: dict[str, ModelLoad]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
