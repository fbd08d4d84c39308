"""The folder a run leaves behind: one that diffusers and the service load."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from PIL import Image
from safetensors.torch import save_file

from models.folder import WEIGHTS, describe_model
from models.training.card import Facts, write_card
from models.training.checkpoint import replace_file
from models.training.settings import PredictionType, Settings


def noise_scheduler(prediction: PredictionType) -> Any:
    """The noise of Ho et al. 2020: 1000 steps, betas linear from 1e-4 to 0.02.

    Thresholding with diffusers' sample_max_value of 1 is clipping to [-1, 1] for the samplers that do not know
    clip_sample; without it dpmpp_2m and unipc carry the errors of the first steps to the end.
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type=prediction,
        clip_sample=True,
        thresholding=True,
        timestep_spacing="trailing",
    )


@dataclass(frozen=True)
class Export:
    """A network with averaged weights, and what its folder says about it."""

    network: Any
    scheduler: Any
    settings: Settings
    class_names: tuple[str, ...]


def _write_text(path: Path, text: str) -> None:
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def _write_json(path: Path, data: dict[str, Any]) -> None:
    _write_text(path, json.dumps(data, indent=1) + "\n")


def _serving(model: Export) -> dict[str, Any]:
    """What `unfog.json` says. A model without classes cannot be guided."""
    defaults = {"sampler": "ddim", "steps": 50}
    if not model.class_names:
        return defaults
    names = list(model.class_names)
    guidance = {"guidance_scale": model.settings.guidance_scale}
    return {"class_names": names, "null_class": len(names)} | defaults | guidance


def export(out: Path, model: Export, samples: Image.Image, facts: Facts) -> None:
    """Write the servable folder into `out`; each file is replaced whole."""
    config = json.loads(model.network.to_json_string())
    dtype = torch.float16 if model.settings.half_weights else torch.float32
    weights = {name: t.detach().to("cpu", dtype).contiguous() for name, t in model.network.state_dict().items()}
    replace_file(out / "unet" / WEIGHTS, lambda part: save_file(weights, part, metadata={"format": "pt"}))
    _write_json(out / "unet" / "config.json", config)
    _write_json(out / "scheduler" / "scheduler_config.json", json.loads(model.scheduler.to_json_string()))
    index = {
        "_class_name": "DDPMPipeline",
        "_diffusers_version": config["_diffusers_version"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    _write_json(out / "model_index.json", index)
    _write_json(out / "unfog.json", _serving(model))
    replace_file(out / "samples.png", lambda part: samples.save(part, format="PNG"))
    _write_text(out / "README.md", write_card(facts, describe_model(out).fingerprint))
