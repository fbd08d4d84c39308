"""The folder a run leaves behind: one that diffusers and the service load."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from PIL import Image
from safetensors.torch import save_file

from models.training.card import Facts, write_card
from models.training.checkpoint import replace_file
from models.training.settings import PredictionType

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def noise_scheduler(prediction: PredictionType) -> Any:
    """The noise of Ho et al. 2020: 1000 steps, betas linear from 1e-4 to 0.02."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type=prediction,
        clip_sample=True,
        timestep_spacing="trailing",
    )


@dataclass(frozen=True)
class Model:
    """What is exported: the averaged network and what is known about it."""

    network: Any
    scheduler: Any
    class_names: tuple[str, ...]
    guidance_scale: float
    half_weights: bool


def _write_text(path: Path, text: str) -> None:
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def _write_json(path: Path, data: dict[str, Any]) -> None:
    _write_text(path, json.dumps(data, indent=1) + "\n")


def _save_png(path: Path, image: Image.Image) -> None:
    replace_file(path, lambda part: image.save(part, format="PNG"))


def export(out: Path, model: Model, samples: Image.Image | None, facts: Facts) -> str:
    """Write the servable folder into `out`, each file whole or not at all; returns the weights' SHA-256."""
    config = json.loads(model.network.to_json_string())
    dtype = torch.float16 if model.half_weights else torch.float32
    weights = {name: t.detach().to("cpu", dtype).contiguous() for name, t in model.network.state_dict().items()}
    replace_file(out / WEIGHTS, lambda part: save_file(weights, part, metadata={"format": "pt"}))
    _write_json(out / "unet/config.json", config)
    _write_json(out / "scheduler/scheduler_config.json", json.loads(model.scheduler.to_json_string()))
    version = config["_diffusers_version"]
    _write_json(
        out / "model_index.json",
        {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": version,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
    )
    serving: dict[str, Any] = {"sampler": "ddim", "steps": 50, "guidance_scale": 1.0}
    if model.class_names:
        names = list(model.class_names)
        serving = {"class_names": names, "null_class": len(names)} | serving
        serving["guidance_scale"] = model.guidance_scale
    _write_json(out / "unfog.json", serving)
    if samples is not None:
        _save_png(out / "samples.png", samples)
    digest = hashlib.sha256((out / WEIGHTS).read_bytes()).hexdigest()
    _write_text(out / "README.md", write_card(facts, digest))
    return digest
