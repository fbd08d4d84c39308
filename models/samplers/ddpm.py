"""The ancestral sampler of Ho et al. 2020."""

import numpy as np

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, Timesteps, make_table, predictions


def ddpm(schedule: NoiseSchedule, timesteps: Timesteps, eta: float) -> SamplerTable:
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
    columns = {
        **predictions(schedule, levels.kept),
        "c_x0": levels.alpha_next * beta / (1 - levels.kept),
        "c_x": np.sqrt(kept_by_step) * share,
        "c_noise": np.sqrt(variance),
    }
    return make_table("ddpm", schedule, timesteps, columns, clips=True, thresholds=True)
