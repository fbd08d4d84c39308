"""The forward process in one jump and step by step is the same process."""

import pytest
import torch
from diffusers import DDPMScheduler

from models.forward_process import add_noise, forward_step
from models.noise_schedule import NoiseSchedule

KEPT = torch.tensor(NoiseSchedule.from_config({}).alphas_cumprod.copy())


def chain(x: torch.Tensor, last: int, generator: torch.Generator) -> torch.Tensor:
    for t in range(last + 1):
        x = forward_step(x, torch.randn(x.shape, generator=generator, dtype=x.dtype), t, KEPT)
    return x


@pytest.mark.parametrize("last", [0, 1, 99, 999])
def test_steps_compose_to_the_closed_form(last: int) -> None:
    # A step is linear in x and noise: follow what is left of x, and the variance of all noise so far.
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    signal, variance = one, zero
    for t in range(last + 1):
        signal = forward_step(signal, zero, t, KEPT)
        variance = forward_step(variance.sqrt(), zero, t, KEPT) ** 2 + forward_step(zero, one, t, KEPT) ** 2
    timestep = torch.tensor([last])
    torch.testing.assert_close(signal, add_noise(one, zero, timestep, KEPT), rtol=1e-12, atol=0)
    torch.testing.assert_close(variance, add_noise(zero, one, timestep, KEPT) ** 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("last", [9, 299])
def test_both_ways_draw_from_one_distribution(last: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.full((20_000, 1), 0.8, dtype=torch.float64)
    stepped = chain(x0, last, generator)
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    jumped = add_noise(x0, noise, torch.tensor([last]), KEPT)
    # Four standard errors of a mean and of a spread at 20,000 draws.
    spread = float(jumped.std())
    assert float(stepped.mean() - jumped.mean()) == pytest.approx(0, abs=4 * spread * (2 / 20_000) ** 0.5)
    assert float(stepped.std()) == pytest.approx(spread, rel=4 / 20_000**0.5)
    quantiles = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    torch.testing.assert_close(stepped.quantile(quantiles), jumped.quantile(quantiles), rtol=0, atol=0.07 * spread)


def test_noise_is_added_as_diffusers_adds_it() -> None:
    generator = torch.Generator().manual_seed(1)
    x0, noise = torch.rand((4, 3, 8, 8), generator=generator), torch.randn((4, 3, 8, 8), generator=generator)
    timesteps = torch.tensor([0, 250, 700, 999])
    expected = DDPMScheduler().add_noise(x0, noise, timesteps)
    # diffusers has 1 - ᾱ_0 = 1e-4 in float32, so its root is off by 6e-8/2e-2, times noise up to 4.
    torch.testing.assert_close(add_noise(x0, noise, timesteps, KEPT), expected, rtol=0, atol=1.2e-5)


def test_the_last_timestep_is_static() -> None:
    x0 = torch.ones(1, 3, 4, 4)
    left = add_noise(x0, torch.zeros_like(x0), torch.tensor([999]), KEPT)
    assert float(left.max()) < 0.01
