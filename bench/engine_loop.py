"""The engine against a bare forward loop at the same batch, the cost of mixing samplers, and the cost of `strict`.

    python -m bench.engine_loop [--places 16] [--ticks 40] [--jobs 30] [--repeats 5]

All in one process, in turn within a repeat: the network alone on a batch that never changes; the engine with one
sampler; the engine with three; a burst of mixed jobs from first to last, in `fast` mode and in `strict`; and a few
rows that stay few, where padding costs most. The bare loop calls the very function that the engine calls, and
settings in the environment, such as UNFOG_TORCH_THREADS, count.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.load import mixed
from bench.report import Result, options_of, over, spread, tell
from jobs.settings import Settings
from models.folder import Model
from worker.build import build, choose_precision
from worker.engine import Engine
from worker.row import RowRequest

MIXED = ("ddpm", "ddim", "dpmpp_2m")
LONG = {"ddpm": 1000, "ddim": 1000, "dpmpp_2m": 500}
FEW_ROWS = (1, 3, 7)


def row_of(model: Model, key: str, sampler: str, steps: int, seed: int) -> RowRequest:
    """An unguided row."""
    label = seed % len(model.class_names) if model.class_names else None
    spacing = model.schedule.timestep_spacing
    return RowRequest(key, 0, model.id, sampler, steps, 0.0, spacing, seed, label, guidance_scale=1.0)


def ticking(engine: Engine, count: int, samplers: tuple[str, ...], ticks: int) -> float:
    """Row evaluations a second of the engine with `count` rows that stay for the whole measurement."""
    names = [samplers[n % len(samplers)] for n in range(count)]
    requests = [row_of(engine.model, f"bench-{n}", name, LONG[name], n) for n, name in enumerate(names)]
    engine.add(requests)
    engine.tick()
    started = time.perf_counter()
    for _ in range(ticks):
        engine.tick()
    took = time.perf_counter() - started
    for request in requests:
        engine.remove(request.key)
    return count * ticks / took


def draining(engine: Engine, jobs: int, seed: int) -> float:
    """Row evaluations a second of the engine from the first tick of a burst of mixed jobs to its last."""
    bodies = mixed(jobs, seed)
    engine.add(
        row_of(engine.model, f"burst-{n}", b["sampler"], b["steps"], b["seed"]) for n, b in enumerate(bodies)
    )
    rows, started = 0, time.perf_counter()
    while not engine.idle:
        rows += engine.tick().rows
    return rows / (time.perf_counter() - started)


def with_whole_ticks(engine: Engine) -> Engine:
    """The engine, its ticks as large as what is ready: as a bare loop's batch, and not as small as is efficient."""
    ladder = engine.executor.ladder
    engine.use(ladder, quick=ladder.capacity)
    return engine


def forward_in(engine: Engine) -> Callable[..., torch.Tensor]:
    """The network as the engine calls it."""
    return engine.executor.forward


@torch.inference_mode()
def bare(model: Model, forward: Callable[..., torch.Tensor], device: torch.device, count: int, ticks: int) -> float:
    """Row evaluations a second of the network alone."""
    x = torch.randn(count, model.channels, model.height, model.width).to(device)
    labels = torch.arange(count, device=device) % len(model.class_names) if model.class_names else None
    timesteps = torch.full((count,), 500, device=device)
    forward(x, timesteps, labels).sum().item()  # what is read has been computed
    started = time.perf_counter()
    for _ in range(ticks):
        out = forward(x, timesteps, labels)
    out.sum().item()
    return count * ticks / (time.perf_counter() - started)


def measure(folder: Path, places: int, ticks: int, jobs: int, repeats: int, **settings: object) -> Result:
    """Row evaluations a second of everything, a value for each repeat."""
    modes = {
        mode: Settings(models=(str(folder),), max_batch_places=places, batching=mode, **settings)  # type: ignore[arg-type]
        for mode in ("strict", "fast")
    }
    device = choose_precision(modes["strict"]).device
    strict, fast = (with_whole_ticks(next(iter(build(mode).values())).engine) for mode in modes.values())
    few = tuple(count for count in FEW_ROWS if count < places)
    measured: dict[str, list[float]] = {}

    def note(name: str, rate: float) -> None:
        measured.setdefault(name, []).append(rate)

    for repeat in range(repeats):
        note("bare forward loop", bare(strict.model, forward_in(strict), device, places, ticks))
        note("ddim", ticking(strict, places, ("ddim",), ticks))
        note("mixed", ticking(strict, places, MIXED, ticks))
        for name, engine in (("fast", fast), ("strict", strict)):
            note(f"burst, {name}", draining(engine, jobs, repeat))
            for count in few:
                note(f"{count} rows, {name}", ticking(engine, count, MIXED, max(1, ticks // 2)))
    ratios = {
        "engine over bare loop": over(measured["mixed"], measured["bare forward loop"]),
        "one sampler over mixed": over(measured["ddim"], measured["mixed"]),
        "fast over strict, burst": over(measured["burst, fast"], measured["burst, strict"]),
    }
    ratios |= {
        f"fast over strict, {count} rows": over(measured[f"{count} rows, fast"], measured[f"{count} rows, strict"])
        for count in few
    }
    return {"places": places, "row_evals_per_s": measured, "ratios": ratios}


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=5)
    parser.add_argument("--places", type=int, default=16)
    parser.add_argument("--ticks", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=30)
    options = parser.parse_args()
    result = measure(options.model, options.places, options.ticks, options.jobs, options.repeats)
    rows = [(name, spread(values, 1)) for name, values in result["row_evals_per_s"].items()]
    rows += [(name, spread(values, 3)) for name, values in result["ratios"].items()]
    tell("engine", ("", "row-evals/s, or ratio"), rows, result)


if __name__ == "__main__":
    main()
