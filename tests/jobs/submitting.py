"""Jobs for the tests, submitted as the API does, and claimed and committed as a worker does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import SecretStr
from redis import Redis

from jobs.catalogue import Catalogue
from jobs.connection import connect_async
from jobs.lanes import queue_names
from jobs.ledger import Entry, entry_of
from jobs.queue import ServiceQueue
from jobs.record import Failure, JobRecord
from jobs.request import JobRequest, evaluations, resolve
from jobs.results.in_redis import RedisWriter
from jobs.settings import Settings
from jobs.spec import ANONYMOUS, JobSpec
from jobs.store import JobStore
from jobs.submit import Idempotency
from tests.cards import FRUIT, png
from worker.consumer.claim import Claimed, claim, pop
from worker.consumer.commit import commit, give_back
from worker.consumer.execution import LiveJob
from worker.consumer.storing import Storing
from worker.png import Encoded

TTL_S = 10
CATALOGUE = Catalogue({FRUIT.id: FRUIT}, FRUIT.id, {FRUIT.id: 1})

Answer = TypeVar("Answer")


class Desk:
    """Submits, claims, commits and reads jobs of the fruit model."""

    def __init__(self, url: str, **limits: int) -> None:
        self.settings = Settings(redis_url=SecretStr(url), **limits)
        self.redis = Redis.from_url(url)
        self.queue_names = queue_names(FRUIT.id)
        self._queues = [ServiceQueue(name, connection=self.redis) for name in self.queue_names]

    def ask(self, act: Callable[[JobStore], Awaitable[Answer]]) -> Answer:
        """Call something with a job store, in an event loop that ends with it."""

        async def asked() -> Answer:
            settings = self.settings
            limits = (settings.max_queued_evaluations, settings.max_caller_queued_evaluations)
            store = JobStore(connect_async(settings), self.redis, *limits)
            try:
                return await act(store)
            finally:
                await store.close()

        return asyncio.run(asked())

    def submit(self, idempotency: Idempotency | None = None, caller: str = ANONYMOUS, **fields: Any) -> JobRecord:
        """Submit one job."""
        spec, cost = self.resolved(caller, **fields)
        return self.ask(lambda store: store.submit(spec, cost, idempotency))

    def resolved(self, caller: str = ANONYMOUS, **fields: Any) -> tuple[JobSpec, int]:
        """A spec, and the evaluations it costs."""
        request = JobRequest(**{"steps": 10, "guidance_scale": 1, **fields})
        spec = resolve(request, CATALOGUE, 16_000, caller=caller)
        sampler = FRUIT.sampler(spec.sampler)
        assert sampler is not None
        return spec, evaluations(spec, sampler)

    def read(self, job_id: str) -> JobRecord:
        """One job as the API reads it."""
        return self.ask(lambda store: store.get(job_id))

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel one job as the API does."""
        return self.ask(lambda store: store.cancel(job_id))

    def queues(self) -> list[ServiceQueue]:
        """Every queue of the model, suspects last."""
        return self._queues

    def claim_all(self, worker: str) -> list[Claimed]:
        """Claim all that waits."""
        claimed: list[Claimed] = []
        while popped := pop(self.redis, self.queues()):
            claimed += claim(self.redis, popped, worker, TTL_S)
        return claimed

    # What a worker does with what it has claimed

    def live(self, claimed: Claimed) -> LiveJob:
        """A claimed job as the worker holds it."""
        return LiveJob(claimed, FRUIT, claimed.record.meta)

    def progress(self, live: LiveJob, done: int) -> None:
        """Write that so many evaluations are done."""
        with self.redis.pipeline() as pipe:
            live.write_progress(pipe, done)
            pipe.execute()

    def finish(self, worker: str, live: LiveJob, *, failure: Failure | None = None) -> bool:
        """Commit the end of a job: with pictures, or failed. False when it was no longer the worker's."""
        live.failure = failure
        picture = png((1, 2, 3))
        live.encoded = {index: Encoded(picture, "0", 16, 16) for index in range(live.spec.num_images)}
        if live.spec.animation:
            live.animation = picture
        Storing(RedisWriter(self.redis)).stored([live])
        return not commit(self.redis, worker, [live])

    def stop(self, worker: str, live: LiveJob) -> bool:
        """Commit that a job was stopped."""
        live.stopped = True
        return not commit(self.redis, worker, [live])

    def give_back(self, worker: str, live: list[LiveJob], *, crashed: bool) -> list[LiveJob]:
        """Queue jobs again; those that were no longer the worker's."""
        return give_back(self.redis, worker, live, crashed=crashed)

    # What is counted

    def counters(self) -> dict[str, int]:
        """The work counters."""
        return {field.decode(): int(count) for field, count in self.redis.hgetall("unfog:work").items()}

    def model_counters(self) -> dict[str, int]:
        """The counters of the model that are not 0; not how far the lanes' axes reach."""
        found = self.redis.hgetall(f"unfog:models:{FRUIT.id}:work")
        counts = {field.decode(): int(count) for field, count in found.items()}
        return {field: count for field, count in counts.items() if count and not field.endswith(".end")}

    def callers(self) -> dict[str, int]:
        """The evaluations that wait, by caller."""
        found = self.redis.hgetall("unfog:callers:queued")
        return {caller.decode(): int(count) for caller, count in found.items()}

    def ledger(self) -> dict[str, Entry]:
        """The entries by job."""
        found = self.redis.hgetall(f"unfog:models:{FRUIT.id}:ledger")
        return {job_id.decode(): entry_of(raw) for job_id, raw in found.items()}

    def order(self, lane: str) -> list[str]:
        """The jobs of a lane as they are lined up."""
        return [job_id.decode() for job_id in self.redis.zrange(f"unfog:models:{FRUIT.id}:order:{lane}", 0, -1)]
