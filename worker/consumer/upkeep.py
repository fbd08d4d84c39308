"""What one worker at a time does for all of them: jobs of silent workers, leftovers, counters."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import structlog
from redis import Redis

from jobs import keys
from jobs.queue import ServiceQueue
from jobs.recovery import take_back_overdue
from jobs.tidying import expire_canceled, forget_dead_workers
from jobs.work import recount

LOCK_S = 10
"""Seconds and not minutes: a worker may die while it holds the lock."""

log = structlog.get_logger()


class Upkeep:
    """The upkeep of some queues, under a lock in Redis."""

    def __init__(self, redis: Redis, queues: Sequence[ServiceQueue], worker_name: str) -> None:
        self._redis, self._queues, self._worker_name = redis, queues, worker_name
        self._names = [queue.name for queue in queues]

    def run(self, *, take_back: bool) -> None:
        """Do it, unless another worker does. Without `take_back`, silent workers keep their jobs for now."""
        if not self._redis.set(keys.MAINTENANCE_LOCK, self._worker_name, nx=True, ex=LOCK_S):
            return
        if take_back:
            taken = take_back_overdue(self._redis, self._names)
            if taken:
                log.warning("took back jobs of silent workers", **asdict(taken))
        self._clear_registries()
        if recount(self._redis):
            forget_dead_workers(self._redis, self._names)
            expire_canceled(self._redis, self._names)
        self._redis.delete(keys.MAINTENANCE_LOCK)

    def _clear_registries(self) -> None:
        """Drop ended jobs that have expired, and put back what was popped and never claimed."""
        moment = int(time.time())
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues:
                pipe.zremrangebyscore(queue.finished_job_registry.key, 0, moment)
                pipe.zremrangebyscore(queue.failed_job_registry.key, 0, moment)
                pipe.llen(queue.intermediate_queue_key)
            popped = pipe.execute()[2::3]
        for queue, length in zip(self._queues, popped, strict=True):
            if length:
                queue.intermediate_queue.cleanup(self, queue)  # type: ignore[arg-type]  # ours needs no worker
