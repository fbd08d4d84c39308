"""Who waits for a job is woken when it ends: one capped stream, one reader per process, fanned out."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from jobs import keys
from jobs.background import in_background

STREAM_LENGTH = 10_000
BLOCK_MS = 400
"""Below the socket timeout of the API's client."""


MOVED = f"""
local function moved(id) redis.call('XADD', '{keys.EVENTS}', 'MAXLEN', '~', {STREAM_LENGTH}, '*', 'job', id) end
"""
"""`publish_moved` for scripts."""


def publish_moved(pipeline: Any, job_id: str) -> None:
    """Add to a pipeline the word that a job has begun to run, waits again or has ended."""
    pipeline.xadd(keys.EVENTS, {"job": job_id}, maxlen=STREAM_LENGTH, approximate=True)


class EventReader:
    """Reads the stream once for the whole process and wakes who waits for a job.

    A wake is only a hint: the one that is woken reads the job. After Redis was away everybody is woken,
    since an entry may have been missed.
    """

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read for as long as the context is open."""
        async with in_background(self._read()):
            yield

    @contextlib.contextmanager
    def listen(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job may have ended; open it before the job is read."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def _read(self) -> None:
        last: Any = None
        while True:
            try:
                if last is None:
                    last = await self._newest()
                    self._wake(list(self._waiting))
                answer: Any = await self._redis.xread({keys.EVENTS: last}, block=BLOCK_MS, count=1000)
            except RedisError:  # gone, or it changed its role under our feet: the reader must outlive both
                self._wake(list(self._waiting))
                await asyncio.sleep(0.5)
                continue
            for _, entries in answer or ():
                last = entries[-1][0]
                self._wake([fields[b"job"].decode() for _, fields in entries])

    async def _newest(self) -> Any:
        # Not "$": between two reads that both say "$" an entry would go unseen.
        entries: Any = await self._redis.xrevrange(keys.EVENTS, count=1)
        return entries[0][0] if entries else "0-0"

    def _wake(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            for event in self._waiting.get(job_id, ()):
                event.set()
