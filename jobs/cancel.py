"""Cancelling a job, and erasing one that has ended; both may be asked for any number of times."""

import json
from typing import Any

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import WatchError
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.job import JobStatus

from jobs import keys
from jobs.ending import Ending, end
from jobs.errors import JobGone
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import JobRecord, Status, record_of, restore
from jobs.results.places import is_elsewhere


async def cancel(redis: Redis, unused: SyncRedis, record: JobRecord) -> JobRecord:
    """Cancel a job that was read before; returns it as it is then. Raises `JobGone` if it has gone meanwhile.

    One that waits ends at once. One that runs gets a mark in its hash, which outlives its worker, and its worker
    a stop command, which is quicker. An ended one stays as it is.
    """
    job_key = ServiceJob.key_for(record.id)
    while True:
        async with redis.pipeline() as pipe:
            try:
                await pipe.watch(job_key)
                raw: Any = await pipe.hgetall(job_key)
                if not raw:
                    raise JobGone(record.id)
                job = restore(record.id, raw, unused)
                found = record_of(job)
                if found.status.ended:
                    return found
                pipe.multi()
                if found.status is Status.RUNNING:
                    _ask_to_stop(pipe, job)
                else:
                    found = _end(pipe, job, found)
                await pipe.execute()
            except WatchError:
                continue
            return found


def _ask_to_stop(pipe: Any, job: ServiceJob) -> None:
    pipe.hset(job.key, keys.CANCEL_FIELD, 1)
    command = json.dumps({"command": "stop-job", "job_id": job.id})
    pipe.publish(PUBSUB_CHANNEL_TEMPLATE % job.worker_name, command)


def _end(pipe: Any, job: ServiceJob, found: JobRecord) -> JobRecord:
    queue = ServiceQueue(job.origin, connection=job.connection)
    pipe.lrem(queue.key, 1, job.id)
    # A worker may have popped it; the claim that follows sees that it is no longer queued.
    pipe.lrem(queue.intermediate_queue_key, 1, job.id)
    return end(pipe, found, Ending(JobStatus.CANCELED, found.meta))


# The status is looked at where the keys are deleted: RQ's tools may have queued the job again.
_ERASE = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 1 end
for i = 2, #ARGV do
  if status == ARGV[i] then
    for k = 2, 4 do redis.call('ZREM', KEYS[k], ARGV[1]) end
    redis.call('DEL', KEYS[1], unpack(KEYS, 5))
    return 1
  end
end
return 0
"""

_ENDED = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)


async def erase(redis: Redis, record: JobRecord) -> bool:
    """Delete an ended job and what it has in Redis, and strike it from RQ's lists; False if it has not ended.

    A worker that still computes it finds that it is no longer its own. That the id was given out stays known.
    """
    job_id, meta = record.id, record.meta
    names = [
        ServiceJob.key_for(job_id),
        *(f"rq:{kind}:{record.queue}" for kind in ("finished", "failed", "canceled")),
        f"rq:results:{job_id}",
        f"rq:executions:{job_id}",
        *(one for one in meta.references if not is_elsewhere(one)),
    ]
    return bool(await redis.eval(_ERASE, len(names), *names, job_id, *_ENDED))
