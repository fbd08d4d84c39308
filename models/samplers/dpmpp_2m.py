"""DPM-Solver++(2M) of Lu et al. 2022."""

import numpy as np

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Levels, SamplerTable, Timesteps, floored, make_table, predictions


def dpmpp_2m(schedule: NoiseSchedule, timesteps: Timesteps, eta: float) -> SamplerTable:
    """Lu et al. 2022 (DPM-Solver++), algorithm 2, data prediction, with λ = ln(α/σ) as time.

    With h the step in λ and r the step before as a multiple of it, x' = σ_p/σ_t·x - α_p(e^{-h} - 1)·D
    and D = x0 + (x0 - x0_prev)/2r. The first step has no history and is of first order; the last goes to
    σ = 0, where D is x0 itself. A model whose config says ``solver_type: heun`` weighs the difference by
    the second Taylor term instead (same paper, appendix A). ``eta`` is not used.
    """
    kept = floored(schedule.alphas_cumprod[timesteps])
    levels = Levels.of(kept)
    inner = slice(1, len(timesteps) - 1)
    lam = np.log(levels.alpha / levels.sigma)
    h = np.append(np.diff(lam), np.inf)
    gain = -levels.alpha_next * np.expm1(-h)

    slope = np.zeros_like(h)
    if schedule.solver_type == "heun":
        slope[inner] = levels.alpha_next[inner] * (np.expm1(-h[inner]) / h[inner] + 1)
    else:
        slope[inner] = gain[inner] / 2
    slope[inner] *= h[inner] / h[: max(len(h) - 2, 0)]
    columns = {
        **predictions(schedule, kept),
        "c_x": levels.sigma_next / levels.sigma,
        "c_x0": gain + slope,
        "c_prev": -slope,
    }
    return make_table("dpmpp_2m", schedule, timesteps, columns, clips=False, thresholds=True)
