"""`python -m tests.chaos`, the long form: prints one table; the exit code says whether every promise held.

`--engine clockwork` computes nothing, so that slow machines do more kills in less time; `--only kills` leaves
out the parts on memory and the supervisor.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import Recovery
from tests.chaos.memory import Memory, measure_memory
from tests.chaos.run import LONG, SHORT, Outcome, run
from tests.chaos.supervised import measure_supervised
from tests.models.small_model import write_model

STOCK_RQ_S = 811
"""Measured once: RQ 3.0.0 with its defaults, a worker killed with a job in it."""
UNSUPERVISED_LIMIT_S = 10.0
SUPERVISED_LIMIT_S = 1.0
MEMORY_SLACK_BYTES = 256 * 1024


def main() -> int:
    """Run what was asked for; 0 if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("real", "clockwork"), default="real")
    parser.add_argument("--plan", choices=("long", "short"), default="long")
    parser.add_argument("--only", choices=("kills", "memory", "supervised"))
    parser.add_argument("--folder", type=Path, help="where logs and Redis files stay; else a temporary folder")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unfog-chaos-") as temporary:
        folder = told.folder or Path(temporary)
        problems = []
        if told.only in (None, "kills"):
            problems += _kills(told, folder)
        if told.only in (None, "supervised"):
            problems += _supervised(folder)
        if told.only in (None, "memory"):
            problems += _memory(told.seed, folder)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


def _row(what: str, figure: object) -> None:
    print(f"| {what} | {figure} |", flush=True)


def _kills(told: argparse.Namespace, folder: Path) -> list[str]:
    place = _made(folder / "kills")
    settings, module = {}, "tests.chaos.clockwork_engine"
    if told.engine == "real":
        settings, module = {"models": str(write_model(place / "tiny-8"))}, "tests.chaos.poisoned_engine"
    outcome = run(LONG if told.plan == "long" else SHORT, told.seed, place, module, **settings)
    _print_kills(outcome, told.engine)
    late = [r for r in outcome.faults.recoveries if r.undisturbed and r.queued_s > UNSUPERVISED_LIMIT_S]
    return outcome.verdict.problems + [f"jobs were queued again only after {r.queued_s:.1f} s" for r in late]


def _print_kills(outcome: Outcome, engine: str) -> None:
    verdict, faults = outcome.verdict, outcome.faults
    print(f"\n| seed {outcome.seed}, {engine} engine, {outcome.seconds:.0f} s | |\n| --- | --- |")
    for what, count in sorted(faults.count.items()):
        _row(what, count)
    _row("jobs accepted", len(outcome.feeder.accepted))
    _row("succeeded", verdict.outcomes["finished"])
    _row("cancelled on request", verdict.outcomes["canceled"] + verdict.outcomes["stopped"])
    _row("failed: planted poison", f"{verdict.outcomes['failed']} of {len(outcome.feeder.poisoned)} planted")
    _row("lost", verdict.lost)
    _row("duplicates", verdict.duplicates)
    _row("jobs that saw 0, 1, 2, ... crashes", ", ".join(str(n) for _, n in sorted(verdict.crashes.items())))
    _row("workers that ended by themselves", sum(outcome.ended_by_themselves.values()))
    _row("engine gone after its worker's kill, most", f"{max(faults.engine_end_s, default=0):.1f} s")
    storm = [r for r in faults.recoveries if not r.undisturbed]
    _print_recoveries("killed while other faults go on", storm)
    _print_recoveries("killed while all else is well", [r for r in faults.recoveries if r.undisturbed])
    _row("stock RQ 3.0.0, default settings: queued again", f"{STOCK_RQ_S} s")


def _print_recoveries(head: str, recoveries: list[Recovery]) -> None:
    queued, running = [r.queued_s for r in recoveries], [r.running_s for r in recoveries]
    if recoveries:
        _row(f"{head} ({len(recoveries)} times): all its jobs queued again, median and most", _spread(queued))
        _row(f"{head}: all running again or done, median and most", _spread(running))


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s, {max(seconds):.2f} s"


def _supervised(folder: Path) -> list[str]:
    recoveries = measure_supervised(_made(folder / "supervised"))
    _print_recoveries("killed under the supervisor", recoveries)
    late = [r for r in recoveries if r.queued_s > SUPERVISED_LIMIT_S]
    return [f"under the supervisor jobs were queued again only after {r.queued_s:.1f} s" for r in late]


def _memory(seed: int, folder: Path) -> list[str]:
    memory: Memory = measure_memory(_made(folder / "memory"), seed)
    _row("bytes in Redis before 1,000 jobs", f"{memory.before:,}")
    _row("at most", f"{memory.at_most:,}")
    _row("when they had expired", f"{memory.after:,}, of which event stream and callers {memory.bounded:,}")
    grown = memory.after - memory.bounded - memory.before
    return [f"Redis holds {grown:,} bytes more than before"] if grown > MEMORY_SLACK_BYTES else []


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
