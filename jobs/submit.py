"""Accepting a job: all of it happens in Redis, or nothing does."""

import json
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import keys
from jobs.errors import IdempotencyConflict, TooMuchQueued
from jobs.queue import ServiceJob
from jobs.spec import JobSpec

IDEMPOTENCY_TTL_S = 86_400
DOORBELL_LENGTH = 64
INDEX_TTL_S = 7 * 86_400

# One script, since a limit that is checked before the push could be passed by two callers at once.
_SUBMIT = """
local job, lane, queues, work, index, bell, record = unpack(KEYS)
local id, evaluations, limit, now, body = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
if record ~= '' then
  local known = redis.call('GET', record)
  if known then return {'known', known} end
end
local queued = tonumber(redis.call('HGET', work, 'queued') or '0')
if queued > 0 and queued + evaluations > limit then return {'full', tostring(queued)} end
redis.call('HSET', job, unpack(ARGV, 9))
redis.call('SADD', queues, lane)
redis.call('RPUSH', lane, id)
redis.call('HINCRBY', work, 'queued', evaluations)
redis.call('ZADD', index, now, id)
redis.call('ZREMRANGEBYSCORE', index, '-inf', tonumber(now) - tonumber(ARGV[7]))
redis.call('EXPIRE', index, ARGV[7])
redis.call('LPUSH', bell, 1)
redis.call('LTRIM', bell, 0, tonumber(ARGV[8]) - 1)
redis.call('EXPIRE', bell, 60)
if record ~= '' then
  redis.call('SET', record, cjson.encode({job = id, body = body}), 'EX', ARGV[6])
end
return {'accepted', id}
"""


@dataclass(frozen=True)
class Idempotency:
    """A caller's promise that requests with the same key are the same: the key, and a hash of the body."""

    key: str
    body_hash: str


async def push(
    redis: Redis, job: ServiceJob, spec: JobSpec, evaluations: int, limit: int, idempotency: Idempotency | None
) -> str:
    """Put a prepared RQ job on its lane; returns its id, or that of the job the idempotency key stands for.

    Raises `TooMuchQueued` when more than `limit` evaluations would wait, and `IdempotencyConflict` when the key
    was used for another body.
    """
    queue = f"rq:queue:{job.origin}"
    record = keys.idempotency(spec.caller, idempotency.key) if idempotency else ""
    names = [
        job.key,
        queue,
        "rq:queues",
        keys.WORK,
        keys.caller_jobs(spec.caller),
        keys.doorbell(spec.model),
        record,
    ]
    fields = [part for pair in job.to_dict(include_result=False).items() for part in pair]
    assert job.enqueued_at is not None
    now = int(job.enqueued_at.timestamp())
    body = idempotency.body_hash if idempotency else ""
    head: list[Any] = [job.id, evaluations, limit, now, body, IDEMPOTENCY_TTL_S, INDEX_TTL_S, DOORBELL_LENGTH]
    answer: Any = await redis.eval(_SUBMIT, len(names), *names, *head, *fields)
    verdict, said = (str(part.decode()) for part in answer)
    if verdict == "full":
        raise TooMuchQueued(int(said), limit)
    if verdict == "known":
        assert idempotency is not None
        known = json.loads(said)
        if known["body"] != idempotency.body_hash:
            raise IdempotencyConflict(idempotency.key)
        return str(known["job"])
    assert verdict == "accepted"
    return said
