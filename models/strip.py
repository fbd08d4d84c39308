"""The forward process as a picture: one image at several timesteps, side by side."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from models.forward_process import add_noise
from models.generate import to_uint8
from models.latents import from_image, starting_noise
from models.noise_schedule import NoiseSchedule


def noise_strip(
    image: Image.Image, schedule: NoiseSchedule, timesteps: Sequence[int], size: int, seed: int
) -> Image.Image:
    """``image``, cut square to ``size`` pixels, at each of ``timesteps`` with one and the same noise.

    Returns: an RGB image of ``size`` by ``size`` · len(timesteps) pixels.
    """
    picture = from_image(image, size, size)
    noise, _ = starting_noise(seed, 3, size, size)
    count = len(timesteps)
    drowned = add_noise(
        picture.expand(count, -1, -1, -1),
        noise.expand(count, -1, -1, -1),
        torch.tensor(timesteps),
        torch.tensor(schedule.alphas_cumprod),
    )
    return Image.fromarray(np.concatenate(list(to_uint8(drowned)), axis=1))
