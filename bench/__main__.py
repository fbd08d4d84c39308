"""All that the README claims of speed, in one run: `python -m bench`; with `--full` the rest.

Runs each measurement as its own command, reads its JSON line, and prints what came out beside what was to be
reached. Exits with 1 when something fell short.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe

Result = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One figure and what it should be."""

    says: str
    figure: Callable[[Result], float]
    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool:
        """Whether the figure is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        """The goal in words."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


@dataclass(frozen=True)
class Measurement:
    """A command and the goals its result is held to."""

    command: tuple[str, ...]
    goals: tuple[Goal, ...] = ()


def _ratio(*path: str) -> Callable[[Result], float]:
    def figure(result: Result) -> float:
        value: Any = result["ratio"]
        for part in path:
            value = value[part]
        return float(value)

    return figure


SHORT = (
    Measurement(
        ("burst",),
        (
            Goal("images/s over one job at a time (FastAPI, RQ, diffusers)", _ratio("rq_loop"), least=2.0),
            Goal("images/s over static batches", _ratio("static_batches"), least=1.0),
        ),
    ),
    Measurement(
        ("poisson", "--share", "0.9", "--seconds", "45"),
        (Goal("p95 of static batches over ours, at 90 % load", _ratio(), least=3.0),),
    ),
    Measurement(("behind",), (Goal("10 steps behind 16 × 1000 steps, over alone", _ratio(), most=4.0),)),
    Measurement(
        ("engine_loop",),
        (
            Goal("engine over a bare forward loop", _ratio("engine over bare loop"), least=0.95),
            Goal("cost of mixing samplers", _ratio("one sampler over mixed"), most=1.03),
            Goal("cost of strict batches, 7 rows", _ratio("fast over strict, 7 rows"), most=1.15),
        ),
    ),
    Measurement(("queue_rate",), (Goal("no-op jobs/s over a stock SimpleWorker", _ratio(), least=5.0),)),
    Measurement(("status_read",), (Goal("GET a job over a bare route with one read", _ratio(), least=0.7),)),
)
REST = (
    Measurement(("burst", "--peers", "rq_loop,static_batches,litserve", "--repeats", "5")),
    *(Measurement(("poisson", "--share", share)) for share in ("0.5", "0.8", "1.2")),
    *(Measurement(("classes", "--load", load)) for load in ("greedy", "background")),
    Measurement(("engine_host",)),
)


def run(measurement: Measurement) -> Result:
    """One measurement in a process of its own; its table is shown as it comes."""
    name, *options = measurement.command
    command = [sys.executable, "-m", f"bench.{name}", *options]
    print(f"\n$ python -m bench.{' '.join(measurement.command)}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith('{"bench"')]
    print("\n".join(line for line in lines if line not in found), flush=True)
    result: Result = json.loads(found[-1])
    return result


def main() -> int:
    """Measure, tell, and write all of it to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the rest too, most of an hour")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    options = parser.parse_args()
    started = time.monotonic()
    results, short, table = [], 0, Table("what", "measured", "goal", "")
    for measurement in (*SHORT, *(REST if options.full else ())):
        result = run(measurement)
        results.append(result)
        for goal in measurement.goals:
            value = goal.figure(result)
            short += not goal.met(value)
            table.add_row(goal.says, f"{value:.2f}", goal.bound, "met" if goal.met(value) else "short")
    Console(width=116).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": describe(), "results": results}, indent=1) + "\n")
    print(f"{time.monotonic() - started:.0f} s; all figures in {options.out}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
