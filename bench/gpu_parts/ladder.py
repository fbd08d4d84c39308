"""(3) Which batch sizes compute equal bits, and what keeping to them costs."""

from pathlib import Path
from typing import Any

import torch

from bench import engine_loop
from bench.gpu_parts.notes import Notes
from bench.gpu_parts.setup import Setup
from jobs.settings import Settings
from models.folder import load_model
from worker.build import build_ladder, choose_precision, forward_of
from worker.ladder import candidate_sizes


def run(notes: Notes, setup: Setup) -> None:
    """Both networks, in each precision that may be served."""
    for name, folder in setup.models().items():
        for precision in dict.fromkeys((setup.serving, "float32")):
            notes.once(f"{name}, {precision}, sizes", sizes, folder, precision, setup)
        notes.once(f"{name}, cost", cost, folder, setup)


def sizes(folder: Path, precision: str, setup: Setup) -> dict[str, Any]:
    """The sizes that agree to the bit, and those that do not."""
    settings = Settings(
        models=(str(folder),),
        device=setup.device,
        precision=precision,  # type: ignore[arg-type]
        max_batch_places=setup.places,
    )
    chosen = choose_precision(settings)
    model = load_model(folder, device=str(chosen.device), dtype=chosen.dtype)
    agreeing = build_ladder(model, forward_of(model, chosen), settings, torch.device(setup.device)).sizes
    tried = candidate_sizes(setup.places)
    return {"agree": list(agreeing), "differ": [size for size in tried if size not in agreeing]}


def cost(folder: Path, setup: Setup) -> dict[str, Any]:
    """The engine in both modes, and over a bare loop, as `bench.engine_loop` measures them."""
    jobs, repeats = setup.pick(240, 2), setup.pick(3, 1)
    settings = {"device": setup.device, "precision": setup.serving, "pool_rows": 2 * setup.places}
    return engine_loop.measure(folder, setup.places, setup.pick(20, 1), jobs, repeats, **settings)
