"""The sampling loop, offline: one table, many seeds. The service's engine does the same, row by row."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.errors import InvalidSampling
from models.folder import Model
from models.latents import starting_noise
from models.samplers import SamplerTable, update

OnStep = Callable[[int, Tensor], None]


def generate(
    model: Model,
    table: SamplerTable,
    seeds: Sequence[int],
    class_labels: Sequence[int] | None,
    guidance_scale: float = 1.0,
    batch_size: int = 16,
    on_step: OnStep | None = None,
) -> Tensor:
    """Make one picture per seed: float32 (N, C, H, W) on the CPU, nominally in [-1, 1].

    Each picture has its own CPU ``torch.Generator``: first the static, randn((1, C, H, W)), then one draw
    of that shape for each evaluation whose c_noise is not 0. So a picture depends on its seed and label,
    not on its neighbours.

    Args:
        class_labels: one per seed for a model with classes, None for one without.
        guidance_scale: 1 for none; else the network is also asked about the null label.
        on_step: called after each evaluation of each batch with the evaluation's index and x0.

    Raises:
        InvalidSampling: labels missing, superfluous or unknown; guidance without a null label; a seed
            outside 0 … 2³²-1.
    """
    check_labels(model, seeds, class_labels, guidance_scale)
    pictures = []
    for first in range(0, len(seeds), batch_size):
        chosen = slice(first, first + batch_size)
        labels = None if class_labels is None else torch.tensor(class_labels[chosen])
        starts = [starting_noise(seed, model.channels, model.height, model.width) for seed in seeds[chosen]]
        noise, generators = torch.cat([start for start, _ in starts]), [rest for _, rest in starts]
        pictures.append(denoise(model, table, noise, generators, labels, guidance_scale, on_step))
    return torch.cat(pictures) if pictures else torch.empty(0, model.channels, model.height, model.width)


def check_labels(
    model: Model, seeds: Sequence[int], class_labels: Sequence[int] | None, guidance_scale: float
) -> None:
    """Refuse what cannot be sampled; see ``generate``."""
    classes = len(model.class_names) + (model.null_class is not None)
    if (class_labels is None) != (classes == 0):
        need = f"one label below {classes} for each picture" if classes else "no labels"
        raise InvalidSampling("class_label", f"{model.id} takes {need}")
    if class_labels is not None:
        if len(class_labels) != len(seeds):
            raise InvalidSampling("class_label", f"{len(seeds)} seeds but {len(class_labels)} labels")
        known = {*range(len(model.class_names)), model.null_class}
        for label in class_labels:
            if label not in known:
                raise InvalidSampling("class_label", f"{model.id} has no class {label}")
    if guidance_scale != 1 and model.null_class is None:
        raise InvalidSampling("guidance_scale", f"{model.id} has no null class, so it takes no guidance")


@torch.no_grad()
def denoise(
    model: Model,
    table: SamplerTable,
    start: Tensor,
    generators: Sequence[torch.Generator],
    labels: Tensor | None,
    guidance_scale: float = 1.0,
    on_step: OnStep | None = None,
) -> Tensor:
    """Run a whole table on ``start``, float32 (B, C, H, W); the picture comes back on the CPU.

    ``generators``: one CPU generator per picture, from which the static of ``start`` is already drawn.
    """
    device = next(model.network.parameters()).device
    x = start.to(device)
    rows = torch.tensor(table.coefficients, dtype=torch.float32, device=device)
    clip = torch.full((len(x),), table.clip, device=device)
    thresholded = None
    if table.thresholding is not None:
        thresholded = torch.ones(len(x), dtype=torch.bool, device=device)
    draws = table.column("c_noise") != 0
    labels = None if labels is None else labels.to(device)
    x0_prev = x0_prev2 = torch.zeros_like(x)
    for index, timestep in enumerate(table.timesteps):
        out = predict(model, x, torch.full((len(x),), int(timestep), device=device), labels, guidance_scale)
        noise = None
        if draws[index]:
            fresh = [torch.randn((1, *start.shape[1:]), generator=generator) for generator in generators]
            noise = torch.cat(fresh).to(device)
        x, x0 = update(
            x, out, x0_prev, x0_prev2, noise, rows[index].expand(len(x), -1), clip,
            table.thresholding, thresholded,
        )  # fmt: skip
        x0_prev2, x0_prev = x0_prev, x0
        if on_step is not None:
            on_step(index, x0)
    return x.cpu()


def predict(model: Model, x: Tensor, timesteps: Tensor, labels: Tensor | None, guidance_scale: float) -> Tensor:
    """The network's output, float32 (B, C, H, W), guided if asked for.

    Classifier-free guidance, Ho & Salimans 2022, equation 6, with w + 1 = ``guidance_scale``:
    out = out(null) + guidance_scale · (out(label) - out(null)).
    """
    dtype = next(model.network.parameters()).dtype
    if guidance_scale == 1 or labels is None:
        out: Tensor = model.network(x.to(dtype), timesteps, labels, return_dict=False)[0]
        return out.float()
    assert model.null_class is not None
    both = torch.cat([torch.full_like(labels, model.null_class), labels])
    out = model.network(x.to(dtype).repeat(2, 1, 1, 1), timesteps.repeat(2), both, return_dict=False)[0]
    plain, conditioned = out.float().chunk(2)
    return plain + guidance_scale * (conditioned - plain)


def to_uint8(x: Tensor) -> npt.NDArray[np.uint8]:
    """Pixels uint8 (N, H, W, C) of samples (N, C, H, W): round(clamp(x/2 + 1/2, 0, 1) · 255)."""
    scaled = (x.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    pixels: npt.NDArray[np.uint8] = (scaled * 255).round().astype(np.uint8)
    return pixels
