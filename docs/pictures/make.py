"""Makes the moving picture of the README: static becoming cats. None of the seeds is left out.

    python docs/pictures/make.py [MODEL]

Seeds 0 to 23 of the bundled model, the class of each drawn from its seed as the service does, DDIM, 50 steps, the
model's own guidance; the sample x_t after each evaluation, pixels doubled.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.animation import animate, frame_indices
from models.folder import Model, load_model
from models.generate import to_uint8
from models.latents import starting_noise
from models.samplers import SamplerTable, compile_table, update

HERE = Path(__file__).resolve().parent
ACROSS, DOWN, STEPS, SCALE = 8, 3, 50, 2


@torch.inference_mode()
def trajectory(model: Model, table: SamplerTable, seeds: range) -> list[Tensor]:
    """The samples x_t of all seeds, first the static, then one after each evaluation: (N, C, H, W) each."""
    x = torch.cat([starting_noise(seed, model.channels, model.height, model.width)[0] for seed in seeds])
    labels = torch.tensor([seed % len(model.class_names) for seed in seeds])
    null = torch.full_like(labels, model.null_class or 0)
    clip = torch.full((len(seeds),), table.clip)
    samples = [x]
    for timestep, row in zip(table.timesteps, table.coefficients, strict=True):
        t = torch.full_like(labels, int(timestep))
        own, without = (model.network(x, t, given, return_dict=False)[0] for given in (labels, null))
        out = without + model.default_guidance_scale * (own - without)
        columns = torch.tensor(row, dtype=torch.float32).expand(len(seeds), -1)
        x, _ = update(x, out, None, None, None, columns, clip)
        samples.append(x)
    return samples


def sheet(sample: Tensor) -> npt.NDArray[np.uint8]:
    """Pictures (N, C, H, W) side by side, row by row, pixels doubled."""
    pictures = to_uint8(sample)
    rows = [np.concatenate(list(pictures[n * ACROSS : (n + 1) * ACROSS]), axis=1) for n in range(DOWN)]
    return np.concatenate(rows, axis=0).repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def main() -> None:
    """Write fog-lifts.png."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent / "models" / "bundled" / "cats-32"
    model = load_model(folder)
    samples = trajectory(model, compile_table(model.schedule, "ddim", STEPS), range(ACROSS * DOWN))
    frames = [sheet(samples[index]) for index in frame_indices(len(samples), most=26)]
    (HERE / "fog-lifts.png").write_bytes(animate(frames, frame_ms=120, hold_ms=2500))


if __name__ == "__main__":
    main()
