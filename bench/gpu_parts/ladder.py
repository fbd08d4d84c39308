"""(3) Which batch sizes compute equal bits, and what keeping to them costs."""

from pathlib import Path
from typing import Any

from bench import engine_loop
from bench.gpu_parts.notes import Notes
from bench.gpu_parts.precision import engine_of
from bench.gpu_parts.setup import Setup
from worker.engine import Engine


def run(notes: Notes, setup: Setup) -> None:
    """Both networks, in each precision that may be served."""
    for name, folder in setup.models(dear=True).items():
        for precision in dict.fromkeys((setup.serving, "float32")):
            notes.once(f"{name}, {precision}, sizes", sizes, folder, precision, setup)
        notes.once(f"{name}, cost", cost, folder, setup)


def sizes(folder: Path, precision: str, setup: Setup) -> dict[str, Any]:
    """The sizes that agree to the bit, and those that do not: what `strict` uses of what `fast` may."""
    agreeing, tried = (
        set(sizes_in(engine_of(folder, precision, setup, batching=batching))) for batching in ("strict", "fast")
    )
    return {"agree": sorted(agreeing), "differ": sorted(tried - agreeing)}


def sizes_in(engine: Engine) -> tuple[int, ...]:
    """The batch sizes that an engine uses."""
    return engine.executor.ladder.sizes


def cost(folder: Path, setup: Setup) -> dict[str, Any]:
    """The engine in both modes, and over a bare loop, as `bench.engine_loop` measures them."""
    jobs, repeats = setup.pick(240, 2), setup.pick(3, 1)
    settings = {"device": setup.device, "precision": setup.serving, "pool_rows": 2 * setup.places}
    return engine_loop.measure(folder, setup.places, setup.pick(20, 1), jobs, repeats, **settings)
