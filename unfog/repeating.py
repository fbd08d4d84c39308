"""When to try again, and for how long: the one policy for all calls."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from unfog.errors import WrongArgument

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0


@dataclass(frozen=True)
class Policy:
    """retries: how often a call is repeated, at most. retry_limit_s: how long its pauses are, all together."""

    retries: int = 4
    retry_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.retries < 0 or not self.retry_limit_s >= 0:
            raise WrongArgument("retries and retry_limit_s are 0 or more")


class Attempts:
    """The attempts of one call under a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._made, self._paused_s = 0, 0.0

    def pause_s(self, wished_s: float | None = None) -> float | None:
        """How long to pause before the next attempt, None for no more of them.

        wished_s: what the service asked for. It is kept or, if it is beyond the limit, nothing is tried: to come
        earlier than told is to be sent away again. Without a wish it doubles each time. Chance is added to both, so
        that many clients do not come back at once.
        """
        if wished_s is None:
            pause_s = backoff_s(self._made)
        else:
            pause_s = max(wished_s, FIRST_PAUSE_S) * random.uniform(1, 1.1)  # noqa: S311
        self._made += 1
        self._paused_s += pause_s
        if self._made > self._policy.retries or self._paused_s > self._policy.retry_limit_s:
            return None
        return pause_s


def backoff_s(made: int) -> float:
    """How long to pause after `made` attempts."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(made, 8)) * random.uniform(0.5, 1)  # noqa: S311


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds from now (RFC 9110, section 10.2.3), None without one or without sense.

    A date is compared with the answer's own `Date`, since our clock may be off.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    until, now = _moment(value), _moment(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
