"""Accepting a job: all of it happens in Redis, or nothing does.

Since the idempotency key is written by the same script as the job, no request is ever "still in flight": of two
with the same key the script takes one, and the other gets that one's job.
"""

import json
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import keys
from jobs.errors import CallerQueueFull, IdempotencyConflict, TooMuchQueued
from jobs.estimate import retry_after_s
from jobs.lanes import split
from jobs.ledger import LUA, book_keys
from jobs.queue import ServiceJob
from jobs.spec import JobSpec

IDEMPOTENCY_TTL_S = 86_400
DOORBELL_LENGTH = 64
INDEX_TTL_S = 7 * 86_400

# One script, since a limit that is checked before the push could be passed by two callers at once.
_SUBMIT = (
    LUA
    + """
local job, queue, queues, index, bell, record = unpack(KEYS, 6)
local id, lane, evaluations, caller, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
if record ~= '' then
  local known = redis.call('GET', record)
  if known then return {'known', known} end
end
local of_caller = tonumber(redis.call('HGET', book.callers, caller) or '0')
if of_caller > 0 and of_caller + evaluations > tonumber(ARGV[7]) then
  return {'caller_full', tostring(of_caller)}
end
local queued = tonumber(redis.call('HGET', book.work, 'queued') or '0')
if queued > 0 and queued + evaluations > tonumber(ARGV[6]) then return {'full', tostring(queued)} end
redis.call('HSET', job, unpack(ARGV, 12))
redis.call('SADD', queues, queue)
redis.call('RPUSH', queue, id)
enter(book, id, lane, evaluations, caller, false)
redis.call('ZADD', index, now, id)
redis.call('ZREMRANGEBYSCORE', index, '-inf', tonumber(now) - tonumber(ARGV[10]))
redis.call('EXPIRE', index, ARGV[10])
redis.call('LPUSH', bell, 1)
redis.call('LTRIM', bell, 0, tonumber(ARGV[11]) - 1)
redis.call('EXPIRE', bell, 60)
if record ~= '' then
  redis.call('SET', record, cjson.encode({job = id, body = ARGV[8]}), 'EX', ARGV[9])
end
return {'accepted', id}
"""
)


@dataclass(frozen=True)
class Idempotency:
    """A caller's promise that requests with the same key are the same: the key, and a hash of the body."""

    key: str
    body_hash: str


@dataclass(frozen=True)
class Limits:
    """The most evaluations that may wait, in all and of one caller. A job larger than that waits alone."""

    queued: int
    of_caller: int


async def push(
    redis: Redis, job: ServiceJob, spec: JobSpec, evaluations: int, limits: Limits, idempotency: Idempotency | None
) -> str:
    """Put a prepared RQ job on its lane; returns its id, or that of the job the idempotency key stands for.

    Raises `TooMuchQueued` and `CallerQueueFull` beyond the limits, and `IdempotencyConflict` when the key was
    used for another body.
    """
    queue = f"rq:queue:{job.origin}"
    record = keys.idempotency(spec.caller, idempotency.key) if idempotency else ""
    model, lane = split(job.origin)
    names = [
        *book_keys(model),
        job.key,
        queue,
        "rq:queues",
        keys.caller_jobs(spec.caller),
        keys.doorbell(model),
        record,
    ]
    fields = [part for pair in job.to_dict(include_result=False).items() for part in pair]
    assert job.enqueued_at is not None
    head: list[Any] = [
        job.id,
        lane,
        evaluations,
        spec.caller,
        f"{job.enqueued_at.timestamp():.6f}",
        limits.queued,
        limits.of_caller,
        idempotency.body_hash if idempotency else "",
        IDEMPOTENCY_TTL_S,
        INDEX_TTL_S,
        DOORBELL_LENGTH,
    ]
    answer: Any = await redis.eval(_SUBMIT, len(names), *names, *head, *fields)
    verdict, said = (str(part.decode()) for part in answer)
    if verdict == "accepted":
        return said
    if verdict == "known":
        assert idempotency is not None
        return _job_of(idempotency, said)
    queued = int(said)
    refusal, limit = {"full": (TooMuchQueued, limits.queued), "caller_full": (CallerQueueFull, limits.of_caller)}[
        verdict
    ]
    raise refusal(queued, limit, await retry_after_s(redis, queued, queued + evaluations - limit))


def _job_of(idempotency: Idempotency, known: str) -> str:
    found = json.loads(known)
    if found["body"] != idempotency.body_hash:
        raise IdempotencyConflict(idempotency.key)
    return str(found["job"])
