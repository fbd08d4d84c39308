"""How things look in a terminal, and without one: a bar becomes a few lines, a table becomes tabs."""

import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from unfog.terminal import printable, say

if TYPE_CHECKING:
    from unfog.answers import Progress

QUARTER = 0.25


class Bar:
    """How far a job is, on standard error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None
        self._task: Any = None
        self._said: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(printable(self._name), total=1.0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, now: "Progress") -> None:
        """Show it: at once on a terminal; elsewhere a line for each status and each quarter."""
        text = f"{self._name} {_standing(now)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=now.fraction, description=printable(text))
            return
        step = (now.status, int(now.fraction / QUARTER))
        if step != self._said:
            self._said = step
            say(text)


def _standing(now: "Progress") -> str:
    """'queued, 3 jobs ahead, 12 s left' or 'running 50/200, 2 s left'."""
    parts = [now.status]
    if now.status == "running":
        parts = [f"running {now.completed}/{now.total}"]
    elif now.status == "queued" and now.queue_position:
        parts.append(f"place {now.queue_position}")
    if now.eta_s is not None and now.status in ("queued", "running"):
        parts.append(f"{now.eta_s:.0f} s left")
    return ", ".join(parts)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; without a terminal a line a row, with tabs and no head."""
    if not sys.stdout.isatty():
        for row in rows:
            print(*(printable(cell).replace("\n", " ") for cell in row), sep="\t")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
