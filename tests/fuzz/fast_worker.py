"""A worker whose pictures are there at once, or never: `python -m tests.fuzz.fast_worker`.

All of the book-keeping is the real one; only the network is left out.
"""

import sys
import time
from collections.abc import Mapping, Set

from tests.cards import FRUIT, PEBBLE
from worker.engine_client import EngineClient, Serving
from worker.main import main
from worker.meter import EngineMetrics
from worker.row import Preview, RowDone, RowFailed, RowRequest

CARDS = {card.id: card for card in (FRUIT, PEBBLE)}
ROW_S = 0.01
"""Long enough for a job to be canceled, listened to and asked for while it runs."""
FAILS_ABOVE = 0.9
"""Rows of a higher eta fail, so that failed jobs are met too."""


class InstantEngine(EngineClient):
    """Gray pictures of each model's size."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], tuple[float, RowRequest]] = {}
        self._watched: Set[str] = frozenset()

    def start(self, timeout_s: float) -> Serving:
        """Nothing has to start."""
        return Serving(tuple(CARDS.values()), dict.fromkeys(CARDS, "instant"))

    def add(self, rows: list[RowRequest]) -> None:
        """Take rows."""
        due = time.monotonic() + ROW_S
        self._rows.update({(row.key, row.index): (due, row) for row in rows})

    def remove(self, key: str) -> None:
        """Forget an execution."""
        self._rows = {name: row for name, row in self._rows.items() if name[0] != key}

    def take_left(self) -> list[RowDone | RowFailed]:
        """Rows whose time has come."""
        now = time.monotonic()
        left = [name for name, (due, _) in self._rows.items() if due <= now]
        return [self._ended(self._rows.pop(name)[1]) for name in left]

    def watch(self, keys: Set[str]) -> None:
        """Remember who wants to see."""
        self._watched = keys

    def take_previews(self) -> list[Preview]:
        """What the rows that are watched would be."""
        return [
            Preview(row.key, row.index, _gray(row), 1) for _, row in self._rows.values() if row.key in self._watched
        ]

    def wait(self, timeout_s: float) -> None:
        """Wait for a row."""
        time.sleep(min(timeout_s, ROW_S / 2))

    def completed(self) -> Mapping[str, int]:
        """Nothing is ever half done."""
        return {}

    def metrics(self) -> EngineMetrics:
        """None."""
        return EngineMetrics({})

    def close(self) -> None:
        """There is nothing to close."""

    def kill(self) -> None:
        """Nor to kill."""

    @property
    def silent_s(self) -> float:
        """Never silent."""
        return 0.0

    def _ended(self, row: RowRequest) -> RowDone | RowFailed:
        if row.eta > FAILS_ABOVE:
            return RowFailed(row.key, row.index, "engine_error", "this eta fails, for the tests")
        frames = _gray(row) * 2 if row.animate else b""
        return RowDone(row.key, row.index, _gray(row), frames)


def _gray(row: RowRequest) -> bytes:
    card = CARDS[row.model]
    return bytes([128]) * (card.height * card.width * 3)


if __name__ == "__main__":
    sys.exit(main(InstantEngine))
