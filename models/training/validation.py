"""How well a network predicts on pictures it was not trained on, by one measure for all recipes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.forward_process import add_noise
from models.noise_schedule import PredictionType
from models.pictures.source import Labels, Pixels

CHUNK = 256  # pictures in one forward pass


def noise_of(prediction: PredictionType, x_t: Tensor, out: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise that a prediction implies: out itself, αv + σx_t, or (x_t - αx0)/σ (Salimans and Ho 2022)."""
    if prediction == "epsilon":
        return out
    if prediction == "v_prediction":
        return alpha * out + sigma * x_t
    return (x_t - alpha * out) / sigma


@dataclass(frozen=True)
class Validation:
    """Held-out pictures uint8 (N, H, W, 3) with labels (N,), and the noise and timesteps that are drawn once for
    them: the same for every network, so that a difference between two is not one of luck."""

    pixels: Pixels
    labels: Labels
    noise: Tensor
    timesteps: Tensor

    @classmethod
    def of(cls, pixels: Pixels, labels: Labels, timesteps: int = 1000, seed: int = 0) -> "Validation":
        """Timesteps lie evenly over 0 … `timesteps` - 1, in an order drawn from the seed."""
        generator, n = torch.Generator().manual_seed(seed), len(labels)
        noise = torch.randn(n, 3, *pixels.shape[1:3], generator=generator)
        even = (torch.arange(n) * timesteps // n)[torch.randperm(n, generator=generator)]
        return cls(pixels, labels, noise, even)

    @torch.no_grad()
    def loss(self, network: Any, alphas_cumprod: Tensor, prediction: PredictionType, classes: bool) -> float:
        """Mean squared error of the noise that the network's predictions imply: the unweighted loss of Ho et al.
        2020, equation 14, whatever the network was trained to predict and however that was weighted.

        `network` is a UNet2DModel in eval mode, float32; `alphas_cumprod` (T,).
        """
        device, total = network.device, 0.0
        kept = alphas_cumprod.to(device, torch.float64)
        for first in range(0, len(self.labels), CHUNK):
            part = slice(first, first + CHUNK)
            x0 = torch.from_numpy(self.pixels[part]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            noise, t = self.noise[part].to(device), self.timesteps[part].to(device)
            x_t = add_noise(x0, noise, t, kept)
            labels = torch.from_numpy(np.asarray(self.labels[part])).to(device) if classes else None
            out = network(x_t, t, class_labels=labels).sample
            alpha, sigma = (v.sqrt().float().view(-1, 1, 1, 1) for v in (kept[t], 1 - kept[t]))
            error = noise_of(prediction, x_t, out, alpha, sigma) - noise
            total += float(error.square().mean(dim=(1, 2, 3)).double().sum())
        return total / len(self.labels)
