"""Which of the trained timesteps a run visits."""

import math
from typing import get_args

import numpy as np
import numpy.typing as npt

from models.errors import InvalidSampling
from models.noise_schedule import NoiseSchedule, Spacing


def timesteps_for(schedule: NoiseSchedule, steps: int, spacing: str | None = None) -> npt.NDArray[np.int64]:
    """The timesteps of one run, int64 (S,), strictly descending, each in [0, T).

    ``spacing`` None means the model's own. S is ``steps``, except for quadratic, where small timesteps
    fall together and are visited once. leading, linspace and trailing are those of Lin et al. 2024,
    table 2; quadratic is ⌊c·i²⌋ of Song et al. 2021 (DDIM), appendix D.2, with c such that the run starts
    at T-1. One list serves every sampler. leading and linspace start at t = 0 for a single step, and
    leading starts at T/2 for T/2 + 1 steps; trailing always starts at T-1.

    Raises:
        InvalidSampling: steps outside 1 … T, unknown spacing, or steps_offset leads beyond T-1.
    """
    count = schedule.num_train_timesteps
    name = schedule.timestep_spacing if spacing is None else spacing
    if name not in get_args(Spacing):
        raise InvalidSampling(
            "timestep_spacing", f"unknown spacing {name!r}; use one of {', '.join(get_args(Spacing))}"
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= count:
        raise InvalidSampling("steps", f"steps must be an integer between 1 and {count}, not {steps!r}")

    if name == "trailing":
        # Rounding can let arange end one number late, as it does in diffusers.
        timesteps = np.round(np.arange(count, 0, -count / steps))[:steps] - 1
    elif name == "linspace":
        timesteps = np.round(np.linspace(0, count - 1, steps))[::-1]
    elif name == "leading":
        timesteps = np.arange(steps)[::-1] * (count // steps) + schedule.steps_offset
    else:
        root = np.linspace(math.sqrt(count - 1), 0, steps)
        timesteps = np.unique(np.floor(root**2 + 1e-9))[::-1]
    timesteps = timesteps.astype(np.int64)
    if timesteps[0] >= count:
        raise InvalidSampling(
            "steps", f"the model's steps_offset of {schedule.steps_offset} leads beyond its last timestep"
        )
    assert (np.diff(timesteps) < 0).all()
    assert timesteps[-1] >= 0
    return timesteps
