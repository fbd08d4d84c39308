"""What the API answers of models and samplers. Fields are only ever added."""

from typing import Any, Literal

from pydantic import BaseModel

from jobs.catalogue import Catalogue, ModelCard, SamplerCard
from jobs.request import MAX_IMAGES, MAX_SCALE, MAX_TTL_S
from jobs.settings import Settings
from jobs.spec import TimestepSpacing


class Range(BaseModel):
    """What a parameter may be, both ends included, and what it is if left out."""

    minimum: float
    maximum: float
    default: float | None
    """Null where the model has the default."""


class SamplerView(BaseModel):
    """A sampler, and what it can be told."""

    name: str
    object: Literal["sampler"] = "sampler"
    summary: str
    takes_eta: bool
    max_steps: int
    evaluations_per_step: int
    parameters: dict[str, Range]


class Limits(BaseModel):
    """The most that one job may ask for."""

    max_steps: int
    max_images: int
    max_scale: int
    max_ttl_s: int
    max_evaluations: int


class ModelView(BaseModel):
    """A model that is served, or was and may be again."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix second of the weights' file."""
    owned_by: str
    fingerprint: str
    width: int
    height: int
    class_names: list[str]
    guided: bool
    default_sampler: str
    default_steps: int
    default_guidance_scale: float
    timestep_spacing: TimestepSpacing
    num_train_timesteps: int
    samplers: list[str]
    sampler_details: list[SamplerView]
    limits: Limits
    quality: list[dict[str, Any]]
    """A row for each sampler and step count that was measured; `images_per_s` is what the workers do now."""
    log_snr: list[float]
    """The noise schedule: ln(ᾱ/(1-ᾱ)) at points spread evenly from the first timestep to the last."""
    max_places: int
    workers: int
    """Live workers that serve it."""
    rate: float | None
    """Evaluations a second that they do together; null while none has said."""


class ModelList(BaseModel):
    """The known models, the default first."""

    object: Literal["list"] = "list"
    data: list[ModelView]
    next_cursor: None = None


class SamplerList(BaseModel):
    """The samplers that any of the models can be run with."""

    object: Literal["list"] = "list"
    data: list[SamplerView]
    next_cursor: None = None


def sampler_view(card: SamplerCard) -> SamplerView:
    """A sampler as callers see it."""
    parameters = {"steps": Range(minimum=1, maximum=card.max_steps, default=None)}
    if card.takes_eta:
        parameters["eta"] = Range(minimum=0, maximum=1, default=0)
    return SamplerView(**card.model_dump(), parameters=parameters)


def model_view(card: ModelCard, catalogue: Catalogue, settings: Settings) -> ModelView:
    """A model as callers see it."""
    rate = catalogue.rates.get(card.id)
    return ModelView(
        **card.model_dump(exclude={"samplers", "quality"}),
        samplers=[sampler.name for sampler in card.samplers],
        sampler_details=[sampler_view(sampler) for sampler in card.samplers],
        limits=Limits(
            max_steps=max(sampler.max_steps for sampler in card.samplers),
            max_images=MAX_IMAGES,
            max_scale=MAX_SCALE,
            max_ttl_s=MAX_TTL_S,
            max_evaluations=settings.max_job_evaluations,
        ),
        quality=[{**row, "images_per_s": _images_per_s(row, rate)} for row in card.quality],
        workers=catalogue.workers[card.id],
        rate=rate,
    )


def _images_per_s(row: dict[str, Any], rate: float | None) -> float | None:
    """What the workers make of such images when they make nothing else."""
    evaluations = row.get("evaluations")
    if rate is None or not isinstance(evaluations, int) or evaluations < 1:
        return None
    places = 2 if row.get("guidance_scale", 1.0) != 1.0 else 1
    return float(f"{rate / (evaluations * places):.4g}")
