"""Which rows go into the next forward pass. Plain Python: no torch, no Redis, no clock.

Parking a row is not choosing it: its state stays in the pool and costs nothing. Short work goes first, and a
row that is passed over ages until its turn comes, so that nothing starves.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")

AGEING = 0.5
"""Evaluations that one tick of waiting is worth. Below 1, so that rows of equal length do not take turns."""


@dataclass
class Resident:
    """A row that lives in the pool, as the scheduler sees it."""

    slot: int
    places: int
    remaining: int
    """Evaluations still to do."""
    arrival: int
    passed_over: int = 0
    """Ticks in which the row was ready and not chosen."""

    @property
    def rank(self) -> tuple[float, int]:
        """Who comes first in the next tick: the least rank."""
        return self.remaining - AGEING * self.passed_over, self.arrival


class BatchScheduler(Generic[Row]):
    """Admits rows to the pool in order of arrival and chooses, tick by tick, who is computed.

    `capacity` counts forward places, `pool_rows` rows. Raises `ValueError` for a capacity below two, since a
    guided row takes two places.
    """

    def __init__(self, capacity: int, pool_rows: int) -> None:
        if capacity < 2:
            raise ValueError("a batch needs at least two places, since a guided row takes two")
        self.capacity = capacity
        self._free = list(range(pool_rows - 1, -1, -1))
        self._waiting: deque[Row] = deque()
        self._residents: dict[int, Resident] = {}
        self._arrivals = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute and nobody to admit."""
        return not self._residents and not self._waiting

    def add(self, row: Row) -> None:
        """Let a row wait for a place in the pool."""
        self._waiting.append(row)

    def can_admit(self) -> bool:
        """Whether a row waits and a place in the pool is free."""
        return bool(self._waiting and self._free)

    def admit(self) -> tuple[Row, int]:
        """Take the row that has waited longest and a free place: (row, slot)."""
        assert self.can_admit()
        return self._waiting.popleft(), self._free.pop()

    def start(self, slot: int, places: int, evaluations: int) -> None:
        """The row in `slot` is ready to be computed."""
        assert slot not in self._residents
        assert 1 <= places <= self.capacity
        self._residents[slot] = Resident(slot, places, evaluations, self._arrivals)
        self._arrivals += 1

    def choose(self) -> list[int]:
        """The slots of the next tick, ascending, at most `capacity` places; who is left out ages.

        A row whose evaluations are all chosen already waits to be read and released, and is not chosen again.
        """
        chosen: list[Resident] = []
        places = 0
        unfinished = (resident for resident in self._residents.values() if resident.remaining > 0)
        for resident in sorted(unfinished, key=lambda r: r.rank):
            if places + resident.places <= self.capacity:
                chosen.append(resident)
                places += resident.places
            else:
                resident.passed_over += 1
        for resident in chosen:
            resident.remaining -= 1
        return sorted(resident.slot for resident in chosen)

    def release(self, slot: int) -> None:
        """The row in `slot` has left, or was never started: its place is free again."""
        assert slot not in self._free
        self._residents.pop(slot, None)
        self._free.append(slot)

    def drop_waiting(self, unwanted: Callable[[Row], bool]) -> None:
        """Forget the waiting rows that `unwanted` names."""
        self._waiting = deque(row for row in self._waiting if not unwanted(row))
