"""A tiny network with random weights, written as a diffusers folder."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel


def write_model(folder: Path, *, classes: bool = True, flat: bool = False, **network: Any) -> Path:
    """A class-conditional model, 3 classes and a null label, 8 × 8; or one without classes."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 8),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            "num_class_embeds": 4 if classes else None,
            **network,
        }
    )
    unet.save_pretrained(folder if flat else folder / "unet")
    scheduler = DDPMScheduler(timestep_spacing="trailing")
    scheduler.save_pretrained(folder if flat else folder / "scheduler")
    if classes:
        extras = {
            "class_names": ["a", "b", "c"],
            "null_class": 3,
            "guidance_scale": 2,
            "sampler": "ddpm",
            "steps": 7,
        }
        (folder / "unfog.json").write_text(json.dumps(extras))
    return folder
