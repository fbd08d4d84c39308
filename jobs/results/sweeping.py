"""Deleting what has expired from stores that do not do it themselves: one API process at a time, once a minute."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs import keys
from jobs.background import in_background
from jobs.errors import ResultsAway
from jobs.results.places import Results

EVERY_S = 60

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def sweeping(results: Results, redis: Redis) -> AsyncIterator[None]:
    """Sweep for as long as the context is open, if there is anything to sweep."""
    if not results.need_sweeping:
        yield
        return
    async with in_background(_keep_sweeping(results, redis)):
        yield


async def _keep_sweeping(results: Results, redis: Redis) -> None:
    while True:
        try:
            # It is not given back: whoever comes within the minute has nothing to do.
            if await redis.set(keys.SWEEP_LOCK, 1, nx=True, ex=EVERY_S - 5):
                gone = await results.sweep(time.time())
                if gone:
                    log.info("swept expired results", files=gone)
        except (RedisError, ResultsAway) as error:
            log.warning("expired results are not swept for now", reason=str(error))
        await asyncio.sleep(EVERY_S)
