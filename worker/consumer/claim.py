"""Taking jobs from the queues: popped, read, and claimed only if nobody else has them.

Each of the three is one script for all jobs together; RQ's own methods send a dozen commands for every job. Tests
compare what both leave behind.
"""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from redis import Redis
from redis.client import Pipeline
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, Execution, ExecutionRegistry
from rq.job import JobStatus
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.utils import as_text, current_timestamp, utcformat

from jobs import ledger
from jobs.events import MOVED
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import FromNewerRelease, JobRecord, Status, moment_of, whole_record

MALFORMED_KEPT_S = 86_400
OUTLIVES_S = 60
"""How much longer than its execution RQ keeps the lists of executions."""

_POP = """
local popped = {}
for n = 1, #KEYS, 2 do popped[#popped + 1] = redis.call('LMOVE', KEYS[n], KEYS[n + 1], 'LEFT', 'RIGHT') end
return popped
"""

_READ = """
local hashes = {}
for n = 1, #KEYS do
  local found = redis.pcall('HGETALL', KEYS[n])
  hashes[n] = found.err and {} or found
end
return hashes
"""

# What is written first is refused by a full Redis, and with it all of the claim. A claim whose answer was lost
# comes again, and finds its own execution.
_CLAIM = f"""
{ledger.FUNCTIONS}{MOVED}
local worker, of_worker, ttl_s, lists_ttl_s, ends_at = unpack(ARGV, 2)

local function begin(one)
  redis.call('HSET', one.execution_key, 'id', one.execution, 'job_id', one.id, 'created_at', one.created_at,
    'last_heartbeat', one.created_at, 'worker_name', worker)
  redis.call('EXPIRE', one.execution_key, ttl_s)
  redis.call('DEL', one.executions)  -- a killed worker leaves ids here that make RQ's cancel and delete raise
  redis.call('ZADD', one.executions, ends_at + lists_ttl_s - ttl_s, one.execution)
  redis.call('EXPIRE', one.executions, lists_ttl_s)
  redis.call('ZADD', one.started, ends_at, one.composite)
  redis.call('SADD', of_worker, one.composite)
  redis.call('EXPIRE', of_worker, lists_ttl_s)
  redis.call('HSET', one.key, 'status', 'started', 'started_at', one.started_at, 'last_heartbeat', one.started_at,
    'worker_name', worker, 'meta', one.meta)
  redis.call('PERSIST', one.key)
  enter(one.book, one.id, 'running', one.evaluations, one.caller)
  moved(one.id)
end

local fates = {{}}
for n, one in ipairs(cjson.decode(ARGV[1])) do
  local found = redis.pcall('HMGET', one.key, 'status', 'meta')
  if found[1] == 'queued' and found[2] ~= one.read then
    fates[n] = 'read again'
  elseif found[1] == 'queued' then
    begin(one)
    fates[n] = 'claimed'
  else
    fates[n] = redis.call('ZSCORE', one.started, one.composite) and 'claimed' or 'dropped'
  end
  if fates[n] ~= 'read again' then redis.call('LREM', one.popped, 1, one.id) end
end
return fates
"""

Popped = tuple[ServiceQueue, str]
"""A queue, and the id of the job that was taken out of it."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Claimed:
    """A job that is now ours, and RQ's record of this execution."""

    record: JobRecord
    queue: ServiceQueue
    execution: Execution
    enqueued_at: datetime | None
    """When the job began to wait, the last time."""


@dataclass(frozen=True)
class _Ready:
    """What a claim would make of a job, and the meta that it rests on."""

    claimed: Claimed
    read: bytes


def pop(redis: Redis, queues: Sequence[ServiceQueue]) -> list[Popped]:
    """Move one job id from each queue to its intermediate list, where no crash can lose it: one round trip."""
    names = [name for queue in queues for name in (queue.key, queue.intermediate_queue_key)]
    answers: Any = redis.eval(_POP, len(names), *names)
    return [(queue, as_text(job_id)) for queue, job_id in zip(queues, answers, strict=True) if job_id is not None]


def claim(redis: Redis, popped: Sequence[Popped], worker_name: str, ttl_s: int) -> list[Claimed]:
    """Claim popped jobs in one step: only those that are queued at that moment.

    A job that was cancelled, deleted or claimed meanwhile is dropped; a malformed one, or one that names
    another function than ours, is marked failed; one from a newer release goes back. All leave the intermediate
    list.
    """
    claimed: list[Claimed] = []
    left = list(popped)
    while left:
        ready = _look(redis, left, worker_name)
        fates = list(zip(ready, _claim(redis, ready, worker_name, ttl_s), strict=True))
        claimed += [one.claimed for one, fate in fates if fate == b"claimed"]
        left = [(one.claimed.queue, one.claimed.record.id) for one, fate in fates if fate == b"read again"]
    return claimed


def _look(redis: Redis, popped: Sequence[Popped], worker_name: str) -> list[_Ready]:
    """Read popped jobs; what is nothing to claim is put aside."""
    hashes = _read(redis, popped)
    with redis.pipeline() as pipe:
        found = [_found(pipe, redis, one, raw, worker_name) for one, raw in zip(popped, hashes, strict=True)]
        pipe.execute()
    return [one for one in found if one is not None]


def _read(redis: Redis, popped: Sequence[Popped]) -> list[dict[bytes, bytes]]:
    """The hashes of jobs; empty for a job that was erased meanwhile, and for somebody's key of another type."""
    names = [ServiceJob.key_for(job_id) for _, job_id in popped]
    answers: Any = redis.eval(_READ, len(names), *names)
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for fields in answers]


def _found(
    pipe: Pipeline, redis: Redis, popped: Popped, raw: dict[bytes, bytes], worker_name: str
) -> _Ready | None:
    """A job as it is to be claimed; None for what is nothing to claim, and in the pipeline what becomes of it."""
    queue, job_id = popped
    if raw:
        try:
            record = whole_record(job_id, raw)
            if raw[b"status"] == JobStatus.QUEUED.value.encode():
                claimed = _begun(redis, queue, record, moment_of(raw.get(b"enqueued_at")), worker_name)
                return _Ready(claimed, raw[b"meta"])
        except FromNewerRelease as error:
            # At the back, so that what is behind it comes first; its place in the books is that of before.
            pipe.rpush(queue.key, job_id)
            log.warning("left for a newer worker", job=job_id, unknown=str(error))
        except Exception:  # noqa: BLE001  # whatever a forged hash provokes must not stop the worker
            _mark_malformed(pipe, queue, job_id)
    else:
        ledger.gone(pipe, queue.name, job_id)
    pipe.lrem(queue.intermediate_queue_key, 1, job_id)
    return None


def _begun(
    redis: Redis, queue: ServiceQueue, record: JobRecord, enqueued_at: datetime | None, worker_name: str
) -> Claimed:
    execution = Execution(uuid.uuid4().hex, record.id, redis, worker_name)
    meta = record.meta.model_copy(update={"attempt": record.meta.attempt + 1, "completed": 0})
    record = replace(record, status=Status.RUNNING, meta=meta, started_at=execution.created_at)
    return Claimed(record, queue, execution, enqueued_at)


def _claim(redis: Redis, ready: Sequence[_Ready], worker_name: str, ttl_s: int) -> list[bytes]:
    """Write of each that it runs, if it is as it was read; says of each: claimed, dropped, or read again."""
    if not ready:
        return []
    said = json.dumps([_told(one.claimed, one.read) for one in ready])
    of_worker = WORKER_EXECUTIONS_KEY_TEMPLATE.format(worker_name)
    times = ttl_s, ttl_s + OUTLIVES_S, current_timestamp() + ttl_s
    fates: Any = redis.eval(_CLAIM, 0, said, worker_name, of_worker, *times)
    return list(fates)


def _told(one: Claimed, read: bytes) -> dict[str, Any]:
    """A job to be claimed as the script wants it. Times are text, since a script's numbers lose digits."""
    record, execution = one.record, one.execution
    return {
        "id": record.id,
        "key": record.key,
        "read": read.decode(),
        "popped": one.queue.intermediate_queue_key,
        "started": StartedJobRegistry.key_template.format(record.queue),
        "started_at": utcformat(execution.created_at),
        "meta": json.dumps(record.meta.model_dump(mode="json")),
        "execution": execution.id,
        "execution_key": execution.key,
        "composite": execution.composite_key,
        "created_at": str(execution.created_at.timestamp()),
        "executions": ExecutionRegistry.key_template.format(record.id),
        "book": ledger.book_of(one.queue.name),
        "evaluations": record.meta.total,
        "caller": record.spec.caller,
    }


def _mark_malformed(pipe: Pipeline, queue: ServiceQueue, job_id: str) -> None:
    key = ServiceJob.key_for(job_id)
    pipe.hset(key, "status", JobStatus.FAILED)
    pipe.expire(key, MALFORMED_KEPT_S)
    registry = FailedJobRegistry(queue.name, connection=queue.connection, job_class=ServiceJob)
    pipe.zadd(registry.key, {job_id: time.time() + MALFORMED_KEPT_S})
    ledger.gone(pipe, queue.name, job_id)
