"""What a caller may ask for, and how the open choices in it are made."""

import math
import secrets
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalogue import Catalogue, ModelCard, SamplerCard
from jobs.errors import Refusal, RequestRefused
from jobs.spec import ANONYMOUS, MAX_SEED, JobSpec, Priority, Seed, TimestepSpacing

MAX_STEPS = 1000
MAX_IMAGES = 16
MAX_TTL_S = 86_400
MAX_SCALE = 16
MAX_INIT_IMAGE = 7_000_000
"""Characters of a data URI."""
DEFAULT_STRENGTH = DEFAULT_SEED_MIX = 0.5

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class JobRequest(BaseModel):
    """The body of `POST /v1/jobs`. Every field has a default; a field that is not here is refused."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}]},
    )

    model: str | None = Field(None, max_length=128, description="A model's id; the default model if left out.")
    sampler: str | None = Field(
        None, max_length=64, description="A sampler of that model; its default if left out."
    )
    steps: Steps | None = Field(None, description="Denoising steps; the model's default (50) if left out.")
    num_inference_steps: Steps | None = Field(None, description="Another name for `steps`; give one of them.")
    num_images: int = Field(1, ge=1, le=MAX_IMAGES, description="How many pictures; image k uses seed + k.")
    seed: Seed | None = Field(None, description="The seed of the first picture; drawn and returned if left out.")
    class_label: Annotated[str, Field(max_length=128)] | int | None = Field(
        None, description="A class by name or index; drawn from each picture's seed if left out."
    )
    guidance_scale: float | None = Field(
        None,
        ge=0,
        le=30,
        description="Strength of the class label; 1 is none. The model's default if left out.",
    )
    eta: float = Field(0.0, ge=0, le=1, description="Noise that ddim adds back: 0 none, 1 as much as ddpm.")
    timestep_spacing: TimestepSpacing | None = Field(
        None, description="How the steps are spread over the timesteps; the model's if left out."
    )
    scale: int = Field(
        1, ge=1, le=MAX_SCALE, description="Each pixel becomes scale × scale pixels, after sampling."
    )
    ttl_s: int = Field(3600, ge=1, le=MAX_TTL_S, description="Seconds that the result is kept.")
    priority: Priority = Field("normal", description="`low` work is done when there is nothing else to do.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Strings of your own, given back with the job."
    )
    init_image: Annotated[str, Field(max_length=MAX_INIT_IMAGE)] | None = Field(
        None, description="A picture to start from: a data URI in base64, PNG, JPEG or WebP, at most 4 megapixels."
    )
    strength: float | None = Field(
        None, ge=0, le=1, description="How far to go from `init_image`: 0.5 if left out, 1 forgets it."
    )
    seed_to: Seed | None = Field(None, description="A second seed: each picture starts between the two statics.")
    seed_mix: float | None = Field(
        None, ge=0, le=1, description="How far towards `seed_to`: 0.5 if left out, 0 is `seed`, 1 is `seed_to`."
    )
    preview: bool = Field(False, description="Whether `events` also carries pictures of the work in progress.")
    animation: bool = Field(False, description="Whether the denoising is kept as an animated PNG.")
    cancel_on_disconnect: bool = Field(
        False,
        description="Whether the job is canceled when the last one who waited for it or listened to it hangs up.",
    )
    webhook_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="Where to send word when the job has ended."
    )


def resolve(
    request: JobRequest,
    catalogue: Catalogue,
    max_evaluations: int,
    *,
    caller: str = ANONYMOUS,
    request_id: str | None = None,
) -> JobSpec:
    """Make every open choice of `request`, so that the job means one picture.

    `init_image` is taken as it was sent; to bring it to the model's size is the caller's work.

    Raises `ModelUnknown`, and `RequestRefused` with everything that does not fit the model at once.
    """
    card = catalogue.find(request.model)
    refusals: list[Refusal] = []
    sampler = _sampler(request, card, refusals)
    steps = _steps(request, card, sampler, refusals)
    guidance_scale = _guidance_scale(request, card, refusals)
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    labels = _class_labels(request, card, seed, refusals)
    strength = _with("strength", request.strength, DEFAULT_STRENGTH, "init_image", request.init_image, refusals)
    seed_mix = _with("seed_mix", request.seed_mix, DEFAULT_SEED_MIX, "seed_to", request.seed_to, refusals)
    if strength is not None and int(steps * strength) == 0:
        least = math.ceil(1000 / steps) / 1000
        detail = f"strength {strength:g} of {steps} steps leaves no step; use at least {least:g}"
        refusals.append(Refusal("/strength", "out_of_range", detail))
    if refusals:
        raise RequestRefused(*refusals)
    assert sampler is not None
    spec = JobSpec(
        model=card.id,
        model_fingerprint=card.fingerprint,
        sampler=sampler.name,
        steps=steps,
        num_images=request.num_images,
        seed=seed,
        class_labels=labels,
        class_names=tuple(card.class_names[label] for label in labels) if labels is not None else None,
        guidance_scale=guidance_scale,
        eta=request.eta,
        timestep_spacing=request.timestep_spacing or card.timestep_spacing,
        scale=request.scale,
        ttl_s=request.ttl_s,
        priority=request.priority,
        init_image=request.init_image,
        strength=strength,
        seed_to=request.seed_to,
        seed_mix=seed_mix,
        animation=request.animation,
        preview=request.preview,
        cancel_on_disconnect=request.cancel_on_disconnect,
        webhook_url=request.webhook_url,
        caller=caller,
        request_id=request_id,
        metadata=request.metadata,
    )
    _refuse_beyond(max_evaluations, evaluations(spec, sampler))
    return spec


def evaluations(spec: JobSpec, sampler: SamplerCard) -> int:
    """Evaluations of the network that the whole job costs, at most: images × steps × places."""
    return spec.num_images * spec.walked_steps * sampler.evaluations_per_step * spec.places


def _sampler(request: JobRequest, card: ModelCard, refusals: list[Refusal]) -> SamplerCard | None:
    name = card.default_sampler if request.sampler is None else request.sampler
    sampler = card.sampler(name)
    if sampler is None:
        allowed = ", ".join(known.name for known in card.samplers)
        refusals.append(Refusal("/sampler", "unknown_sampler", f"there is no sampler {name!r}; allowed: {allowed}"))
    elif request.eta and not sampler.takes_eta:
        takers = ", ".join(known.name for known in card.samplers if known.takes_eta)
        detail = f"{name} has no eta; leave it out, or use one of: {takers}"
        refusals.append(Refusal("/eta", "not_for_sampler", detail))
    return sampler


def _steps(request: JobRequest, card: ModelCard, sampler: SamplerCard | None, refusals: list[Refusal]) -> int:
    if request.steps is not None and request.num_inference_steps is not None:
        detail = "steps and num_inference_steps are two names of one field; give only one"
        refusals.append(Refusal("/num_inference_steps", "conflict", detail))
    steps = request.steps or request.num_inference_steps or card.default_steps
    if sampler is not None and steps > sampler.max_steps:
        pointer = "/steps" if request.num_inference_steps is None else "/num_inference_steps"
        detail = f"{sampler.name} takes 1 to {sampler.max_steps} steps with {card.id}"
        refusals.append(Refusal(pointer, "out_of_range", detail))
    return steps


def _guidance_scale(request: JobRequest, card: ModelCard, refusals: list[Refusal]) -> float:
    if request.guidance_scale is None:
        return card.default_guidance_scale
    if request.guidance_scale != 1.0 and not card.guided:
        detail = f"{card.id} was trained without a null label and takes only guidance_scale 1"
        refusals.append(Refusal("/guidance_scale", "not_for_model", detail))
    return float(request.guidance_scale)


def _with(
    name: str, value: float | None, default: float, other: str, other_value: object, refusals: list[Refusal]
) -> float | None:
    """The value of a field that means something only beside another one."""
    if other_value is not None:
        return default if value is None else value
    if value is not None:
        refusals.append(Refusal(f"/{name}", "conflict", f"{name} means nothing without {other}; give both"))
    return None


def _class_labels(
    request: JobRequest, card: ModelCard, seed: int, refusals: list[Refusal]
) -> tuple[int, ...] | None:
    names, wanted = card.class_names, request.class_label
    if wanted is None:
        if not names:
            return None
        return tuple((seed + k) % (MAX_SEED + 1) % len(names) for k in range(request.num_images))
    if isinstance(wanted, str) and wanted in names:
        return (names.index(wanted),) * request.num_images
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return (wanted,) * request.num_images
    allowed = f"allowed: {', '.join(names)} (or 0 to {len(names) - 1})" if names else "the model has no classes"
    refusals.append(Refusal("/class_label", "unknown_class", f"there is no class {wanted!r}; {allowed}"))
    return None


def _refuse_beyond(limit: int, cost: int) -> None:
    if cost > limit:
        detail = f"the job costs {cost} evaluations (images × steps × places), this service allows {limit}"
        raise RequestRefused(Refusal("/steps", "too_many_evaluations", detail))
