"""The forward process: a picture drowned in noise, in one jump or step by step (Ho et al. 2020)."""

import torch
from torch import Tensor


def add_noise(x0: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = √ᾱ_t x0 + √(1-ᾱ_t) ε: the closed form, Ho et al. 2020, equation 4.

    Args:
        x0: clean pictures (B, C, H, W) in [-1, 1].
        noise: standard normal, same shape.
        timesteps: int64 (B,), or (1,) for all.
        alphas_cumprod: (T,), float32 or float64; the roots are taken in its own precision.

    Returns: x_t, shape and dtype of ``x0``.
    """
    kept = alphas_cumprod[timesteps].view(-1, *[1] * (x0.dim() - 1))
    return kept.sqrt().to(x0.dtype) * x0 + (1 - kept).sqrt().to(x0.dtype) * noise


def forward_step(x: Tensor, noise: Tensor, timestep: int, alphas_cumprod: Tensor) -> Tensor:
    """x_t = √(1-β_t) x_{t-1} + √β_t ε: one step of the chain, Ho et al. 2020, equation 2.

    ``x`` is x_{t-1} (B, C, H, W), for t = 0 the picture itself; ``noise`` is fresh at each step.
    """
    before = alphas_cumprod[timestep - 1] if timestep > 0 else torch.ones_like(alphas_cumprod[0])
    alpha = alphas_cumprod[timestep] / before
    return alpha.sqrt().to(x.dtype) * x + (1 - alpha).sqrt().to(x.dtype) * noise
