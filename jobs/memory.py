"""Room in Redis: new jobs are refused early, so that the ends of accepted ones always fit."""

import time
from typing import Any

from redis.asyncio import Redis

from jobs.errors import StoreNearlyFull

FULL_AT = 0.85
LOOK_EVERY_S = 1.0


class MemoryGuard:
    """Knows how full Redis is, looking at most once a second."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._looked_at = float("-inf")
        self._used, self._most = 0, 0

    async def require_room(self) -> None:
        """Raises `StoreNearlyFull` from 85 % of maxmemory on; without a maxmemory there is always room."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            info: dict[str, Any] = await self._redis.info("memory")
            self._used, self._most = int(info["used_memory"]), int(info["maxmemory"])
            self._looked_at = time.monotonic()
        if self._most and self._used >= FULL_AT * self._most:
            share = 100 * self._used // self._most
            raise StoreNearlyFull(
                f"the job store is {share} % full; results expire by themselves, so try again later"
            )
