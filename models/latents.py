"""Where a run starts: static from a seed, a mix of two statics, or a drowned picture."""

import math

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from models.errors import InvalidSampling
from models.forward_process import add_noise
from models.noise_schedule import NoiseSchedule
from models.samplers.table import SamplerTable

SEEDS = 2**32


def starting_noise(seed: int, channels: int, height: int, width: int) -> tuple[Tensor, torch.Generator]:
    """Static float32 (1, C, H, W) of a seed, and the CPU generator that the later draws come from.

    Raises:
        InvalidSampling: seed outside 0 … 2³²-1. CPU generators keep 32 bits, so 7 and 7 + 2³² would be
            the same picture.
    """
    if not 0 <= seed < SEEDS:
        raise InvalidSampling("seed", f"seed must lie between 0 and {SEEDS - 1}, not {seed}")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, channels, height, width), generator=generator), generator


def slerp(first: Tensor, second: Tensor, fraction: float) -> Tensor:
    """The point ``fraction`` of the way along the arc from one static to another (Shoemake 1985).

    A straight line would pass through weaker static: halfway, two independent statics average to a
    spread of 0.71, which no timestep has. Same shape and dtype as the inputs; 0 and 1 give the ends bit
    for bit.

    Raises:
        InvalidSampling: fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InvalidSampling("seed_mix", f"seed_mix must lie between 0 and 1, not {fraction!r}")
    a, b = first.double().flatten(), second.double().flatten()
    cosine = (torch.dot(a, b) / (a.norm() * b.norm())).clamp(-1, 1)
    angle = float(torch.acos(cosine))
    if math.sin(angle) < 1e-6:
        weight, other = 1 - fraction, fraction
    else:
        weight = math.sin((1 - fraction) * angle) / math.sin(angle)
        other = math.sin(fraction * angle) / math.sin(angle)
    return (weight * first.double() + other * second.double()).to(first.dtype)


def start_index(steps: int, strength: float) -> int:
    """How many of ``steps`` timesteps image-to-image leaves out: S - min(⌊S·strength⌋, S).

    Strength 1 starts from static, small strengths keep the picture. ``steps`` is the length of the list
    of timesteps, ``timesteps_for``.

    Raises:
        InvalidSampling: strength outside [0, 1], or so small that no evaluation is left.
    """
    if not 0 <= strength <= 1:
        raise InvalidSampling("strength", f"strength must lie between 0 and 1, not {strength!r}")
    walked = min(int(steps * strength), steps)
    if walked == 0:
        raise InvalidSampling(
            "strength", f"strength {strength} of {steps} steps leaves none; use at least {least_strength(steps):g}"
        )
    return steps - walked


def least_strength(steps: int) -> float:
    """The least strength, in thousandths, that leaves one of ``steps`` (up to 1000)."""
    return math.ceil(1000 / steps) / 1000


def start_of_walk(timesteps: int, walked_steps: int | None) -> int:
    """How many of a list of ``timesteps`` are left out where the last ``walked_steps`` are taken; None is all.

    A list may be shorter than the steps that were asked for, as quadratic ones are: then there is less to leave
    out. At least one is left wherever ``walked_steps`` is at least 1.
    """
    return 0 if walked_steps is None else max(0, timesteps - walked_steps)


def drowned(picture: Tensor, noise: Tensor, schedule: NoiseSchedule, table: SamplerTable) -> Tensor:
    """``picture`` noised to where ``table`` starts, float32 (B, C, H, W), inputs of the same shape."""
    first = torch.tensor([int(table.timesteps[0])])
    return add_noise(picture, noise, first, torch.tensor(schedule.alphas_cumprod))


def from_image(image: Image.Image, height: int, width: int, channels: int = 3) -> Tensor:
    """A Pillow image as float32 (1, channels, height, width) in [-1, 1], in colour or grey.

    Turned upright by its EXIF tag, laid on white where it is transparent, cut to the middle, resized; one that
    has this size already stays as it is, pixel for pixel.

    Raises:
        InvalidSampling: the model's pictures are neither, having other than 3 or 1 channels.
    """
    if channels not in (1, 3):
        raise InvalidSampling("init_image", f"the model's pictures have {channels} channels, and no image has them")
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    toned = upright.convert("RGB" if channels == 3 else "L")
    fitted = ImageOps.fit(toned, (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(fitted, dtype=np.float32)).view(height, width, channels)
    return (pixels / 127.5 - 1).permute(2, 0, 1)[None].contiguous()
