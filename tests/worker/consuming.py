"""A batch worker on a real Redis, driven turn by turn, and jobs for it."""

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from redis import Redis

from jobs.catalogue import Catalogue, announce
from jobs.connection import connect, connect_async
from jobs.record import JobRecord
from jobs.request import JobRequest, evaluations, resolve
from jobs.results.places import writer_of
from jobs.settings import Settings
from jobs.store import JobStore
from tests.cards import FRUIT
from tests.worker.fake_engine import FakeEngine
from worker.consumer.batch_worker import BatchWorker, unique_name
from worker.consumer.execution import LiveJob
from worker.engine_client import Serving
from worker.metrics import WorkerMetrics

ENGINE = "cpu-test"


@dataclasses.dataclass
class Bench:
    """A worker, its fake engine, and the Redis both stand on."""

    settings: Settings
    redis: Redis
    engine: FakeEngine
    worker: BatchWorker
    metrics: WorkerMetrics

    def turn(self, times: int = 1) -> None:
        """Let the worker go round, looking for jobs each time."""
        for _ in range(times):
            self.worker._scan_at = 0.0
            self.worker._turn()

    def beat(self) -> None:
        """A turn with heartbeats."""
        self.worker._beat_at = 0.0
        self.turn()

    def look(self) -> None:
        """A turn in which the worker sees who watches."""
        self.worker._watching._due = self.worker._watching._silent_until = 0.0
        self.turn()

    def submit(self, **fields: Any) -> JobRecord:
        """Submit a job as the API does."""
        return asyncio.run(self._submit(fields))

    async def _submit(self, fields: dict[str, Any]) -> JobRecord:
        chosen = {
            name: fields.pop(name) for name in {"caller", "request_id", "init_image", "strength"} & fields.keys()
        }
        store = JobStore(connect_async(self.settings), self.redis, self.settings.max_queued_evaluations)
        catalogue = Catalogue({FRUIT.id: FRUIT}, FRUIT.id, {FRUIT.id: 1})
        spec = resolve(JobRequest(**fields), catalogue, self.settings.max_job_evaluations)
        spec = spec.model_copy(update=chosen)
        sampler = FRUIT.sampler(spec.sampler)
        assert sampler is not None
        try:
            return await store.submit(spec, evaluations(spec, sampler))
        finally:
            await store.close()

    def read(self, job: JobRecord) -> JobRecord:
        """The job as the API reads it."""
        return asyncio.run(self._read(job.id))

    async def _read(self, job_id: str) -> JobRecord:
        store = JobStore(connect_async(self.settings), self.redis, 1)
        try:
            return await store.get(job_id)
        finally:
            await store.close()

    def live(self, job: JobRecord) -> LiveJob:
        """The execution that the worker has of a job."""
        (one,) = [one for one in self.worker._batch.live if one.id == job.id]
        return one

    def held(self) -> set[str]:
        """The ids of the jobs that the engine has rows of."""
        return {key.partition(":")[0] for key, _ in self.engine.rows}


@contextmanager
def consuming(redis_url: str, **settings: Any) -> Iterator[Bench]:
    """A registered worker without a loop."""
    chosen = Settings(redis_url=SecretStr(redis_url), **settings)
    redis = connect(chosen)
    engine = FakeEngine(FRUIT.height, FRUIT.width)
    serving = Serving((FRUIT,), {FRUIT.id: ENGINE})
    metrics = WorkerMetrics()
    worker = BatchWorker(chosen, redis, engine, serving, unique_name(), metrics, writer_of(chosen, redis))
    worker.bootstrap(logging_level="ERROR")
    announce(redis, worker.name, serving.cards, chosen.heartbeat_ttl_s)
    try:
        yield Bench(chosen, redis, engine, worker, metrics)
    finally:
        worker.teardown()
        redis.close()
