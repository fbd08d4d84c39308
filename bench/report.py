"""How a measurement is told: a short table for people, one JSON line for programs."""

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe
from jobs.settings import BUNDLED_MODEL

Result = dict[str, Any]
"""What a measurement found. `ratios` has, by name, one ratio for each repeat: what the goals are about."""


def options_of(doc: str | None, repeats: int) -> argparse.ArgumentParser:
    """A parser with the options that all measurements have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="the folder of the model, for all sides")
    return parser


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and in brackets the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all values do not pass (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def over(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of each repeat."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def tell(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], result: Mapping[str, Any]) -> None:
    """Print both."""
    table = Table(*columns, title=name, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=116).print(table)
    shown = {"columns": list(columns), "rows": [list(row) for row in rows]}
    print(json.dumps({"bench": name, **result, "table": shown, "machine": describe()}, default=str), flush=True)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a page: names left, figures right."""
    head = f"| {' | '.join(columns)} |"
    line = f"|---{'|---:' * (len(columns) - 1)}|"
    return "\n".join([head, line, *(f"| {' | '.join(row)} |" for row in rows)])
