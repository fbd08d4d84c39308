"""Jobs for the tests, submitted as the API does and claimed as a worker does."""

import asyncio
from typing import Any

from pydantic import SecretStr
from redis import Redis

from jobs.catalogue import Catalogue
from jobs.connection import connect_async
from jobs.lanes import lanes_of, suspects_name
from jobs.queue import ServiceQueue
from jobs.record import JobRecord
from jobs.request import JobRequest, evaluations, resolve
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.submit import Idempotency
from tests.cards import FRUIT
from worker.consumer.claim import Claimed, claim, pop

TTL_S = 10


class Desk:
    """Submits, claims and reads jobs of the fruit model."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis_url=SecretStr(url))
        self.redis = Redis.from_url(url)
        names = [lane.name for lane in lanes_of(FRUIT.id)]
        self.queue_names = [*names, suspects_name(FRUIT.id)]

    def submit(self, idempotency: Idempotency | None = None, **fields: Any) -> JobRecord:
        """Submit one job."""

        async def submitted() -> JobRecord:
            store = JobStore(connect_async(self.settings), self.redis, self.settings.max_queued_evaluations)
            request = JobRequest(**{"steps": 10, "guidance_scale": 1, **fields})
            spec = resolve(request, Catalogue({FRUIT.id: FRUIT}, FRUIT.id, {FRUIT.id: 1}), 16_000)
            sampler = FRUIT.sampler(spec.sampler)
            assert sampler is not None
            try:
                return await store.submit(spec, evaluations(spec, sampler), idempotency)
            finally:
                await store.close()

        return asyncio.run(submitted())

    def read(self, job_id: str) -> JobRecord:
        """One job as the API reads it."""

        async def read() -> JobRecord:
            store = JobStore(connect_async(self.settings), self.redis, 1)
            try:
                return await store.get(job_id)
            finally:
                await store.close()

        return asyncio.run(read())

    def queues(self) -> list[ServiceQueue]:
        """Every queue of the model, suspects last."""
        return [ServiceQueue(name, connection=self.redis) for name in self.queue_names]

    def claim_all(self, worker: str) -> list[Claimed]:
        """Claim all that waits."""
        claimed: list[Claimed] = []
        while popped := pop(self.redis, self.queues()):
            claimed += claim(self.redis, popped, worker, TTL_S)
        return claimed

    def counters(self) -> dict[str, int]:
        """The work counters."""
        return {field.decode(): int(count) for field, count in self.redis.hgetall("unfog:work").items()}
