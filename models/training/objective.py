"""The training objective."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.forward_process import add_noise
from models.training.settings import PredictionType


def target_of(prediction: PredictionType, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network should answer: the noise (Ho et al. 2020), the picture, or v = αε - σx0
    (Salimans and Ho 2022, section 4). All tensors broadcast against (N, C, H, W)."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return x0
    return alpha * noise - sigma * x0


def min_snr_weight(prediction: PredictionType, snr: Tensor, gamma: float) -> Tensor:
    """Weight of each example's squared error, so that its weight on x0 is min(SNR, gamma).

    Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", section 3.4.
    """
    capped = snr.clamp(max=gamma)
    if prediction == "epsilon":
        return capped / snr
    if prediction == "sample":
        return capped
    return capped / (snr + 1)


def denoising_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    prediction: PredictionType = "epsilon",
    min_snr_gamma: float | None = None,
) -> Tensor:
    """Mean squared error of one prediction: Ho et al. 2020, algorithm 1 and equation 14.

    x0, noise: float32 (N, C, H, W), x0 in [-1, 1]; timesteps: int64 (N,); alphas_cumprod: (T,).
    `network(x_t, timesteps)` returns its prediction in the shape of x_t. Returns a float32 scalar.
    """
    x_t = add_noise(x0, noise, timesteps, alphas_cumprod)
    a_bar = alphas_cumprod[timesteps].to(x0.dtype).view(-1, 1, 1, 1)
    target = target_of(prediction, x0, noise, a_bar.sqrt(), (1 - a_bar).sqrt())
    error = (network(x_t, timesteps).float() - target).square().mean(dim=(1, 2, 3))
    if min_snr_gamma is not None:
        snr = (a_bar / (1 - a_bar)).flatten()
        error = error * min_snr_weight(prediction, snr, min_snr_gamma)
    return error.mean()


def rate_factor(progress: float, step: int, warmup_steps: int, constant: bool) -> float:
    """Share of the full learning rate: linear over the first steps, then half a cosine to 0 at progress 1
    (Loshchilov and Hutter 2017), or constant."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    if constant:
        return warm
    return warm * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(1.0, progress), dtype=torch.float64)).item())
