"""The recount: once a minute the ledger is compared with RQ's lists, and the counters with the ledger.

RQ's own tools cancel, requeue and delete jobs without telling; see `jobs.ledger`.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from jobs import keys
from jobs.lanes import queue_names, split, suspects_name
from jobs.ledger import LUA, RUNNING, Entry, book_keys, entry_of, gone
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import Status, read_record

RECOUNT_EVERY_S = 60

# What was read of a job must still hold when its entry is written. A job that says it waits is looked for.
_SETTLE = (
    LUA
    + """
local id, status, origin = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HMGET', KEYS[6], 'status', 'origin')
if (found[1] or '') ~= status or (found[2] or '') ~= origin then return end
local lane = ARGV[4]
if lane ~= '' and lane ~= 'running' then
  local waits = redis.call('LPOS', KEYS[7], id) or redis.call('LPOS', KEYS[8], id)
  if not waits then lane = '' end
end
local old = redis.call('HGET', book.ledger, id)
if old and cjson.decode(old)[1] == lane then return end
if lane == '' then return strike(book, id) end
enter(book, id, lane, tonumber(ARGV[5]), ARGV[6], false)
redis.call('PERSIST', KEYS[6])  -- RQ's requeue leaves an ended job its time to live
"""
)


_CORRECT = "if redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2]) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end"


def recount(redis: Redis) -> bool:
    """Set the ledger and its counters right for every model that ever had a job; False if that was done lately.

    Nothing that moves meanwhile is counted wrong: each entry is checked again as it is written, and the sums are
    corrected by what they were off at one moment.
    """
    if not redis.set(keys.WORK_LOCK, 1, nx=True, ex=RECOUNT_EVERY_S):
        return False
    models = sorted(_models(redis))
    for model in models:
        for job_id in _doubtful(redis, model):
            _settle(redis, model, job_id)
    _add_up(redis, models)
    return True


def _models(redis: Redis) -> set[str]:
    names: Any = redis.smembers("rq:queues")
    known: Any = redis.hkeys(keys.MODELS)
    models = {_text(name) for name in known}
    for name in names:
        with contextlib.suppress(ValueError):  # a queue of somebody else's in the same Redis
            models.add(split(_text(name).removeprefix("rq:queue:"))[0])
    return models


def _doubtful(redis: Redis, model: str) -> set[str]:
    """The jobs that RQ and the ledger do not agree on, or do not seem to."""
    queues = [ServiceQueue(name, connection=redis) for name in queue_names(model)]
    with redis.pipeline() as pipe:
        pipe.hgetall(keys.model_ledger(model))
        for queue in queues:
            pipe.lrange(queue.key, 0, -1)
            pipe.lrange(queue.intermediate_queue_key, 0, -1)
            pipe.zrange(queue.started_job_registry.key, 0, -1)
        ledger, *answers = pipe.execute()
    entered = {_text(job_id): entry_of(raw).lane for job_id, raw in ledger.items()}
    listed: dict[str, str] = {}
    for queue, waiting, popped, started in zip(queues, answers[::3], answers[1::3], answers[2::3], strict=True):
        listed |= {_text(job_id): split(queue.name)[1] for job_id in (*waiting, *popped)}
        listed |= {_text(key).partition(":")[0]: RUNNING for key in started}
    return {job_id for job_id in {*entered, *listed} if entered.get(job_id) != listed.get(job_id)}


def _settle(redis: Redis, model: str, job_id: str) -> None:
    job_key = ServiceJob.key_for(job_id)
    try:
        raw: Any = redis.hgetall(job_key)
    except ResponseError:  # somebody's key of another type
        gone(redis, suspects_name(model), job_id)
        return
    status, origin = (_text(raw.get(field, b"")) for field in (b"status", b"origin"))
    entry = _entry_as_rq_has_it(job_id, raw)
    queue = ServiceQueue(origin, connection=redis)
    names = [*book_keys(model), job_key, queue.key, queue.intermediate_queue_key]
    said: list[Any] = [entry.lane, entry.evaluations, entry.caller] if entry else ["", 0, ""]
    redis.eval(_SETTLE, len(names), *names, job_id, status, origin, *said)


def _entry_as_rq_has_it(job_id: str, raw: dict[bytes, bytes]) -> Entry | None:
    """The entry that the job should have; None for one that neither waits nor runs, or is none of ours."""
    record = read_record(job_id, raw)
    if record is None or record.status.ended:
        return None
    lane = RUNNING if record.status is Status.RUNNING else split(record.queue)[1]
    return Entry(lane, record.meta.total, record.meta.completed, record.spec.caller)


def _add_up(redis: Redis, models: Iterable[str]) -> None:
    """Correct the counters by what they are off. Every move changes both sides alike, so that is safe later too."""
    names = list(models)
    with redis.pipeline() as pipe:
        pipe.hgetall(keys.WORK)
        pipe.hgetall(keys.CALLERS_QUEUED)
        for model in names:
            pipe.hgetall(keys.model_work(model))
            pipe.hgetall(keys.model_ledger(model))
        work, callers, *answers = pipe.execute()
    counted = _Sums(Counter(), Counter(), {})
    for model, ledger in zip(names, answers[1::2], strict=True):
        counted.add(model, [entry_of(raw) for raw in ledger.values()])
    with redis.pipeline() as pipe:
        _correct(pipe, keys.WORK, work, counted.work)
        _correct(pipe, keys.CALLERS_QUEUED, callers, counted.callers)
        for model, sums in zip(names, answers[::2], strict=True):
            _correct(pipe, keys.model_work(model), sums, counted.models[model])
        pipe.execute()


@dataclass
class _Sums:
    """What the counters should be."""

    work: Counter[str]
    callers: Counter[str]
    models: dict[str, Counter[str]]

    def add(self, model: str, entries: Iterable[Entry]) -> None:
        """Count the entries of a model."""
        sums = self.models.setdefault(model, Counter())
        for entry in entries:
            state = RUNNING if entry.lane == RUNNING else "queued"
            self.work[state] += entry.evaluations
            sums[f"{state}.jobs"] += 1
            sums[f"{state}.evaluations"] += entry.evaluations
            if state == RUNNING:
                sums["running.done"] += entry.done
            else:
                sums[f"{entry.lane}.jobs"] += 1
                sums[f"{entry.lane}.evaluations"] += entry.evaluations
                self.callers[entry.caller] += entry.evaluations


def _correct(pipe: Any, key: str, found: dict[bytes, bytes], wanted: Counter[str]) -> None:
    there = {_text(field): int(count) for field, count in found.items()}
    for field in {*there, *wanted}:
        off = wanted[field] - there.get(field, 0)
        if off and not field.endswith(".end"):  # not a sum: how far a lane's axis reaches
            pipe.eval(_CORRECT, 1, key, field, off)


def _text(name: bytes) -> str:
    return name.decode(errors="replace")  # what others wrote into Redis may be no text
