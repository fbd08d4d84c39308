"""What an engine has done and how fast it is. Plain numbers: no clock of its own, no tensors."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

TICK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the histogram of tick lengths."""
MEMORY_S = 10.0
"""Busy seconds after which a tick counts 1/e in the measured rate."""
FIRST_WEIGHT_S = 1.0
"""What the measurement at the start counts, in busy seconds."""


@dataclass(frozen=True)
class ModelMetrics:
    """The work of the engine of one model since its process started; only ever growing, but for the last two.

    `places` counts two for a guided row, `row_evals` one. `ticks_within` has, for each of `TICK_BUCKETS_S`, the
    ticks that took at most so long. `rate` is in places per second of busy time and `tick_s` a tick's length,
    both over about the last ten seconds of busy time.
    """

    ticks: int
    row_evals: int
    places: int
    busy_s: float
    ticks_within: tuple[int, ...]
    rate: float
    tick_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ModelMetrics":
        """From the fields as JSON has them."""
        return cls(**{**values, "ticks_within": tuple(values["ticks_within"])})


@dataclass(frozen=True)
class EngineMetrics:
    """The metrics of an engine process, by model."""

    models: Mapping[str, ModelMetrics]

    @property
    def rates(self) -> dict[str, float]:
        """Places per second of busy time, by model."""
        return {model: one.rate for model, one in self.models.items()}

    @property
    def tick_s(self) -> dict[str, float]:
        """The length of a tick in seconds, by model."""
        return {model: one.tick_s for model, one in self.models.items()}


class Meter:
    """Counts the ticks of one engine.

    It starts from one measurement, a forward pass of `places` in `seconds`, so that there is a rate before
    there was work.
    """

    def __init__(self, places: int, seconds: float) -> None:
        seconds = max(seconds, 1e-9)
        self._ticks = self._row_evals = self._places = 0
        self._busy_s = 0.0
        self._by_length = [0] * (len(TICK_BUCKETS_S) + 1)
        self._recent_s = FIRST_WEIGHT_S
        self._recent_ticks = FIRST_WEIGHT_S / seconds
        self._recent_places = places * self._recent_ticks

    def count(self, rows: int, places: int, seconds: float) -> None:
        """Take note of one tick."""
        self._ticks += 1
        self._row_evals += rows
        self._places += places
        self._busy_s += seconds
        self._by_length[bisect_left(TICK_BUCKETS_S, seconds)] += 1
        fade = math.exp(-seconds / MEMORY_S)
        self._recent_s = self._recent_s * fade + seconds
        self._recent_ticks = self._recent_ticks * fade + 1
        self._recent_places = self._recent_places * fade + places

    def read(self) -> ModelMetrics:
        """The metrics now."""
        return ModelMetrics(
            ticks=self._ticks,
            row_evals=self._row_evals,
            places=self._places,
            busy_s=self._busy_s,
            ticks_within=tuple(accumulate(self._by_length[:-1])),
            rate=self._recent_places / self._recent_s,
            tick_s=self._recent_s / self._recent_ticks,
        )
