"""(1) The network in float16 against float32: the same seeds through the engine, pixel by pixel; and overflow."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.engine_loop import row_of
from bench.gpu_parts.notes import Notes, Unfit
from bench.gpu_parts.rates import inputs_of
from bench.gpu_parts.setup import Setup
from jobs.settings import Settings
from models.folder import load_model
from worker.build import build
from worker.engine import Engine
from worker.row import RowDone

CASES = tuple((sampler, steps) for sampler in ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun") for steps in (10, 50))
PICTURES = 16
CLOSE = 2
"""Levels of 255 that nobody sees."""
FLOAT16_MAX = 65504.0


def run(notes: Notes, setup: Setup) -> None:
    """Both networks, every sampler, few steps and many."""
    for name, folder in setup.models().items():
        notes.once(f"{name}, largest number", largest, folder, setup)
        engines: dict[str, Engine] = {}
        for sampler, steps in setup.pick(CASES, (("ddpm", 3), ("dpmpp_2m", 3))):
            notes.once(f"{name}, {sampler} {steps}", difference, engines, folder, sampler, steps, setup)


def engine_of(folder: Path, precision: str, setup: Setup, **settings: Any) -> Engine:
    """The service's own engine."""
    places = setup.places
    chosen: dict[str, Any] = {
        "device": setup.device,
        "precision": precision,
        "batching": "fast",
        "max_batch_places": places,
    }
    chosen |= {"pool_rows": 2 * places, "models": (str(folder),)}
    return next(iter(build(Settings(**(chosen | settings))).values())).engine


def difference(
    engines: dict[str, Engine], folder: Path, sampler: str, steps: int, setup: Setup
) -> dict[str, float]:
    """How far the pictures are apart, in levels of 255. `engines`, by precision, are made when first needed."""
    both = ("float32", setup.half)
    for precision in both:
        if precision not in engines:
            engines[precision] = engine_of(folder, precision, setup)
    count = setup.pick(PICTURES, 2)
    one, other = (pictures(engines[precision], sampler, steps, count) for precision in both)
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return {
        "pictures": count,
        "most": int(apart.max()),
        "mean": float(apart.mean()),
        "equal": float((apart == 0).mean()),
        "within_2": float((apart <= CLOSE).mean()),
    }


def pictures(engine: Engine, sampler: str, steps: int, count: int) -> npt.NDArray[np.uint8]:
    """The pixels of seeds 0 … count - 1, a row each. Raises `Unfit` when one became NaN or infinite."""
    engine.add([row_of(engine.model, str(seed), sampler, steps, seed) for seed in range(count)])
    done: dict[int, bytes] = {}
    while not engine.idle:
        for row in engine.tick().left:
            if not isinstance(row, RowDone):
                raise Unfit(f"seed {row.key}: {row.detail}")
            done[int(row.key)] = row.pixels
    return np.stack([np.frombuffer(done[seed], dtype=np.uint8) for seed in range(count)])


@torch.inference_mode()
def largest(folder: Path, setup: Setup) -> dict[str, Any]:
    """The largest number that any layer puts out, at timesteps from first to last, in float32."""
    model = load_model(folder, device=setup.device, dtype=torch.float32)
    found: dict[str, float] = {}

    def hook(name: str) -> Any:
        def note(_: Any, __: Any, out: Any) -> None:
            if isinstance(out, torch.Tensor):
                found[name] = max(found.get(name, 0.0), float(out.abs().max()))

        return note

    for name, module in model.network.named_modules():
        module.register_forward_hook(hook(name or "output"))
    x, _, labels = inputs_of(model, 8, setup)
    timesteps = torch.linspace(0, model.schedule.num_train_timesteps - 1, 8, device=setup.device).long()
    model.network(x, timesteps, class_labels=labels, return_dict=False)
    layer = max(found, key=lambda name: found[name])
    return {"layer": layer, "largest": found[layer], "share_of_float16": found[layer] / FLOAT16_MAX}
