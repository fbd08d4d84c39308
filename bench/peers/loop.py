"""The diffusers loop that the peers share: the library's own network and schedulers, used as its docs show."""

import io
import os
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from PIL import Image

SCHEDULERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}


class Loop:
    """A model folder and the sampling loop over it."""

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
        self.folder = os.environ["BENCH_MODEL"]
        self.device = os.environ.get("BENCH_DEVICE", "cpu")
        self.dtype = getattr(torch, os.environ.get("BENCH_DTYPE", "float32"))
        network = UNet2DModel.from_pretrained(self.folder, subfolder="unet").eval()
        self.config = network.config
        network = network.to(self.device, self.dtype)
        self.network = torch.compile(network) if os.environ.get("BENCH_COMPILE") else network

    @torch.inference_mode()
    def generate(self, bodies: list[dict[str, Any]]) -> list[bytes]:
        """PNGs of requests that have the sampler and the step count in common."""
        scheduler = SCHEDULERS[bodies[0]["sampler"]].from_pretrained(self.folder, subfolder="scheduler")
        scheduler.set_timesteps(bodies[0]["steps"])
        shape = (1, self.config.in_channels, self.config.sample_size, self.config.sample_size)
        generators = [torch.Generator().manual_seed(body["seed"]) for body in bodies]
        x = torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(self.device)
        labels = None
        if self.config.num_class_embeds:
            labels = torch.tensor([body["class_label"] for body in bodies], device=self.device)
        takes_generator = bodies[0]["sampler"] == "ddpm"
        for t in scheduler.timesteps:
            out = self.network(x.to(self.dtype), t, class_labels=labels).sample.float()
            extra = {"generator": generators if len(bodies) > 1 else generators[0]} if takes_generator else {}
            x = scheduler.step(out, t, x, **extra).prev_sample
        pixels = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).mul(255).round().to(torch.uint8).cpu().numpy()
        return [_png(each) for each in pixels]


def _png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
