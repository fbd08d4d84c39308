"""How a measurement is told: a short table for people, one JSON line for programs."""

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and in brackets the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all values do not pass (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def tell(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], result: dict[str, Any]) -> None:
    """Print both."""
    table = Table(*columns, title=name, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=116).print(table)
    print(json.dumps({"bench": name, **result, "machine": describe()}), flush=True)
