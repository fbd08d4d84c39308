"""How fast the live workers of a model are together, as they measured it themselves."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pace:
    """The live workers of one model. Rates are evaluations a second, counted in places."""

    workers: frozenset[str]
    """The names of all, also of those that have not said how fast they are."""
    measured: int = 0
    """How many have said."""
    rate: float = 0.0
    """What these do together."""
    tick_s: float = 0.0
    """How long a tick takes them, on average."""


def said(rate: float, tick_s: float) -> str:
    """What a worker writes of itself."""
    return json.dumps({"rate": rate, "tick_s": tick_s})


def pace_of(live: Iterable[bytes], rates: Mapping[bytes, bytes]) -> Pace:
    """The pace of the workers that live; `rates` is what any worker has said, by its name."""
    names = list(live)
    words = [word for name in names if (word := _understood(rates.get(name))) is not None]
    workers = frozenset(name.decode() for name in names)
    if not words:
        return Pace(workers)
    ticks = sum(tick_s for _, tick_s in words) / len(words)
    return Pace(workers, len(words), sum(rate for rate, _ in words), ticks)


def _understood(word: bytes | None) -> tuple[float, float] | None:
    try:
        found: Any = json.loads(word or b"{}")
        rate, tick_s = float(found["rate"]), float(found["tick_s"])
    except (ValueError, KeyError, TypeError):
        return None
    return (rate, tick_s) if 0 < rate < math.inf and 0 <= tick_s < math.inf else None
