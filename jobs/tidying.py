"""What RQ leaves in Redis for ever, made to go: jobs that its tools cancelled, and the names of dead workers."""

import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from rq.registry import CanceledJobRegistry
from rq.utils import as_text
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from jobs.queue import ServiceJob

_EXPIRE_CANCELED = """
if redis.call('HGET', KEYS[1], 'status') == 'canceled' and redis.call('TTL', KEYS[1]) == -1 then
  redis.call('EXPIRE', KEYS[1], tonumber(redis.call('HGET', KEYS[1], 'result_ttl') or '') or 86400)
end
return redis.call('EXISTS', KEYS[1])
"""


def expire_canceled(redis: Redis, queue_names: Sequence[str]) -> None:
    """Give jobs that RQ's tools cancelled the time to live of their own, and strike those that are gone.

    RQ's list has the second at which a tool cancelled a job, or the one at which a job expires that the API
    cancelled: what lies ahead needs no look yet.
    """
    for name in queue_names:
        registry = CanceledJobRegistry(name, connection=redis).key
        listed: Any = redis.zrangebyscore(registry, "-inf", time.time())
        job_ids = [as_text(job_id) for job_id in listed]
        with redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.eval(_EXPIRE_CANCELED, 1, ServiceJob.key_for(job_id))
            there = pipe.execute()
        gone = [job_id for job_id, is_there in zip(job_ids, there, strict=True) if not is_there]
        if gone:
            redis.zrem(registry, *gone)


def forget_dead_workers(redis: Redis, queue_names: Sequence[str]) -> None:
    """Strike workers whose record has expired from RQ's lists; RQ itself does it for one queue at a time."""
    workers = [as_text(key) for key in redis.smembers(REDIS_WORKER_KEYS)]
    with redis.pipeline(transaction=False) as pipe:
        for worker in workers:
            pipe.exists(worker)
        dead = [worker for worker, there in zip(workers, pipe.execute(), strict=True) if not there]
        if dead:
            for name in queue_names:
                pipe.srem(WORKERS_BY_QUEUE_KEY % name, *dead)
            pipe.srem(REDIS_WORKER_KEYS, *dead)
            pipe.execute()
