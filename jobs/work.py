"""How much work there is, in evaluations: counted as jobs come and go, and recounted every minute.

RQ's own tools cancel, requeue and delete jobs without telling, so the counters drift and are set right.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

from jobs import keys
from jobs.queue import ServiceJob

RECOUNT_EVERY_S = 60
CHUNK = 500


def moved(pipe: Pipeline, *, queued: int = 0, running: int = 0) -> None:
    """Add to the counters in the transaction that moves the jobs."""
    for field, change in (("queued", queued), ("running", running)):
        if change:
            pipe.hincrby(keys.WORK, field, change)


def recount(redis: Redis, lanes: Iterable[str], started: Iterable[str]) -> bool:
    """Set the counters right from the lanes and the registries of started jobs; False if that was done lately.

    What moves meanwhile may be counted on either side, by as much as moves within the count; the next one sees.
    """
    if not redis.set(keys.WORK_LOCK, 1, nx=True, ex=RECOUNT_EVERY_S):
        return False
    before = _counters(redis)
    waiting = [job_id for lane in lanes for job_id in _decoded(redis.lrange(lane, 0, -1))]
    executions = [key for registry in started for key in _decoded(redis.zrange(registry, 0, -1))]
    running = [key.partition(":")[0] for key in executions]
    counted = {"queued": _evaluations(redis, waiting), "running": _evaluations(redis, running)}
    with redis.pipeline() as pipe:
        moved(pipe, **{field: counted[field] - before[field] for field in counted})
        pipe.execute()
    return True


def _counters(redis: Redis) -> dict[str, int]:
    queued, running = redis.hmget(keys.WORK, ["queued", "running"])
    return {"queued": int(queued or 0), "running": int(running or 0)}


def _decoded(names: Any) -> list[str]:
    return [name.decode() for name in names]


def _evaluations(redis: Redis, job_ids: Sequence[str]) -> int:
    total = 0
    for first in range(0, len(job_ids), CHUNK):
        with redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids[first : first + CHUNK]:
                pipe.hget(ServiceJob.key_for(job_id), "meta")
            total += sum(_total(meta) for meta in pipe.execute(raise_on_error=False))
    return total


def _total(meta: Any) -> int:
    try:
        return int(json.loads(meta)["total"])
    except (TypeError, ValueError, KeyError):
        return 0  # deleted meanwhile, or malformed
