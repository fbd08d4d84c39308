"""Heun's method on the probability flow, Karras et al. 2022."""

import numpy as np

from models.errors import InvalidSampling
from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, Timesteps, make_table, predictions


def heun(schedule: NoiseSchedule, timesteps: Timesteps, eta: float) -> SamplerTable:
    """Karras et al. 2022 (EDM), algorithm 1, on dx/dς = (x - x0)/ς with ς = σ/α and x scaled by 1/α.

    Each step but the last takes two evaluations: an Euler step, whose c_x and c_x0 are DDIM's, and a
    correction at its end, where the derivative is averaged. Euler moves along a line on which
    (x - x0)/ς stays the same, so the earlier derivative is (x̃ - x0_prev)/ς_p and the correction is
    x̃ + (ς_p - ς)·(x0_prev - x0)/2ς_p: x0_prev is all that must be kept. 2·S - 1 evaluations.
    ``eta`` is not used.

    Raises:
        InvalidSampling: the run starts without any signal (ς infinite).
    """
    kept = schedule.alphas_cumprod[timesteps]
    if kept[0] == 0:
        raise InvalidSampling(
            "sampler", "heun cannot start at zero terminal SNR; use ddpm, ddim, dpmpp_2m or unipc"
        )
    levels = Levels.of(kept)
    evaluations = 2 * len(timesteps) - 1
    euler, correction = slice(0, None, 2), slice(1, None, 2)
    spread = levels.sigma / levels.alpha
    half = levels.alpha[1:] * np.diff(spread) / (2 * spread[1:])

    c_x, c_x0, c_prev = np.zeros((3, evaluations))
    c_x[euler] = levels.sigma_next / levels.sigma
    c_x0[euler] = levels.alpha_next - levels.sigma_next * levels.alpha / levels.sigma
    c_x[correction] = 1
    c_x0[correction] = -half
    c_prev[correction] = half
    visited = np.repeat(np.arange(len(timesteps)), 2)[1:]
    columns = {
        **predictions(schedule, kept[visited]),
        "c_x": c_x,
        "c_x0": c_x0,
        "c_prev": c_prev,
    }
    return make_table("heun", schedule, timesteps[visited], columns, clips=True, thresholds=False)
