"""The implicit sampler of Song, Meng & Ermon 2021."""

import math

import numpy as np
import numpy.typing as npt

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, predictions, stack


def ddim(schedule: NoiseSchedule, timesteps: npt.NDArray[np.int64], eta: float) -> SamplerTable:
    """Song et al. 2021 (DDIM), equation 12, with σ from equation 16 scaled by ``eta``.

    eta 0 is deterministic, eta 1 has the variance of ddpm's fixed_small.
    """
    kept = schedule.alphas_cumprod[timesteps]
    final = 1.0 if schedule.set_alpha_to_one else float(schedule.alphas_cumprod[0])
    levels = Levels.of(kept, final)
    beta = 1 - levels.kept / levels.kept_next
    spread = eta * np.sqrt((1 - levels.kept_next) / (1 - levels.kept) * beta)
    # Rounding can leave -1e-17 under the root where eta = 1.
    direction = np.sqrt(np.maximum(1 - levels.kept_next - spread**2, 0))
    coefficients = stack(
        {
            **predictions(schedule, levels.kept),
            "c_x0": levels.alpha_next,
            "c_eps": direction,
            "c_noise": spread,
        }
    )
    clip = schedule.clip_sample_range
    return SamplerTable(
        "ddim",
        timesteps,
        coefficients,
        math.inf if clip is None or schedule.thresholding else clip,
        schedule.thresholding,
    )
