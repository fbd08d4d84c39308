"""A sampler compiled into numbers: one row of coefficients per evaluation of the network.

With ``out`` the network's output at sample x, one evaluation is

    x0  = a_x·x + a_o·out                   then clipped or thresholded
    eps = e_x·x + e_o·out                   from the raw output, never from the clipped x0
    x'  = c_x·x + c_x0·x0 + c_eps·eps + c_prev·x0_prev + c_prev2·x0_prev2 + c_noise·z

where x0_prev and x0_prev2 are the x0 of one and two evaluations before, and z is standard normal. After
the last evaluation x' is the picture. Whatever mix of samplers is in a batch, it is advanced by this one
expression; see ``models.samplers.update``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.noise_schedule import NoiseSchedule, Thresholding

COLUMNS = ("a_x", "a_o", "e_x", "e_o", "c_x", "c_x0", "c_eps", "c_prev", "c_prev2", "c_noise")

Floats = npt.NDArray[np.float64]
Timesteps = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SamplerTable:
    """Everything the sampling loop needs; made by ``compile_table``.

    ``timesteps`` int64 (E,): what the network is told at each evaluation. ``coefficients`` float64
    (E, len(COLUMNS)), all finite. ``clip``: x0 is limited to [-clip, clip]; inf where it is not clipped.
    ``thresholding``: replaces the clipping where it is not None.
    """

    sampler: str
    timesteps: Timesteps
    coefficients: Floats
    clip: float
    thresholding: Thresholding | None

    def __post_init__(self) -> None:
        assert self.timesteps.dtype == np.int64
        assert self.coefficients.dtype == np.float64
        assert self.coefficients.shape == (self.evaluations, len(COLUMNS))
        assert np.isfinite(self.coefficients).all()
        self.timesteps.flags.writeable = False
        self.coefficients.flags.writeable = False

    @property
    def evaluations(self) -> int:
        """E, how often one picture goes through the network."""
        return len(self.timesteps)

    @property
    def noise_draws(self) -> int:
        """How many evaluations draw fresh noise: the rows whose c_noise is not 0."""
        return int(np.count_nonzero(self.column("c_noise")))

    def column(self, name: str) -> Floats:
        """One column (E,) by its name in COLUMNS."""
        column: Floats = self.coefficients[:, COLUMNS.index(name)]
        return column


class Levels(NamedTuple):
    """Signal α = √ᾱ, noise σ = √(1-ᾱ) and ᾱ at each visited timestep (S,) and at the one that follows it.

    After the last timestep comes the clean picture: ᾱ = 1.
    """

    alpha: Floats
    sigma: Floats
    alpha_next: Floats
    sigma_next: Floats
    kept: Floats
    kept_next: Floats

    @classmethod
    def of(cls, kept: Floats, final: float = 1.0) -> "Levels":
        """From ᾱ at each visited timestep (S,) and after the last one."""
        kept_next = np.append(kept[1:], final)
        return cls(np.sqrt(kept), np.sqrt(1 - kept), np.sqrt(kept_next), np.sqrt(1 - kept_next), kept, kept_next)


def predictions(schedule: NoiseSchedule, kept: Floats) -> dict[str, Floats]:
    """Columns a_x, a_o, e_x, e_o: x0 and ε from the network's output, for ᾱ at each evaluation (E,).

    epsilon: Ho et al. 2020, equation 15. v_prediction: Salimans & Ho 2022, section 4 and appendix D.
    """
    alpha, sigma = np.sqrt(kept), np.sqrt(1 - kept)
    zero, one = np.zeros_like(kept), np.ones_like(kept)
    if schedule.prediction_type == "epsilon":
        return {"a_x": 1 / alpha, "a_o": -sigma / alpha, "e_x": zero, "e_o": one}
    if schedule.prediction_type == "v_prediction":
        return {"a_x": alpha, "a_o": -sigma, "e_x": sigma, "e_o": alpha}
    return {"a_x": zero, "a_o": one, "e_x": 1 / sigma, "e_o": -alpha / sigma}


def floored(kept: Floats) -> Floats:
    """ᾱ with 2⁻²⁴ in place of 0, for samplers that take λ = ln(α/σ) as time: there λ would be infinite.

    It is what diffusers puts there; only the last trained timestep, at zero terminal SNR, is 0.
    """
    return np.where(kept == 0, 2.0**-24, kept)


def make_table(
    sampler: str,
    schedule: NoiseSchedule,
    timesteps: Timesteps,
    columns: Mapping[str, Floats],
    *,
    clips: bool,
    thresholds: bool,
) -> SamplerTable:
    """Named columns (E,) as a table; those not named are 0.

    ``clips``, ``thresholds``: whether this sampler limits x0 at all where the model's config asks for
    it; where both apply, thresholding takes the place of clipping.
    """
    assert columns.keys() <= set(COLUMNS)
    nothing = np.zeros(len(timesteps))
    thresholding = schedule.thresholding if thresholds else None
    clip = schedule.clip_sample_range if clips and thresholding is None else None
    if thresholds and schedule.thresholding_clips:
        clip = 1.0
    return SamplerTable(
        sampler=sampler,
        timesteps=timesteps,
        coefficients=np.stack([columns.get(name, nothing) for name in COLUMNS], axis=1),
        clip=math.inf if clip is None else clip,
        thresholding=thresholding,
    )
