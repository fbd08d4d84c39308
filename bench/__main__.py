"""All that is claimed of speed, in one run.

    python -m bench              # what the README claims: about seventeen minutes
    python -m bench --full       # and the rest, about an hour
    python -m bench --markdown   # no measuring: the tables for the pages, from the last run
    python -m bench --write      # the same, put into README.md and docs/performance.md

Runs each measurement as its own command, reads its JSON line, and prints what came out beside what was to be
reached. Exits with 1 when something fell short.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.goals import REST, SHORT, TABLE, Measurement
from bench.machine import describe
from bench.processes import environment_of
from bench.report import Result, markdown

Results = list[tuple[Measurement, Result]]

BEGIN, END = "<!-- python -m bench --write -->", "<!-- end -->"
"""Between these marks a page has figures."""


def run(measurement: Measurement) -> Result:
    """One measurement in a process of its own; its table is shown as it comes."""
    print(f"\n$ {measurement.command}", flush=True)
    module, *options = measurement.arguments
    command = [sys.executable, "-m", f"bench.{module}", *options]
    done = subprocess.run(command, env=environment_of(), stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith('{"bench"')]
    print("\n".join(line for line in lines if line not in found), flush=True)
    result: Result = json.loads(found[-1])
    return result


def goal_rows(results: Results) -> list[tuple[str, ...]]:
    """The lines of the one table."""
    return [goal.row(result, one.command) for one, result in results for goal in one.goals]


def summary(results: Results, machine: dict[str, Any]) -> str:
    """What goes into the README: the one table, and what it was measured on."""
    return f"{markdown(TABLE, goal_rows(results))}\n\n{_sentence(machine)}"


def pages(results: Results, machine: dict[str, Any]) -> str:
    """What goes into docs/performance.md: the same, then each measurement's own table."""
    parts = [summary(results, machine)]
    for one, result in results:
        table, load = result["table"], result["machine"]["load_1_min"]
        parts.append(
            f"    {one.command}\n\n{markdown(table['columns'], table['rows'])}\n\nLoad at its end: {load}."
        )
    return "\n\n".join(parts)


def _sentence(machine: dict[str, Any]) -> str:
    memory = machine["memory_bytes"] / 2**30
    chip = machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']} ({machine['cpu_capability']})"
    return f"{chip}, {memory:.0f} GiB, Python {machine['python']}, torch {machine['torch']}."


def put(text: str, page: Path) -> None:
    """Put figures in the place of those that stand between the marks of a page."""
    head, _, rest = page.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert end, f"{page} has no {BEGIN} … {END}"
    page.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


def load(path: Path) -> tuple[Results, dict[str, Any]]:
    """The results of the last run."""
    said = json.loads(path.read_text())
    known = {one.command: one for one in (*SHORT, *REST)}
    found = [(known[each["command"]], each["result"]) for each in said["results"] if each["command"] in known]
    return sorted(found, key=lambda each: list(known).index(each[0].command)), said["machine"]


def save(path: Path, results: Results) -> None:
    """Write all figures, after every measurement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = [{"command": one.command, "result": result} for one, result in results]
    path.write_text(json.dumps({"machine": describe(), "results": said}, indent=1) + "\n")


def measure(measurements: Sequence[Measurement], out: Path, before: Results) -> int:
    """Measure, tell, and write all of it to a file, beside what was known; returns how many goals were missed."""
    known = {one.command: (one, result) for one, result in before}
    for one in measurements:
        known[one.command] = one, run(one)
        save(out, list(known.values()))
    results = [known[one.command] for one in measurements]
    table = Table(*TABLE[:-1])
    for row in goal_rows(results):
        table.add_row(*row[:-1])
    Console(width=116).print(table)
    return sum("(short)" in row[1] for row in goal_rows(results))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", help="names of measurements, the last run's others are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    options = parser.parse_args()
    if options.markdown:
        print(pages(*load(options.out)))
        return 0
    if options.write:
        put(summary(*load(options.out)), Path("README.md"))
        put(pages(*load(options.out)), Path("docs/performance.md"))
        return 0
    started, only = time.monotonic(), options.only.split(",") if options.only else []
    chosen = [one for one in (*SHORT, *(REST if options.full else ())) if not only or one.name in only]
    short = measure(chosen, options.out, load(options.out)[0] if only and options.out.exists() else [])
    print(f"{time.monotonic() - started:.0f} s; all figures in {options.out}; `--write` puts them into the pages")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
