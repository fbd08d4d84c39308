"""UniPC of order 2, Zhao et al. 2023."""

import numpy as np

from models.noise_schedule import NoiseSchedule
from models.samplers.table import Floats, Levels, SamplerTable, Timesteps, floored, make_table, predictions


def unipc(schedule: NoiseSchedule, timesteps: Timesteps, eta: float) -> SamplerTable:
    """Zhao et al. 2023 (UniPC), algorithms 1 and 2 with data prediction, UniPC-2.

    With λ = ln(α/σ), h the step in λ and m_i the x0 of evaluation i, the predictor is
    x̃_{i+1} = σ_p/σ_i·x_i - α_p·B(h)·(m_i + (m_{i-1} - m_i)/2r), where r < 0 is the step
    before in units of h. Evaluated at x̃, the corrector replaces x̃ by x. Both start from the same x_i, so
    x - x̃ is a combination of x0 alone, and no earlier sample has to be kept. First and last step are of
    first order; the last goes to σ = 0 and ends at x0. B(h) is e^{-h} - 1, the paper's B_2. ``eta`` is
    not used.
    """
    kept = floored(schedule.alphas_cumprod[timesteps])
    levels = Levels.of(kept)
    h = np.diff(np.log(levels.alpha / levels.sigma))
    gain = -levels.alpha_next[:-1] * np.expm1(-h)
    r = -h[:-1] / h[1:]
    now, before, before2 = _corrections(h, gain, r)
    slope = np.append(0.0, gain[1:] / (2 * r))[: len(h)]

    # Evaluation i first corrects the step that led to it, then predicts the next one.
    c_x, c_x0, c_prev, c_prev2 = np.zeros((4, len(kept)))
    c_x[:-1] = levels.sigma_next[:-1] / levels.sigma[:-1]
    c_x0[:-1] = c_x[:-1] * now[:-1] + gain - slope
    c_prev[:-1] = c_x[:-1] * before[:-1] + slope
    c_prev2[:-1] = c_x[:-1] * before2[:-1]
    c_x0[-1] = 1
    columns = {
        **predictions(schedule, kept),
        "c_x": c_x,
        "c_x0": c_x0,
        "c_prev": c_prev,
        "c_prev2": c_prev2,
    }
    return make_table("unipc", schedule, timesteps, columns, clips=False, thresholds=True)


def _corrections(h: Floats, gain: Floats, r: Floats) -> tuple[Floats, Floats, Floats]:
    """x - x̃ at each evaluation (S,), as weights of the x0 just found and of the two before.

    The weights ρ solve equation 11 of the paper for p = 2, [[1, 1], [r, 1]] ρ = b; for the first step
    p = 1 and ρ = 1/2. ``h`` and ``gain`` = -α_p·B(h) are those of the step before (S-1,).
    """
    scale = np.expm1(-h)
    first = -scale / h - 1
    second = -first / h - 1 / 2
    b1, b2 = first / scale, 2 * second / scale
    past = (b1[1:] - b2[1:]) / (1 - r)
    now, before2 = np.zeros((2, len(h) + 1))
    now[1:2] = gain[:1] / 2
    now[2:] = gain[1:] * (b1[1:] - past)
    before2[2:] = gain[1:] * (past - 0.5) / r
    return now, -now - before2, before2
