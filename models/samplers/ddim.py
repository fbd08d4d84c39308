"""The implicit sampler of Song, Meng & Ermon 2021."""

import numpy as np

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, Timesteps, make_table, predictions


def ddim(schedule: NoiseSchedule, timesteps: Timesteps, eta: float) -> SamplerTable:
    """Song et al. 2021 (DDIM), equation 12, with σ from equation 16 scaled by ``eta``.

    eta 0 is deterministic, eta 1 has the variance of ddpm's fixed_small. ε comes from the raw output
    even where x0 is clipped, as diffusers has it.
    """
    final = 1.0 if schedule.set_alpha_to_one else float(schedule.alphas_cumprod[0])
    levels = Levels.of(schedule.alphas_cumprod[timesteps], final)
    beta = 1 - levels.kept / levels.kept_next
    spread = eta * np.sqrt((1 - levels.kept_next) / (1 - levels.kept) * np.maximum(beta, 0))
    # Rounding can leave -1e-17 under the root where eta = 1.
    direction = np.sqrt(np.maximum(1 - levels.kept_next - spread**2, 0))
    columns = {
        **predictions(schedule, levels.kept),
        "c_x0": levels.alpha_next,
        "c_eps": direction,
        "c_noise": spread,
    }
    return make_table("ddim", schedule, timesteps, columns, clips=True, thresholds=True)
