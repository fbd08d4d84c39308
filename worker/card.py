"""What a worker tells of a model it serves."""

import json
from typing import Any

import numpy as np
import structlog

from jobs.catalogue import ModelCard, SamplerCard
from models.folder import Model, weights_of
from models.noise_schedule import NoiseSchedule
from models.samplers import SAMPLERS

QUALITY_DIGITS = 4
SCHEDULE_POINTS = 101
MOST_LOG_SNR = 30.0
"""Beyond it a float32 holds nothing but the picture, or nothing but the noise; zero SNR has no logarithm."""
OWN = "unfog"
"""The owner of a model that comes from a folder and from nobody's name."""

log = structlog.get_logger()


def card_of(model: Model, owner: str | None, max_places: int) -> ModelCard:
    """The card of a model whose batches have at most `max_places`; `owner` None is ourselves."""
    trained = model.schedule.num_train_timesteps
    return ModelCard(
        id=model.id,
        fingerprint=model.fingerprint,
        owned_by=owner or OWN,
        created=int(weights_of(model.folder).stat().st_mtime),
        height=model.height,
        width=model.width,
        class_names=model.class_names,
        guided=model.null_class is not None,
        default_sampler=model.default_sampler,
        default_steps=model.default_steps,
        default_guidance_scale=model.default_guidance_scale,
        timestep_spacing=model.schedule.timestep_spacing,
        num_train_timesteps=trained,
        max_places=max_places,
        samplers=tuple(
            SamplerCard(
                name=sampler.name,
                summary=sampler.summary,
                takes_eta=sampler.takes_eta,
                max_steps=min(sampler.max_steps or trained, trained),
                evaluations_per_step=sampler.evaluations_per_step,
            )
            for sampler in SAMPLERS.values()
        ),
        quality=quality_of(model),
        log_snr=log_snr_of(model.schedule),
    )


def log_snr_of(schedule: NoiseSchedule) -> list[float]:
    """ln(ᾱ/(1-ᾱ)) at `SCHEDULE_POINTS` places between the first timestep and the last, limited to ±30."""
    kept = schedule.alphas_cumprod
    with np.errstate(divide="ignore"):
        log_snr = np.clip(np.log(kept) - np.log1p(-kept), -MOST_LOG_SNR, MOST_LOG_SNR)
    places = np.linspace(0, len(kept) - 1, SCHEDULE_POINTS)
    return [round(float(value), QUALITY_DIGITS) for value in np.interp(places, np.arange(len(kept)), log_snr)]


def quality_of(model: Model) -> list[dict[str, Any]]:
    """The measurements beside a model, a row for each setting that was measured; none if there are none.

    What cannot be read, or was measured on other weights, is left out with a warning: it is no reason not to
    serve.
    """
    file = model.folder / "quality.json"
    if not file.exists():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        measured = content["measured"]["model_fingerprint"]
        rows = [_quality_row(row) for row in content["settings"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.warning("quality.json cannot be read", model=model.id, reason=repr(error))
        return []
    if measured != model.fingerprint:
        log.warning("quality.json was measured on other weights", model=model.id, measured=measured)
        return []
    return rows


def _quality_row(row: dict[str, Any]) -> dict[str, Any]:
    """One setting and its measures, flat; `comparable` tells whether others have as many images."""
    shown = {
        "sampler": str(row["sampler"]),
        "steps": int(row["steps"]),
        "guidance_scale": float(row["guidance_scale"]),
        "evaluations": int(row["evaluations"]),
        "images": int(row["images"]),
        "frechet": float(row["frechet"]),
        "frechet_standard_error": float(row["standard_error"]["frechet"]),
        "class_agreement": row.get("class_agreement"),
        "novelty": row.get("novelty"),
        "comparable": bool(row["comparable"]),
    }
    return {
        name: float(f"{value:.{QUALITY_DIGITS}g}") if isinstance(value, float) else value
        for name, value in shown.items()
    }
