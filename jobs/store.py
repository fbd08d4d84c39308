"""The API's way to the jobs: submit, read, cancel, erase, list, and fetch pictures. Asynchronous."""

import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from rq.job import JobStatus, Retry
from rq.utils import now

from jobs import keys
from jobs.cancel import cancel, erase
from jobs.catalogue import Catalogue, read_catalogue, read_models, read_refusals
from jobs.errors import JobGone, JobNotFound, JobUnfinished
from jobs.estimate import Estimate, estimate_all, estimate_new
from jobs.ids import is_job_id, new_job_id
from jobs.lanes import lane_of
from jobs.listing import Page, read_page
from jobs.memory import MemoryGuard
from jobs.queue import GENERATE, ServiceJob, ServiceQueue
from jobs.record import FIELDS, JobMeta, JobRecord, Picture, Status, read_values, record_of
from jobs.results.places import Results, is_elsewhere
from jobs.spec import JobSpec
from jobs.stats import Stats, read_stats
from jobs.submit import INDEX_TTL_S, Idempotency, Limits, push

NO_DEADLINE = -1
"""RQ's clock does not stand still for a parked job; the worker keeps the deadlines."""
RQ_RETRIES = 1000


class JobStore:
    """Jobs in Redis, seen from the API.

    `unused` is a synchronous client that RQ's classes want to hold; no call ever goes through it. `max_queued`
    evaluations may wait, `max_queued_of_caller` of one caller. `results` is where pictures are read from; Redis
    alone if it is not given.
    """

    def __init__(
        self,
        redis: AsyncRedis,
        unused: Redis,
        max_queued: int,
        max_queued_of_caller: int | None = None,
        results: Results | None = None,
    ) -> None:
        self._redis, self._unused = redis, unused
        self._results = results or Results(redis)
        self._limits = Limits(max_queued, max_queued if max_queued_of_caller is None else max_queued_of_caller)
        self._memory = MemoryGuard(redis)

    async def catalogue(self) -> Catalogue:
        """The models that the workers have announced."""
        return await read_catalogue(self._redis)

    async def models(self) -> Catalogue:
        """The same without who serves them: all that a submit needs, in one round trip."""
        return await read_models(self._redis)

    async def submit(self, spec: JobSpec, evaluations: int, idempotency: Idempotency | None = None) -> JobRecord:
        """Accept a job, in one script: all of it happens or nothing does; see `jobs.submit`.

        With an idempotency key that is known, the job it stands for. Raises `TooMuchQueued`, `CallerQueueFull`,
        `IdempotencyConflict`, `StoreNearlyFull`, and `JobGone` when the key's job has expired or was erased.
        """
        await self._memory.require_room()
        queue = ServiceQueue(lane_of(spec, evaluations).name, connection=self._unused)
        job = queue.create_job(
            GENERATE,
            kwargs={"spec": spec.written()},
            job_id=new_job_id(),
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
        accepted = await push(self._redis, job, spec, evaluations, self._limits, idempotency)
        return record_of(job) if accepted == job.id else await self.get(accepted, spec.caller)

    async def get(self, job_id: str, caller: str | None = None) -> JobRecord:
        """The job of that id, if it is the caller's; anybody's for None: one round trip, two if there is none.

        Raises `JobNotFound`, and `JobGone` when it was the caller's and has expired or was erased.
        """
        if not is_job_id(job_id):
            raise JobNotFound(f"there is no job {job_id!r}")
        record = await self._read(job_id)
        if record is not None and caller in (None, record.spec.caller):
            return record
        if record is None and caller is not None:
            submitted: Any = await self._redis.zscore(keys.caller_jobs(caller), job_id)
            if (submitted or 0) > time.time() - INDEX_TTL_S:
                raise JobGone(job_id)
        raise JobNotFound(f"there is no job {job_id!r}, or it has expired")

    async def _read(self, job_id: str) -> JobRecord | None:
        try:
            values: Any = await self._redis.hmget(ServiceJob.key_for(job_id), list(FIELDS))
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return None
        return read_values(job_id, values)

    async def cancel(self, job_id: str, caller: str | None = None) -> JobRecord:
        """Cancel a job: a queued one ends at once, a running one at its worker's next tick, an ended one stays.

        Raises as `get` does.
        """
        return await cancel(self._redis, self._unused, await self.get(job_id, caller))

    async def erase(self, job_id: str, caller: str | None = None) -> None:
        """Erase an ended job and all that it made. Raises `JobUnfinished`, `ResultsAway`, and as `get` does.

        What lies outside of Redis goes first: a store that is away leaves a job that can be erased later.
        """
        record = await self.get(job_id, caller)
        if record.status.ended:
            await self._results.delete([one for one in record.meta.references if is_elsewhere(one)])
        if not await erase(self._redis, record):
            raise JobUnfinished(job_id)

    async def jobs_of(self, caller: str, status: Status | None, cursor: str | None, limit: int) -> Page:
        """The caller's jobs, newest first, at most `limit`; only those of that status. Raises `CursorUnknown`."""
        return await read_page(self._redis, caller, status, cursor, limit)

    async def estimate(self, record: JobRecord) -> Estimate:
        """When the job will be done: one round trip, none for a job that has ended."""
        return (await self.estimates([record]))[0]

    async def estimates(self, records: Sequence[JobRecord]) -> list[Estimate]:
        """The same for several jobs, in one round trip."""
        return await estimate_all(self._redis, records)

    async def estimate_new(self, spec: JobSpec, evaluations: int) -> Estimate:
        """The estimate of a job that would be submitted now."""
        return await estimate_new(self._redis, spec, evaluations)

    async def stats(self) -> Stats:
        """How much work there is, in all and by model."""
        return await read_stats(self._redis)

    async def picture(self, picture: Picture) -> bytes:
        """The PNG of one picture. Raises `JobNotFound` when it has expired meanwhile, and `ResultsAway`."""
        png = await self._results.get(picture.key)
        if png is None:
            raise JobNotFound("the picture has expired")
        return png

    async def animation(self, record: JobRecord) -> bytes:
        """The animated PNG of a job. Raises `JobNotFound` when it has none or it has expired, and `ResultsAway`."""
        stored = record.meta.animation
        png = await self._results.get(stored.key) if stored is not None else None
        if png is None:
            raise JobNotFound(f"job {record.id} has no animation, or it has expired")
        return png

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
