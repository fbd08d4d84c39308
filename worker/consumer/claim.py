"""Taking jobs from the queues: popped, read, and claimed only if nobody else has them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis import Redis, WatchError
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import FailedJobRegistry
from rq.utils import as_text

from jobs import ledger
from jobs.events import publish_moved
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import FromNewerRelease, JobMeta, restore, whole_spec_of, write_meta
from jobs.spec import JobSpec

MALFORMED_KEPT_S = 86_400

log = structlog.get_logger()


@dataclass(frozen=True)
class Claimed:
    """A job that is now ours, with the record of this execution."""

    job: ServiceJob
    queue: ServiceQueue
    execution: Execution
    spec: JobSpec
    meta: JobMeta


def pop(redis: Redis, queues: Sequence[ServiceQueue]) -> list[tuple[ServiceQueue, str]]:
    """Move one job id from each queue to its intermediate list, where no crash can lose it: one round trip."""
    with redis.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        answers = pipe.execute()
    return [(queue, as_text(job_id)) for queue, job_id in zip(queues, answers, strict=True) if job_id is not None]


def claim(redis: Redis, popped: Sequence[tuple[ServiceQueue, str]], worker_name: str, ttl_s: int) -> list[Claimed]:
    """Claim popped jobs in one transaction: only those that are queued at that moment.

    A job that was cancelled, deleted or claimed meanwhile is dropped; a malformed one, or one that names
    another function than ours, is marked failed; one from a newer release goes back. All leave the intermediate
    list.
    """
    queue_of = {job_id: queue for queue, job_id in popped}
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*(ServiceJob.key_for(job_id) for job_id in queue_of))
                with redis.pipeline(transaction=False) as read:
                    for job_id in queue_of:
                        read.hgetall(ServiceJob.key_for(job_id))
                    hashes = read.execute(raise_on_error=False)
                pipe.multi()
                for queue, job_id in popped:
                    pipe.lrem(queue.intermediate_queue_key, 1, job_id)
                claimed = [
                    taken
                    for (job_id, queue), raw in zip(queue_of.items(), hashes, strict=True)
                    if (taken := _take(pipe, redis, queue, job_id, raw, worker_name, ttl_s)) is not None
                ]
                pipe.execute()
            except WatchError:
                continue
            return claimed


def _take(
    pipe: Pipeline,
    redis: Redis,
    queue: ServiceQueue,
    job_id: str,
    raw: dict[bytes, bytes] | Exception,
    worker_name: str,
    ttl_s: int,
) -> Claimed | None:
    if not raw or isinstance(raw, Exception):
        # Erased meanwhile, or somebody's key of another type: nothing that could be marked.
        ledger.gone(pipe, queue.name, job_id)
        return None
    try:
        job = restore(job_id, raw, redis)
        spec, meta = whole_spec_of(job), JobMeta.model_validate(job.meta)
    except FromNewerRelease as error:
        # At the back, so that what is behind it comes first; its place in the books is that of before.
        pipe.rpush(queue.key, job_id)
        log.warning("left for a newer worker", job=job_id, unknown=str(error))
        return None
    except Exception:  # noqa: BLE001  # whatever a forged hash provokes must not stop the worker
        _mark_malformed(pipe, queue, job_id)
        return None
    if job.get_status(refresh=False) != JobStatus.QUEUED:
        return None
    # A killed worker leaves ids here that make RQ's cancel and delete raise.
    pipe.delete(job.execution_registry.key)
    execution = Execution.create(job, ttl_s, pipeline=pipe, worker_name=worker_name)
    job.prepare_for_execution(worker_name, pipeline=pipe)
    meta = meta.model_copy(update={"attempt": meta.attempt + 1, "completed": 0})
    write_meta(pipe, job, meta)
    pipe.persist(job.key)
    ledger.runs(pipe, queue.name, job_id, meta.total, spec.caller)
    publish_moved(pipe, job_id)
    return Claimed(job, queue, execution, spec, meta)


def _mark_malformed(pipe: Pipeline, queue: ServiceQueue, job_id: str) -> None:
    key = ServiceJob.key_for(job_id)
    pipe.hset(key, "status", JobStatus.FAILED)
    pipe.expire(key, MALFORMED_KEPT_S)
    registry = FailedJobRegistry(queue.name, connection=queue.connection, job_class=ServiceJob)
    pipe.zadd(registry.key, {job_id: time.time() + MALFORMED_KEPT_S})
    ledger.gone(pipe, queue.name, job_id)
