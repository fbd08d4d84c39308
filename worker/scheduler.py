"""Which rows go into the next forward pass. Plain Python: no torch, no Redis, no clock.

Parking a row is not choosing it: its state stays in the pool and costs nothing. Half of a tick's places are for
the rows that came first, so that none starves; the other half for those that are done soonest, so that short work
is. And a tick is no larger than it has to be, since every row in it waits for all of it.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")

LEAST_QUICK = 2
"""Places that a guided row takes."""

TURNS = 3
"""In so many ticks all rows that are ready could have a turn: the more there are, the larger are the ticks."""


@dataclass
class Resident:
    """A row that lives in the pool, as the scheduler sees it."""

    slot: int
    places: int
    remaining: int
    """Evaluations still to do."""
    arrival: int


class BatchScheduler(Generic[Row]):
    """Admits rows to the pool in order of arrival and chooses, tick by tick, who is computed.

    `sizes` are the batch sizes in ascending order, in places, and `pool_rows` counts rows. A tick takes a
    third of the places that are ready, but no fewer than `quick`: fewer would cost too many evaluations a second.
    That is the largest size until `use` says otherwise. Raises `ValueError` if all sizes are below two, since a
    guided row takes two places.
    """

    def __init__(self, sizes: Sequence[int], pool_rows: int) -> None:
        if max(sizes) < LEAST_QUICK:
            raise ValueError("a batch needs at least two places, since a guided row takes two")
        self._sizes, self._quick = tuple(sizes), max(sizes)
        self._free = list(range(pool_rows - 1, -1, -1))
        self._waiting: deque[Row] = deque()
        self._residents: dict[int, Resident] = {}
        self._arrivals = 0

    def use(self, sizes: Sequence[int], quick: int | None = None) -> None:
        """Use these sizes from now on, and of `quick` places as few as that; None leaves it as it was."""
        self._sizes = tuple(sizes)
        self._quick = min(self.capacity, max(LEAST_QUICK, self._quick if quick is None else quick))

    @property
    def capacity(self) -> int:
        """The most places of a tick."""
        return self._sizes[-1]

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
        """The slots of the next tick, ascending.

        A row whose evaluations are all chosen already waits to be read and released, and is not chosen again.
        """
        ready = [resident for resident in self._residents.values() if resident.remaining > 0]  # as they came
        room = self._room(sum(resident.places for resident in ready))
        chosen: dict[int, Resident] = {}
        places = 0
        for resident in ready:
            if 2 * places < room and places + resident.places <= room:
                chosen[resident.slot] = resident
                places += resident.places
        for resident in sorted(ready, key=lambda r: (r.remaining, r.arrival)):
            if resident.slot not in chosen and places + resident.places <= room:
                chosen[resident.slot] = resident
                places += resident.places
        for resident in chosen.values():
            resident.remaining -= 1
        return sorted(chosen)

    def _room(self, ready: int) -> int:
        """The places of a tick when so many are ready."""
        wanted = max(self._quick, math.ceil(ready / TURNS))
        return next((size for size in self._sizes if size >= wanted), self.capacity)

    def release(self, slot: int) -> None:
        """The row in `slot` has left, or was never started: its place is free again."""
        assert slot not in self._free
        self._residents.pop(slot, None)
        self._free.append(slot)

    def drop_waiting(self, unwanted: Callable[[Row], bool]) -> None:
        """Forget the waiting rows that `unwanted` names."""
        self._waiting = deque(row for row in self._waiting if not unwanted(row))
