"""(5) Where the time of a tick goes: by the engine's own steps, and by operations of the device."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from bench.engine_loop import LONG, MIXED, row_of, with_whole_ticks
from bench.gpu_parts.notes import Notes, Unfit
from bench.gpu_parts.precision import engine_of
from bench.gpu_parts.setup import Setup
from worker.engine import Engine

STEPS = (
    "_admit",
    "_gather",
    "_forward",
    "_guide",
    "_update",
    "_advance",
    "_retire",
    "_draw_ahead",
    "_evaluate",
    "land",
)
"""Methods of the engine and of its executor that may be there; one that calls another counts that too."""
SHOWN = 12


def run(notes: Notes, setup: Setup) -> None:
    """A full batch and a single row, of both networks."""
    for name, folder in setup.models(dear=True).items():
        for rows in (setup.places, 1):
            running = Running(folder, rows, setup)
            for what, look in (("whole", whole), ("steps", steps), ("operations", operations)):
                notes.once(f"{name}, {rows} rows, {what}", look, running)


@dataclass
class Running:
    """An engine with so many rows of three samplers, which stay; made when it is first needed."""

    folder: Path
    rows: int
    setup: Setup

    @cached_property
    def engine(self) -> Engine:
        """The service's own engine, in the middle of its work."""
        engine = with_whole_ticks(engine_of(self.folder, self.setup.serving, self.setup, batching="strict"))
        names = [MIXED[n % len(MIXED)] for n in range(self.rows)]
        engine.add([row_of(engine.model, str(n), name, LONG[name], n) for n, name in enumerate(names)])
        for _ in range(3):
            engine.tick()
        return engine

    @property
    def ticks(self) -> int:
        """How many are looked at."""
        return int(self.setup.pick(20, 2))


def whole(on: Running) -> dict[str, float]:
    """Milliseconds of a tick."""
    took = [1000 * seconds for seconds in each(on.engine.tick, on.ticks)]
    return {"median_ms": statistics.median(took), "least_ms": min(took), "most_ms": max(took)}


def steps(on: Running) -> dict[str, float]:
    """Milliseconds of the engine's steps, waiting for the device after each: it is counted where it works."""
    engine = on.engine
    spent: dict[str, float] = defaultdict(float)
    owners = [engine, *([engine.executor] if hasattr(engine, "executor") else [])]
    there = [(owner, name, getattr(owner, name)) for owner in owners for name in STEPS if hasattr(owner, name)]
    if not there:
        raise Unfit("this engine has none of the steps that are looked for")

    def timing(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            out = inner(*args, **kwargs)
            on.setup.synchronize()
            spent[name] += 1000 * (time.perf_counter() - started)
            return out

        return timed

    try:
        for owner, name, inner in there:
            setattr(owner, name, timing(name, inner))
        spent["tick"] = 1000 * sum(each(engine.tick, on.ticks))
    finally:
        for owner, name, inner in there:
            setattr(owner, name, inner)
    return {name.removeprefix("_"): total / on.ticks for name, total in spent.items()}


def each(act: Callable[[], object], times: int) -> list[float]:
    """Seconds of every call."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return seconds


def operations(on: Running) -> dict[str, Any]:
    """The operations that take most of the device, milliseconds a tick; the rest as one."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on.setup.cuda else [])]
    on.engine.tick()
    with profile(activities=activities) as profiled:
        for _ in range(on.ticks):
            on.engine.tick()
        on.setup.synchronize()
    field = "self_device_time_total" if on.setup.cuda else "self_cpu_time_total"
    spent = {event.key: getattr(event, field) / 1000 / on.ticks for event in profiled.key_averages()}
    first = sorted(spent, key=lambda key: -spent[key])[:SHOWN]
    found = {key[:80]: round(spent[key], 4) for key in first if spent[key] > 0}
    return {**found, "all others": round(sum(spent.values()) - sum(spent[key] for key in first), 4)}
