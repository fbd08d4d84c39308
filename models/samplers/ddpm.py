"""The ancestral sampler of Ho et al. 2020."""

import math

import numpy as np
import numpy.typing as npt

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, predictions, stack


def ddpm(schedule: NoiseSchedule, timesteps: npt.NDArray[np.int64], eta: float) -> SamplerTable:
    """Draw from q(x_{t-1} | x_t, x0), Ho et al. 2020, equations 6 and 7, over the visited timesteps.

    The variance is β̃ (fixed_small) or β (fixed_large), section 3.2 there; where timesteps are skipped, β
    is 1 - ᾱ_t/ᾱ_p of the jump (Nichol & Dhariwal 2021, equation 19). The last step adds no noise
    (Ho et al., algorithm 2). ``eta`` is not used.
    """
    levels = Levels.of(schedule.alphas_cumprod[timesteps])
    kept_by_step = levels.kept / levels.kept_next
    beta = 1 - kept_by_step
    share = (1 - levels.kept_next) / (1 - levels.kept)
    variance = beta.copy() if schedule.variance_type == "fixed_large" else share * beta
    variance[-1] = 0
    coefficients = stack(
        {
            **predictions(schedule, levels.kept),
            "c_x0": levels.alpha_next * beta / (1 - levels.kept),
            "c_x": np.sqrt(kept_by_step) * share,
            "c_noise": np.sqrt(variance),
        }
    )
    clip = schedule.clip_sample_range
    return SamplerTable(
        "ddpm",
        timesteps,
        coefficients,
        math.inf if clip is None or schedule.thresholding else clip,
        schedule.thresholding,
    )
