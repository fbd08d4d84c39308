"""On Gaussian data the best network is known and the flow has a closed form: errors fall as the order says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.noise_schedule import NoiseSchedule
from models.samplers import COLUMNS, compile_table
from tests.models.toys import start, walk64

MEAN, SPREAD = 0.3, 0.4
# λ = ln(α/σ) even in t from -4 to 3, so that halving the steps in t halves them in λ.
LAMBDAS = np.linspace(3, -4, 2049)
SCHEDULE = NoiseSchedule(1 / (1 + np.exp(-2 * LAMBDAS)), clip_sample_range=None)


def marginal(timestep: int) -> tuple[float, float]:
    """Mean and standard deviation of x_t for data N(MEAN, SPREAD²)."""
    kept = float(SCHEDULE.alphas_cumprod[timestep])
    return kept**0.5 * MEAN, (kept * SPREAD**2 + 1 - kept) ** 0.5


def best_epsilon(x: Tensor, timestep: int) -> Tensor:
    """E[ε | x_t]: -σ times the score of N(mean, std²)."""
    mean, std = marginal(timestep)
    return (1 - float(SCHEDULE.alphas_cumprod[timestep])) ** 0.5 * (x - mean) / std**2


def exact_flow(x: Tensor) -> Tensor:
    """The flow keeps (x - mean)/std; at t = 0 every sampler's last step gives x0 as it sees it there."""
    first_mean, first_std = marginal(2048)
    mean, std = marginal(0)
    x = mean + std * (x - first_mean) / first_std
    kept = float(SCHEDULE.alphas_cumprod[0])
    return (x - (1 - kept) ** 0.5 * best_epsilon(x, 0)) / kept**0.5


# UniPC-p with its corrector is of order p + 1 (Zhao et al. 2023, theorem 3.1).
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("heun", 2), ("unipc", 3)])
def test_the_error_falls_with_steps_as_the_order_says(sampler: str, order: int) -> None:
    x, generator = start(torch.float64)
    errors = []
    for steps in (33, 65, 129, 257):
        table = compile_table(SCHEDULE, sampler, steps, spacing="linspace")
        errors.append(float((walk64(table, best_epsilon, x, generator) - exact_flow(x)).abs().max()))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert slopes[-1] == pytest.approx(order, abs=0.1), (errors, slopes)


def test_second_order_beats_first_order_at_ten_steps() -> None:
    x, generator = start(torch.float64)
    error = {
        sampler: float(
            (
                walk64(compile_table(SCHEDULE, sampler, 10, spacing="linspace"), best_epsilon, x, generator)
                - exact_flow(x)
            )
            .abs()
            .max()
        )
        for sampler in ("ddim", "dpmpp_2m", "unipc")
    }
    assert error["dpmpp_2m"] < error["ddim"] / 2
    assert error["unipc"] < error["ddim"] / 2


def moments(steps: int, variance_type: str) -> tuple[float, float]:
    """Mean and spread of ddpm's pictures: with this network x' is linear in x, so both are exact sums."""
    schedule = NoiseSchedule(
        SCHEDULE.alphas_cumprod.copy(),
        clip_sample_range=None,
        variance_type="fixed_large" if variance_type == "fixed_large" else "fixed_small",
    )
    table = compile_table(schedule, "ddpm", steps, spacing="linspace")
    mean, variance = 0.0, 1.0
    for timestep, row in zip(table.timesteps, table.coefficients, strict=True):
        c = dict(zip(COLUMNS, row.tolist(), strict=True))
        zero = best_epsilon(torch.zeros(1, dtype=torch.float64), int(timestep)).item()
        slope = best_epsilon(torch.ones(1, dtype=torch.float64), int(timestep)).item() - zero
        gain = c["c_x"] + c["c_x0"] * (c["a_x"] + c["a_o"] * slope)
        mean = gain * mean + c["c_x0"] * c["a_o"] * zero
        variance = gain**2 * variance + c["c_noise"] ** 2
    return mean, variance**0.5


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
def test_ddpm_draws_from_the_data_as_steps_grow(variance_type: str) -> None:
    kept = float(SCHEDULE.alphas_cumprod[0])
    # The last step's x0 is a mean, so the spread that x0 has given x at t = 0 is missing.
    visible = SPREAD * (kept * SPREAD**2 / (kept * SPREAD**2 + 1 - kept)) ** 0.5
    errors = []
    for steps in (129, 257, 513, 1025):
        mean, spread = moments(steps, variance_type)
        errors.append(abs(spread - visible))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert errors[-1] < 0.02
    assert 0.8 < slopes[-1] < 1.3, (errors, slopes)
