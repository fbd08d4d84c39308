"""The samplers by name. Adding one is adding a function that returns a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.errors import InvalidSampling
from models.noise_schedule import NoiseSchedule
from models.samplers.ddim import ddim
from models.samplers.ddpm import ddpm
from models.samplers.dpmpp_2m import dpmpp_2m
from models.samplers.heun import heun
from models.samplers.table import SamplerTable, Timesteps
from models.samplers.unipc import unipc
from models.spacing import timesteps_for

Build = Callable[[NoiseSchedule, Timesteps, float], SamplerTable]


@dataclass(frozen=True)
class Sampler:
    """An update rule by name, and what a request may say about it.

    ``max_steps`` None means up to the number of trained timesteps. ``evaluations_per_step`` is how many
    evaluations a step takes, the last step excepted, which always takes one.
    """

    name: str
    build: Build
    takes_eta: bool
    max_steps: int | None
    evaluations_per_step: int
    summary: str


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        sampler.name: sampler
        for sampler in (
            Sampler("ddpm", ddpm, False, None, 1, "Ancestral sampling; best with many steps"),
            Sampler("ddim", ddim, True, None, 1, "Implicit sampling; eta from 0 (no noise) to 1"),
            Sampler("dpmpp_2m", dpmpp_2m, False, None, 1, "Second-order multistep; good from 10 steps"),
            Sampler("unipc", unipc, False, None, 1, "Second-order predictor and corrector; good from 10 steps"),
            Sampler("heun", heun, False, None, 2, "Second-order, two evaluations a step"),
        )
    }
)


def compile_table(
    schedule: NoiseSchedule,
    sampler: str,
    steps: int,
    eta: float = 0.0,
    spacing: str | None = None,
    start: int = 0,
) -> SamplerTable:
    """Compile one run into a table; costs microseconds to a millisecond, so callers may cache it.

    ``spacing`` None means the model's own. ``start`` leaves out that many of the first timesteps, as
    image-to-image does (``models.latents.start_index``).

    Raises:
        InvalidSampling: unknown sampler or spacing, steps outside 1 … T, eta outside [0, 1] or given to a
            sampler that has none, nothing left after ``start``, or a schedule the sampler cannot walk.
    """
    if sampler not in SAMPLERS:
        raise InvalidSampling("sampler", f"unknown sampler {sampler!r}; use one of {', '.join(SAMPLERS)}")
    chosen = SAMPLERS[sampler]
    if not 0 <= eta <= 1:
        raise InvalidSampling("eta", f"eta must lie between 0 and 1, not {eta!r}")
    if eta and not chosen.takes_eta:
        takers = ", ".join(name for name, other in SAMPLERS.items() if other.takes_eta)
        raise InvalidSampling("eta", f"{sampler} has no eta; leave it out or use {takers}")
    timesteps = timesteps_for(schedule, steps, spacing)
    if chosen.max_steps is not None and steps > chosen.max_steps:
        raise InvalidSampling("steps", f"{sampler} takes at most {chosen.max_steps} steps, not {steps}")
    if not 0 <= start < len(timesteps):
        raise InvalidSampling("strength", "no evaluations are left; use more strength or more steps")
    return chosen.build(schedule, timesteps[start:].copy(), eta)
