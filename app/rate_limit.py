"""How many submits a caller may make in a time: a moving window, kept in Redis for all API processes."""

import math
import re
import time
from http import HTTPStatus

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis

from app.problems import Problem
from jobs.settings import SettingsError

PREFIX = "unfog:limits"
_RATE = re.compile(r"[1-9]\d{0,5} */ *([1-9]\d{0,3} +)?(second|minute|hour|day)s?", re.IGNORECASE)


def parsed(rate: str) -> RateLimitItem | None:
    """The limit that UNFOG_RATE_LIMIT stands for; None for any number. Raises `SettingsError`."""
    if not rate.strip():
        return None
    if not _RATE.fullmatch(rate.strip()):
        raise SettingsError(f"UNFOG_RATE_LIMIT is {rate!r}: it must look like 120/minute or 10/5 seconds.")
    return parse(rate.strip())


class RateLimit:
    """The limit of one application; `redis` is its client, whose connections this shares."""

    def __init__(self, limit: RateLimitItem | None, redis: Redis) -> None:
        self._limit = limit
        # The URL only has to have a scheme that the library knows: connections come from the pool.
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # the option is documented
        )
        self._window = MovingWindowRateLimiter(storage)

    async def take(self, caller: str) -> None:
        """Count one submit of `caller`: one round trip. Raises `Problem` 429 with the time until one is free."""
        if self._limit is None or await self._window.hit(self._limit, caller):
            return
        stats = await self._window.get_window_stats(self._limit, caller)
        wait_s = max(1, math.ceil(stats.reset_time - time.time()))
        often = f"{self._limit.amount} times in {self._limit.get_expiry()} s"
        detail = f"a caller may submit {often}; try again in {wait_s} s"
        headers = {"Retry-After": str(wait_s)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", detail, headers=headers)
