"""What is measured for the README and what each figure should be."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench.report import Result


@dataclass(frozen=True)
class Goal:
    """One ratio of a measurement, by its name there, and what its median should be."""

    says: str
    ratio: str
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether the figure is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        """The goal in words."""
        return f"≥ {self.least:g}{self.unit}" if self.least is not None else f"≤ {self.most:g}{self.unit}"

    def row(self, result: Result, command: str) -> tuple[str, ...]:
        """A line of the table: what, measured, spread, goal, command."""
        values = result["ratios"][self.ratio]
        middle = statistics.median(values)
        measured = f"{middle:.2f}{self.unit}" + ("" if self.met(middle) else " (short)")
        return self.says, measured, f"{min(values):.2f} to {max(values):.2f}", self.bound, f"`{command}`"


@dataclass(frozen=True)
class Measurement:
    """A command of `bench`, with its options, and the goals its result is held to."""

    name: str
    options: Mapping[str, str]
    goals: tuple[Goal, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The command's name and its options."""
        return [self.name, *(word for option in self.options.items() for word in option)]

    @property
    def command(self) -> str:
        """As one types it."""
        return f"python -m bench.{' '.join(self.arguments)}"


TABLE = ("", "measured", "spread", "goal", "command")

SHORT = (
    Measurement(
        "burst",
        {"--repeats": "2"},
        (
            Goal("pictures/s, over FastAPI + RQ + diffusers, one job at a time", "over rq_loop", least=2.0),
            Goal("pictures/s, over static batches of equal jobs", "over static_batches", least=1.0),
        ),
    ),
    Measurement(
        "poisson",
        {"--share": "0.9"},
        (Goal("p95 of static batches over ours, at 90 % load", "p95 of static_batches over ours", least=3.0),),
    ),
    Measurement(
        "behind",
        {"--repeats": "3"},
        (Goal("10 steps that arrive behind 16 jobs of 1000 steps, over alone", "behind over alone", most=4.0),),
    ),
    Measurement(
        "engine_loop",
        {"--repeats": "3", "--ticks": "20", "--jobs": "15"},
        (
            Goal("engine's evaluations/s over a bare forward loop", "engine over bare loop", least=0.95),
            Goal("one sampler over three in one batch", "one sampler over mixed", most=1.03),
            Goal("`fast` batches over `strict`, a burst", "fast over strict, burst", most=1.15),
        ),
    ),
    Measurement("queue_rate", {}, (Goal("no-op jobs/s over a stock SimpleWorker", "ours over stock", least=5.0),)),
    Measurement(
        "status_read",
        {"--repeats": "3"},
        (Goal("`GET` of a job over a bare route with one read", "ours over bare route", least=0.7),),
    ),
    Measurement("api_start", {}, (Goal("imports of the API", "seconds", most=1.0, unit=" s"),)),
)
REST = (
    Measurement(
        "requeue",
        {},
        (
            Goal("a worker killed: its jobs queued again", "by another worker", most=10.0, unit=" s"),
            Goal("the same under the supervisor", "by the supervisor", most=1.0, unit=" s"),
        ),
    ),
    Measurement("burst", {"--peers": "rq_loop,static_batches,litserve", "--repeats": "5"}),
    *(Measurement("poisson", {"--share": share}) for share in ("0.5", "0.8", "1.2")),
    *(Measurement("classes", {"--load": load}) for load in ("greedy", "background")),
    Measurement("engine_host", {}),
)
