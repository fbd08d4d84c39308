"""What is measured on, and how large: a card and two real networks, or a CPU and two tiny ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.settings import BUNDLED_MODEL

CIFAR: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
"""The CIFAR-10 network of Ho et al. 2020, 35.7M parameters, as google/ddpm-cifar10-32 has it; random weights."""
TINY: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 8),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
CLASSES = [f"class-{n}" for n in range(8)]


@dataclass(frozen=True)
class Setup:
    """`folder` takes the results and the models that are made."""

    device: str
    tiny: bool
    folder: Path

    @property
    def cuda(self) -> bool:
        """Whether there is a card to measure."""
        return self.device.startswith("cuda")

    @property
    def half(self) -> str:
        """The short precision of the network, as UNFOG_PRECISION names it."""
        return "float16"

    @property
    def serving(self) -> str:
        """The precision that is served."""
        return self.half if self.cuda else "float32"

    @property
    def places(self) -> int:
        """The most places in one forward pass of the engines."""
        usual = 256 if self.cuda else 16
        return int(self.pick(usual, 4))

    def pick(self, usual: Any, tiny: Any) -> Any:
        """One of two sizes."""
        return tiny if self.tiny else usual

    def models(self, *, dear: bool = False) -> dict[str, Path]:
        """The folders of both networks, by name; a tiny run does what is `dear` with one of them only.

        On a CPU that is not tiny, only the network that is made for one.
        """
        if self.tiny:
            tiny = {"tiny-classes": write_model(self.folder / "tiny-classes", TINY, classes=True)}
            if not dear:
                tiny["tiny"] = write_model(self.folder / "tiny", TINY, classes=False)
            return tiny
        if not self.cuda:
            return {"cats-32": BUNDLED_MODEL}
        cifar = write_model(self.folder / "ddpm-cifar10", CIFAR, classes=False)
        return {"ddpm-cifar10": cifar, "cats-32": BUNDLED_MODEL}

    def synchronize(self) -> None:
        """Wait until the card has done all that it was told."""
        if self.cuda:
            torch.cuda.synchronize()


def write_model(folder: Path, network: dict[str, Any], *, classes: bool) -> Path:
    """A diffusers folder with random weights, made once."""
    from diffusers import DDPMScheduler, UNet2DModel

    if not (folder / "scheduler").exists():
        torch.manual_seed(0)
        extra = {"num_class_embeds": len(CLASSES) + 1} if classes else {}
        UNet2DModel(**network, **extra).save_pretrained(folder / "unet")
        if classes:
            said = {"class_names": CLASSES, "null_class": len(CLASSES), "guidance_scale": 1}
            (folder / "unfog.json").write_text(json.dumps(said))
        (folder / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
        DDPMScheduler(timestep_spacing="trailing").save_pretrained(folder / "scheduler")
    return folder
