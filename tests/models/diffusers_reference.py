"""The loops of diffusers 0.42.1, walked along a list of timesteps that we give.

Its own lists differ between its classes and from ours, so the list is set by hand; the arithmetic is
diffusers'. For float64 its float32 schedule is replaced too, and nothing else.
"""

from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from tests.models.toys import Network, next_after


class Gap(int):
    """What DDIMScheduler takes its step width from: T // Gap is the gap itself."""

    def __rfloordiv__(self, other: int) -> int:
        return int(self)


class Exact(DPMSolverMultistepScheduler):
    """DPMSolverMultistepScheduler rounds the sample to float32 in each step; this one hands it through."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **kwargs: Any) -> Any:
        self.exact = sample
        return super().step(model_output, timestep, sample, **kwargs)

    def dpm_solver_first_order_update(self, outputs: Any, *, sample: Tensor, **kwargs: Any) -> Tensor:
        return super().dpm_solver_first_order_update(outputs, sample=self.exact, **kwargs)

    def multistep_dpm_solver_second_order_update(self, outputs: Any, *, sample: Tensor, **kwargs: Any) -> Tensor:
        return super().multistep_dpm_solver_second_order_update(outputs, sample=self.exact, **kwargs)


def reference(
    sampler: str,
    config: dict[str, Any],
    timesteps: np.ndarray,
    network: Network,
    x: Tensor,
    generator: torch.Generator,
    exact: np.ndarray | None = None,
    eta: float = 0.0,
) -> Tensor:
    """The final sample. ``exact``: our alphas_cumprod for a float64 run, None for diffusers as it is."""
    if sampler == "ddpm":
        return _ddpm(config, timesteps, network, x, generator, exact)
    if sampler == "ddim":
        return _ddim(config, timesteps, network, x, generator, exact, eta)
    return _by_sigmas(sampler, config, timesteps, network, x, exact)


def _ddpm(
    config: dict[str, Any],
    timesteps: np.ndarray,
    network: Network,
    x: Tensor,
    generator: torch.Generator,
    exact: np.ndarray | None,
) -> Tensor:
    scheduler = DDPMScheduler.from_config(config)
    scheduler.set_timesteps(timesteps=timesteps.tolist())
    if exact is not None:
        scheduler.alphas_cumprod, scheduler.one = torch.tensor(exact), torch.tensor(1.0).double()
    for t in timesteps.tolist():
        step = scheduler.step(network(x, t), t, x, generator=generator)
        x = step.prev_sample
    # With trailing timesteps diffusers adds noise in the last step too, and with fixed_large that is
    # visible; algorithm 2 of the paper has z = 0 there. The mean of the last step is x0 itself.
    return step.pred_original_sample if config.get("variance_type") == "fixed_large" else x


def _ddim(
    config: dict[str, Any],
    timesteps: np.ndarray,
    network: Network,
    x: Tensor,
    generator: torch.Generator,
    exact: np.ndarray | None,
    eta: float,
) -> Tensor:
    scheduler = DDIMScheduler.from_config(config)
    if exact is not None:
        final = 1.0 if scheduler.config.set_alpha_to_one else exact[0]
        scheduler.alphas_cumprod = torch.tensor(exact)
        scheduler.final_alpha_cumprod = torch.tensor(final).double()
    for t, following in zip(timesteps.tolist(), next_after(timesteps), strict=True):
        # diffusers goes to t - T // steps, which is off our list where steps does not divide T.
        scheduler.num_inference_steps = Gap(t - following)
        x = scheduler.step(network(x, t), t, x, eta=eta, generator=generator).prev_sample
    return x


def _by_sigmas(
    sampler: str,
    config: dict[str, Any],
    timesteps: np.ndarray,
    network: Network,
    x: Tensor,
    exact: np.ndarray | None,
) -> Tensor:
    classes = {
        "dpmpp_2m": Exact if exact is not None else DPMSolverMultistepScheduler,
        "unipc": UniPCMultistepScheduler,
        "heun": HeunDiscreteScheduler,
    }
    scheduler = classes[sampler].from_config(config)
    if sampler == "unipc":
        scheduler.set_timesteps(len(timesteps))
        scheduler.timesteps = torch.tensor(timesteps)
    else:
        scheduler.set_timesteps(timesteps=timesteps.tolist())
    kept = scheduler.alphas_cumprod.double().numpy() if exact is None else exact
    sigmas = ((1 - kept) / np.where(kept == 0, 2.0**-24, kept))[timesteps] ** 0.5
    if sampler == "heun":
        sigmas = np.concatenate([sigmas[:1], np.repeat(sigmas[1:], 2)])
    scheduler.sigmas = torch.tensor([*sigmas, 0.0]).to(x.dtype)
    # Heun works on x/α. With trailing timesteps diffusers starts from σ/α times the static.
    y = x * (scheduler.sigmas[0] ** 2 + 1) ** 0.5 if sampler == "heun" else x
    for t in scheduler.timesteps:
        out = network(scheduler.scale_model_input(y, t), int(t))
        y = scheduler.step(out, t, y).prev_sample
    return y
