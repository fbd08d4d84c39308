"""Every sampler against diffusers' own scheduler classes, with a toy network."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from models.noise_schedule import NoiseSchedule
from models.samplers import SAMPLERS, compile_table
from models.spacing import timesteps_for
from tests.agreement import STEPS, Record
from tests.models.diffusers_reference import reference
from tests.models.toys import relative_error, start, toy_network, walk32, walk64

# diffusers 0.42.1 calls np.array on tensors in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Written out because the classes have different defaults.
PLAIN: dict[str, Any] = {
    "_class_name": "DDPMScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": True,
    "timestep_spacing": "trailing",
}

NAMED: dict[str, tuple[str, dict[str, Any], float]] = {
    "ddpm": ("ddpm", {}, 0.0),
    "ddpm fixed_large": ("ddpm", {"variance_type": "fixed_large"}, 0.0),
    "ddim": ("ddim", {}, 0.0),
    "ddim eta 0.7": ("ddim", {}, 0.7),
    "ddim eta 1": ("ddim", {}, 1.0),
    "dpmpp_2m": ("dpmpp_2m", {}, 0.0),
    "unipc": ("unipc", {}, 0.0),
    "heun": ("heun", {}, 0.0),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "v_prediction": {"prediction_type": "v_prediction"},
    "sample": {"prediction_type": "sample"},
    "no clipping": {"clip_sample": False},
    "clipping at 0.5": {"clip_sample_range": 0.5},
    "thresholding": {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5},
    "thresholding at 1": {"thresholding": True, "clip_sample": False},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "leading": {"timestep_spacing": "leading", "steps_offset": 1},
    "linspace": {"timestep_spacing": "linspace"},
    "zero SNR, v": {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    "zero SNR, sample": {"prediction_type": "sample", "rescale_betas_zero_snr": True},
}


def exact_difference(sampler: str, config: dict[str, Any], steps: int, eta: float = 0.0) -> float:
    """Ours against diffusers, both in float64."""
    schedule = NoiseSchedule.from_config(config)
    table = compile_table(schedule, sampler, steps, eta)
    network, timesteps = toy_network(schedule), timesteps_for(schedule, steps)
    (x, ours), (_, theirs) = start(torch.float64), start(torch.float64)
    kept = schedule.alphas_cumprod.copy()
    expected = reference(sampler, config, timesteps, network, x, theirs, kept, eta)
    return relative_error(walk64(table, network, x, ours), expected)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NAMED)
def test_samplers_agree_with_diffusers_in_float64(name: str, steps: int, record_agreement: Record) -> None:
    sampler, extra, eta = NAMED[name]
    error = exact_difference(sampler, {**PLAIN, **extra}, steps, eta)
    record_agreement(name, "float64", steps, error)
    # diffusers' ddpm adds noise of 1e-10 in the last step.
    assert error < 1e-9


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NAMED)
def test_samplers_agree_with_diffusers_in_float32(name: str, steps: int, record_agreement: Record) -> None:
    sampler, extra, eta = NAMED[name]
    config = {**PLAIN, **extra}
    schedule = NoiseSchedule.from_config(config)
    table = compile_table(schedule, sampler, steps, eta)
    network, timesteps = toy_network(schedule), timesteps_for(schedule, steps)
    (x, first), (_, second), (_, third) = (start(torch.float32) for _ in range(3))
    ours = walk32(table, network, x, first)
    expected = reference(sampler, config, timesteps, network, x, second, eta=eta)
    truth = walk64(table, network, x.double(), third, drawn=torch.float32)

    error = relative_error(ours, expected)
    record_agreement(name, "float32", steps, error)
    # Our float32 arithmetic stays close to float64: 6e-8, times 1/α = 157 at the first timestep, times
    # the 4 that static reaches, twice.
    assert relative_error(ours.double(), truth) < 1e-4
    # diffusers computes its schedule in float32 as well, and 1 - ᾱ_t/ᾱ_p near 1e-4 keeps three digits:
    # with eta and many steps it is diffusers that is off. One level of a pixel is 8e-3.
    assert error < 1e-3


# heun cannot start without signal; diffusers has no such option for it either.
PAIRS = [(v, s) for v in VARIANTS for s in SAMPLERS if s != "heun" or not v.startswith("zero SNR")]


@pytest.mark.parametrize(("variant", "sampler"), PAIRS)
def test_variants_agree_with_diffusers(variant: str, sampler: str, record_agreement: Record) -> None:
    for steps in (2, 7, 20):
        error = exact_difference(sampler, {**PLAIN, **VARIANTS[variant]}, steps)
        record_agreement(f"{sampler}, {variant}", "float64", steps, error)
        assert error < 1e-8


def test_the_heun_variant_of_dpmpp_2m_agrees_with_diffusers() -> None:
    config = {
        "_class_name": "DPMSolverMultistepScheduler",
        "solver_type": "heun",
        "timestep_spacing": "trailing",
    }
    assert exact_difference("dpmpp_2m", config, 20) < 1e-9


def test_ddim_ends_at_the_first_alpha_where_the_config_says_so() -> None:
    config = {**PLAIN, "_class_name": "DDIMScheduler", "set_alpha_to_one": False}
    assert exact_difference("ddim", config, 20, eta=0.5) < 1e-9


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_timesteps_are_those_of_the_ddpm_scheduler(spacing: str) -> None:
    schedule = NoiseSchedule.from_config(PLAIN)
    scheduler = DDPMScheduler(timestep_spacing=spacing)
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        ours = timesteps_for(schedule, steps, spacing)
        np.testing.assert_array_equal(ours, scheduler.timesteps.numpy()[:steps])


@pytest.mark.parametrize("config", [PLAIN, *({**PLAIN, **extra} for extra in VARIANTS.values())])
def test_noise_schedules_are_those_of_diffusers(config: dict[str, Any]) -> None:
    ours = NoiseSchedule.from_config(config).alphas_cumprod
    theirs = DDPMScheduler.from_config(config).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
