"""The engine against a bare forward loop at the same batch, the cost of mixing samplers, and the cost of `strict`.

    python -m bench.engine_loop [--places 16] [--ticks 40] [--repeats 5]

All in one process, in turn within a repeat: the network alone on a batch that never changes; the engine with one
sampler; the engine with three; the engine in `fast` mode with an odd number of rows, and the same in `strict`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from bench.report import spread, tell
from jobs.settings import Settings
from models.folder import Model, load_model
from worker.build import build, choose_precision, forward_of, use_threads
from worker.engine import Engine
from worker.row import RowRequest

MIXED = ("ddpm", "ddim", "dpmpp_2m")
STEPS = 1000
ODD_ROWS = 7


def rows(model: Model, count: int, samplers: tuple[str, ...]) -> list[RowRequest]:
    """Rows that stay for the whole measurement."""
    spacing = model.schedule.timestep_spacing
    return [
        RowRequest(
            key=f"bench-{n}",
            index=0,
            model=model.id,
            sampler=samplers[n % len(samplers)],
            steps=STEPS if samplers[n % len(samplers)] != "dpmpp_2m" else STEPS // 2,
            eta=0.0,
            timestep_spacing=spacing,
            seed=n,
            class_label=n % len(model.class_names) if model.class_names else None,
            guidance_scale=1.0,
        )
        for n in range(count)
    ]


def ticking(engine: Engine, model: Model, count: int, samplers: tuple[str, ...], ticks: int) -> float:
    """Row evaluations a second of the engine with `count` rows."""
    requests = rows(model, count, samplers)
    engine.add(requests)
    engine.tick()
    started = time.perf_counter()
    for _ in range(ticks):
        engine.tick()
    took = time.perf_counter() - started
    for request in requests:
        engine.remove(request.key)
    return count * ticks / took


@torch.inference_mode()
def bare(model: Model, forward: Callable[..., torch.Tensor], count: int, ticks: int) -> float:
    """Row evaluations a second of the network alone."""
    x = torch.randn(count, model.channels, model.height, model.width)
    labels = torch.arange(count) % len(model.class_names) if model.class_names else None
    timesteps = torch.full((count,), 500)
    forward(x, timesteps, labels)
    started = time.perf_counter()
    for _ in range(ticks):
        forward(x, timesteps, labels)
    return count * ticks / (time.perf_counter() - started)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=16)
    parser.add_argument("--ticks", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    strict = Settings(max_batch_places=options.places, batching="strict")
    fast = Settings(max_batch_places=options.places, batching="fast")
    use_threads(strict)
    precision = choose_precision(strict)
    model = load_model(strict.models[0], device=str(precision.device), dtype=precision.dtype)
    forward = forward_of(model, precision)
    engines = {mode.batching: next(iter(build(mode).values())).engine for mode in (strict, fast)}
    runs: dict[str, Callable[[], float]] = {
        "bare forward loop": lambda: bare(model, forward, options.places, options.ticks),
        "engine, ddim": lambda: ticking(engines["strict"], model, options.places, ("ddim",), options.ticks),
        "engine, mixed": lambda: ticking(engines["strict"], model, options.places, MIXED, options.ticks),
        "engine, fast, 7 rows": lambda: ticking(engines["fast"], model, ODD_ROWS, MIXED, options.ticks),
        "engine, strict, 7 rows": lambda: ticking(engines["strict"], model, ODD_ROWS, MIXED, options.ticks),
    }
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            measured[name].append(run())

    def over(first: str, second: str) -> list[float]:
        return [a / b for a, b in zip(measured[first], measured[second], strict=True)]

    ratios = {
        "engine over bare loop": over("engine, mixed", "bare forward loop"),
        "one sampler over mixed": over("engine, ddim", "engine, mixed"),
        "fast over strict, 7 rows": over("engine, fast, 7 rows", "engine, strict, 7 rows"),
    }
    table = [(name, spread(values, 1)) for name, values in measured.items()]
    table += [(name, spread(values, 3)) for name, values in ratios.items()]
    result = {"places": options.places, "row_evals_per_s": measured, "ratios": ratios}
    result["ratio"] = {name: statistics.median(values) for name, values in ratios.items()}
    tell("engine", ("", "row-evals/s, or ratio"), table, result)


if __name__ == "__main__":
    main()
