"""How well the samplers agree with the reference: a table after the run, out of what its tests have recorded."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest

STEPS = (1, 2, 7, 20, 50, 250, 1000)
PROPERTY = "agreement"
"""The name under which a test's report has a cell: row, precision, steps, error. It comes from any process."""

Record = Callable[[str, str, int, float], None]


def table_of(reports: Iterable[pytest.TestReport]) -> list[str]:
    """The lines of the table; none if nothing was recorded."""
    rows: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for report in reports:
        for name, cell in report.user_properties if report.when == "call" else ():
            if name == PROPERTY:
                row, precision, steps, error = cell  # type: ignore[misc]
                rows[row, precision][steps] = error
    width = max((len(row) for row, _ in rows), default=0)
    lines = [f"{'':{width}}  {'':8}" + "".join(f"{steps:>9}" for steps in STEPS)] if rows else []
    for (row, precision), cells in sorted(rows.items()):
        numbers = "".join(f"{cells[steps]:9.0e}" if steps in cells else f"{'':9}" for steps in STEPS)
        lines.append(f"{row:{width}}  {precision:8}{numbers}")
    return lines
