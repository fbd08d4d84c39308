"""The API's way to the jobs: submit one, read one, fetch its pictures. Asynchronous."""

import secrets
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from rq.job import JobStatus, Retry
from rq.utils import now

from jobs.catalogue import Catalogue, read_catalogue, read_refusals
from jobs.errors import JobNotFound
from jobs.lanes import lane_of
from jobs.memory import MemoryGuard
from jobs.queue import GENERATE, ServiceJob, ServiceQueue
from jobs.record import JobMeta, JobRecord, Picture, record_of, restore
from jobs.spec import JobSpec
from jobs.submit import Idempotency, push

JOB_ID_PREFIX = "job_"
NO_DEADLINE = -1
"""RQ's clock does not stand still for a parked job; the worker keeps the deadlines."""
RQ_RETRIES = 1000


class JobStore:
    """Jobs in Redis, seen from the API.

    `unused` is a synchronous client that RQ's classes want to hold; no call ever goes through it.
    """

    def __init__(self, redis: AsyncRedis, unused: Redis, max_queued: int) -> None:
        self._redis, self._unused, self._max_queued = redis, unused, max_queued
        self._memory = MemoryGuard(redis)

    async def catalogue(self) -> Catalogue:
        """The models that the workers have announced."""
        return await read_catalogue(self._redis)

    async def submit(self, spec: JobSpec, evaluations: int, idempotency: Idempotency | None = None) -> JobRecord:
        """Accept a job, in one script: all of it happens or nothing does; see `jobs.submit`.

        With an idempotency key that is known, the job it stands for. Raises `TooMuchQueued`,
        `IdempotencyConflict` and `StoreNearlyFull`.
        """
        await self._memory.require_room()
        queue = ServiceQueue(lane_of(spec, evaluations).name, connection=self._unused)
        job = queue.create_job(
            GENERATE,
            kwargs={"spec": spec.model_dump_json()},
            job_id=JOB_ID_PREFIX + secrets.token_hex(12),
            status=JobStatus.QUEUED,
            timeout=NO_DEADLINE,
            result_ttl=spec.ttl_s,
            failure_ttl=spec.ttl_s,
            description=f"{spec.model} {spec.sampler} {spec.steps} steps, {spec.num_images} images",
            meta=JobMeta(total=evaluations).model_dump(mode="json"),
            # Only RQ's own tools count these; `jobs.recovery` has its own way to end a job that kills.
            retry=Retry(max=RQ_RETRIES, enqueue_at_front=True),
        )
        assert isinstance(job, ServiceJob)
        job.origin, job.enqueued_at = queue.name, now()
        accepted = await push(self._redis, job, spec, evaluations, self._max_queued, idempotency)
        return record_of(job) if accepted == job.id else await self.get(accepted)

    async def get(self, job_id: str) -> JobRecord:
        """The job of that id: one round trip. Raises `JobNotFound`."""
        foreign = JobNotFound(f"there is no job {job_id!r} of this service")
        try:
            raw: Any = await self._redis.hgetall(ServiceJob.key_for(job_id)) if _is_job_id(job_id) else {}
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            raise foreign from None
        if b"data" not in raw:
            raise JobNotFound(f"there is no job {job_id!r}, or it has expired")
        try:
            return record_of(restore(job_id, raw, self._unused))
        except Exception:  # noqa: BLE001  # a hash that this service did not write is no job of ours
            raise foreign from None

    async def picture(self, picture: Picture) -> bytes:
        """The PNG of one picture. Raises `JobNotFound` when it has expired meanwhile."""
        png: Any = await self._redis.get(picture.key)
        if png is None:
            raise JobNotFound("the picture has expired")
        return bytes(png)

    async def health(self) -> dict[str, Any]:
        """What Redis says of itself: `maxmemory_policy`, `used_memory`, `maxmemory`."""
        info: dict[str, Any] = await self._redis.info("memory")
        return info

    async def refusals(self) -> tuple[str, ...]:
        """Why workers could not start lately."""
        return await read_refusals(self._redis)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _is_job_id(text: str) -> bool:
    tail = text.removeprefix(JOB_ID_PREFIX)
    return tail != text and len(tail) == 24 and all(c in "0123456789abcdef" for c in tail)
