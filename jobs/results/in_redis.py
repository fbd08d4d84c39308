"""Results in Redis, where the jobs are: nothing else to run, every byte in memory."""

import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError

from jobs import keys
from jobs.connection import takes_no_writes
from jobs.results.store import ANIMATION, ResultFile, ResultReader, ResultWriter


class RedisWriter(ResultWriter):
    """Writes with a time to live."""

    at_once = True

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def reference(self, file: ResultFile) -> str:
        """A key."""
        if file.part == ANIMATION:
            return keys.animation(file.job_id, file.execution_id)
        return keys.picture(file.job_id, file.execution_id, int(file.part))

    def put(self, files: Sequence[ResultFile]) -> list[str | None]:
        """One round trip. Raises `ResponseError` while Redis takes no writes at all."""
        with self._redis.pipeline(transaction=False) as pipe:
            for file in files:
                lives_s = max(1, round(file.expires_at - time.time()))
                pipe.set(self.reference(file), file.data, ex=lives_s)
            answers = pipe.execute(raise_on_error=False)
        return [_refusal(answer) for answer in answers]

    def require(self) -> None:
        """A worker waits for its Redis before anything else."""


class RedisReader(ResultReader):
    """Reads keys; Redis itself sweeps."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def get(self, reference: str) -> bytes | None:
        """One round trip."""
        data: Any = await self._redis.get(reference)
        return None if data is None else bytes(data)

    async def delete(self, references: Sequence[str]) -> None:
        """One round trip."""
        if references:
            await self._redis.delete(*references)

    async def sweep(self, now: float) -> int:
        """Redis has done it."""
        return 0


def _refusal(answer: Any) -> str | None:
    if isinstance(answer, ResponseError):
        if takes_no_writes(answer):
            raise answer
        return str(answer)
    if isinstance(answer, Exception):
        raise answer
    return None
