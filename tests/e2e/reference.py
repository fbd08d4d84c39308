"""The reference: a plain loop over diffusers' own scheduler and network, one picture at a time."""

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from jobs.settings import BUNDLED_MODEL

NULL_CLASS = 8
SCHEDULERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}


@torch.inference_mode()
def reference_picture(
    sampler: str, steps: int, seed: int, label: int, guidance_scale: float = 1.0, eta: float = 0.0
) -> npt.NDArray[np.uint8]:
    """The picture of a seed, (32, 32, 3), as diffusers makes it in float32 on the CPU."""
    network = UNet2DModel.from_pretrained(BUNDLED_MODEL / "unet", low_cpu_mem_usage=False).eval()
    scheduler = SCHEDULERS[sampler].from_pretrained(BUNDLED_MODEL / "scheduler")
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, 3, 32, 32), generator=generator)
    options = {"eta": eta} if sampler == "ddim" else {}
    for t in scheduler.timesteps:
        out = network(x, t, class_labels=torch.tensor([label])).sample
        if guidance_scale != 1.0:
            null = network(x, t, class_labels=torch.tensor([NULL_CLASS])).sample
            out = null + guidance_scale * (out - null)
        x = scheduler.step(out, t, x, generator=generator, **options).prev_sample
    levels = (x[0] / 2 + 0.5).clamp(0, 1).mul(255).round()
    return levels.to(torch.uint8).permute(1, 2, 0).numpy()
