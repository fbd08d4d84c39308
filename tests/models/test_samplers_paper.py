"""Samplers against the equations of their papers, where diffusers is no guide, and against each other."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.noise_schedule import NoiseSchedule
from models.samplers import COLUMNS, SAMPLERS, SamplerTable, compile_table
from models.spacing import timesteps_for
from tests.models.toys import Network, next_after, relative_error, start, toy_network, walk64

FREE = NoiseSchedule.from_config({"clip_sample": False, "timestep_spacing": "trailing"})


def kept_at(schedule: NoiseSchedule, timestep: int) -> float:
    return 1.0 if timestep < 0 else float(schedule.alphas_cumprod[timestep])


def ddim_by_equation_12(
    timesteps: np.ndarray, network: Network, x: Tensor, eta: float, generator: torch.Generator
) -> Tensor:
    for t, p in zip(timesteps.tolist(), next_after(timesteps), strict=True):
        kept, following = kept_at(FREE, t), kept_at(FREE, p)
        epsilon = network(x, t)
        spread = eta * math.sqrt((1 - following) / (1 - kept)) * math.sqrt(1 - kept / following)
        x = (
            math.sqrt(following) * (x - math.sqrt(1 - kept) * epsilon) / math.sqrt(kept)
            + math.sqrt(max(1 - following - spread**2, 0)) * epsilon
        )
        if spread:
            x = x + spread * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return x


# diffusers steps to t - T // steps: on the list only with leading, or where steps divides T.
@pytest.mark.parametrize("steps", [7, 48, 501, 999])
@pytest.mark.parametrize("spacing", ["trailing", "linspace", "quadratic"])
def test_ddim_steps_to_the_next_timestep_of_the_list(spacing: str, steps: int) -> None:
    network = toy_network(FREE)
    (x, ours), (_, theirs) = start(torch.float64), start(torch.float64)
    expected = ddim_by_equation_12(timesteps_for(FREE, steps, spacing), network, x, 0.4, theirs)
    table = compile_table(FREE, "ddim", steps, 0.4, spacing)
    assert relative_error(walk64(table, network, x, ours), expected) < 1e-10


def dpmpp_2m_by_algorithm_2(timesteps: np.ndarray, network: Network, x: Tensor) -> Tensor:
    before: tuple[float, Tensor] | None = None
    for t, p in zip(timesteps.tolist(), next_after(timesteps), strict=True):
        alpha, sigma = math.sqrt(kept_at(FREE, t)), math.sqrt(1 - kept_at(FREE, t))
        x0 = (x - sigma * network(x, t)) / alpha
        if p < 0:
            return x0
        alpha_p, sigma_p = math.sqrt(kept_at(FREE, p)), math.sqrt(1 - kept_at(FREE, p))
        h = math.log(alpha_p / sigma_p) - math.log(alpha / sigma)
        blend = x0
        if before is not None:
            r = before[0] / h
            blend = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before[1]
        x = sigma_p / sigma * x - alpha_p * (math.exp(-h) - 1) * blend
        before = (h, x0)
    raise AssertionError("a list ends at the clean picture")


# Leading and linspace with every timestep fail in diffusers: its lists need steps + 1 places there.
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_dpmpp_2m_walks_every_timestep(spacing: str) -> None:
    network = toy_network(FREE)
    x, generator = start(torch.float64)
    expected = dpmpp_2m_by_algorithm_2(timesteps_for(FREE, 1000, spacing), network, x)
    table = compile_table(FREE, "dpmpp_2m", 1000, spacing=spacing)
    assert relative_error(walk64(table, network, x, generator), expected) < 1e-10


def in_x_and_out(table: SamplerTable) -> tuple[np.ndarray, np.ndarray]:
    """x' = A·x + B·out, where x0 is neither clipped nor remembered."""
    c = {name: table.column(name) for name in COLUMNS}
    return (
        c["c_x"] + c["c_x0"] * c["a_x"] + c["c_eps"] * c["e_x"],
        c["c_x0"] * c["a_o"] + c["c_eps"] * c["e_o"],
    )


def test_ddpm_without_clipping_is_algorithm_2() -> None:
    table = compile_table(FREE, "ddpm", 1000)
    kept = FREE.alphas_cumprod[::-1]
    alpha = kept / np.append(kept[1:], 1.0)
    of_x, of_epsilon = in_x_and_out(table)
    c = (1 - alpha) / np.sqrt(1 - kept)
    np.testing.assert_allclose(of_x, 1 / np.sqrt(alpha), rtol=1e-9)
    np.testing.assert_allclose(of_epsilon, -c / np.sqrt(alpha), rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 20, 1000])
def test_ddim_with_eta_1_is_ddpm(steps: int) -> None:
    ddim, ddpm = compile_table(FREE, "ddim", steps, eta=1.0), compile_table(FREE, "ddpm", steps)
    for ours, theirs in zip(in_x_and_out(ddim), in_x_and_out(ddpm), strict=True):
        # √(1 - ᾱ_p - s²) loses half its digits where eta = 1 makes it small.
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    np.testing.assert_allclose(ddim.column("c_noise"), ddpm.column("c_noise"), atol=1e-12)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc", "heun"])
def test_first_order_steps_are_ddim(sampler: str) -> None:
    ddim = in_x_and_out(compile_table(FREE, "ddim", 10))
    other = in_x_and_out(compile_table(FREE, sampler, 10))
    for ours, theirs in zip(other, ddim, strict=True):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
        assert ours[-1] == pytest.approx(theirs[-1], rel=1e-12)


def test_fixed_large_draws_beta_and_no_noise_at_the_end() -> None:
    schedule = NoiseSchedule.from_config({"variance_type": "fixed_large", "timestep_spacing": "trailing"})
    noise = compile_table(schedule, "ddpm", 1000).column("c_noise")
    np.testing.assert_allclose(noise[:-1] ** 2, np.linspace(0.0001, 0.02, 1000)[:0:-1], rtol=1e-9)
    assert noise[-1] == 0


@pytest.mark.parametrize(
    ("sampler", "eta", "draws"),
    [("ddpm", 0.0, 19), ("ddim", 0.0, 0), ("ddim", 0.5, 19), ("dpmpp_2m", 0.0, 0), ("unipc", 0.0, 0)],
)
def test_noise_is_drawn_only_where_a_row_adds_some(sampler: str, eta: float, draws: int) -> None:
    table = compile_table(FREE, sampler, 20, eta)
    assert (table.evaluations, table.noise_draws) == (20, draws)


def test_heun_takes_two_evaluations_a_step_but_for_the_last() -> None:
    table = compile_table(FREE, "heun", 3)
    assert table.timesteps.tolist() == [999, 666, 666, 332, 332]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_gives_x0_itself(sampler: str) -> None:
    table = compile_table(FREE, sampler, 1)
    network = toy_network(FREE)
    x, generator = start(torch.float64)
    c = dict(zip(COLUMNS, table.coefficients[0], strict=True))
    x0 = c["a_x"] * x + c["a_o"] * network(x, 999)
    assert relative_error(walk64(table, network, x, generator), x0) < 1e-12
