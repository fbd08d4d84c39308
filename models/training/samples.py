"""Pictures drawn from a network in training, to look at."""

from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from PIL import Image


@torch.no_grad()
def draw_samples(
    network: Any, scheduler_config: dict[str, Any], labels: list[int], steps: int, guidance: float, null: int | None
) -> NDArray[np.uint8]:
    """One picture for each label, with seeds 0, 1, 2 …: uint8 (N, size, size, 3).

    DDIM with eta 0 (Song et al. 2021), classifier-free guidance (Ho and Salimans 2022) where `guidance` is not 1.
    A network without classes gets `null` None; the labels then only count the pictures.
    """
    scheduler = DDIMScheduler.from_config(scheduler_config)
    scheduler.set_timesteps(steps)
    device, size, n = network.device, network.config.sample_size, len(labels)
    x = torch.cat([torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(k)) for k in range(n)])
    x = x.to(device)
    wanted = torch.tensor(labels, device=device) if null is not None else None
    for t in scheduler.timesteps:
        out = network(x, t, class_labels=wanted).sample
        if null is not None and guidance != 1:
            free = network(x, t, class_labels=torch.full_like(torch.tensor(labels), null).to(device)).sample
            out = free + guidance * (out - free)
        x = scheduler.step(out, t, x).prev_sample
    levels: NDArray[np.uint8] = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return levels


def grid(pictures: NDArray[np.uint8], columns: int, scale: int = 2) -> Image.Image:
    """Pictures (N, H, W, 3) in rows of `columns`, each pixel `scale` × `scale`; what is missing stays white."""
    n, height, width, _ = pictures.shape
    rows = -(-n // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for k, picture in enumerate(pictures):
        y, x = k // columns * height, k % columns * width
        sheet[y : y + height, x : x + width] = picture
    return Image.fromarray(sheet).resize((columns * width * scale, rows * height * scale), Image.Resampling.NEAREST)
