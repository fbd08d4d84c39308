"""Ending executions: one fenced transaction for everything that says how it ended. Files are stored before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, ExecutionRegistry
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now

from jobs import keys
from jobs.ending import FINISH, Ending, after, end_canceled, told
from jobs.queue import ServiceJob
from jobs.record import restore
from jobs.recovery import requeue_after_crash, requeue_unharmed
from worker.consumer.execution import LiveJob

# An execution that is not under way any more is only dropped.
_COMMIT = f"""
{FINISH}
local worker, of_worker = ARGV[2], ARGV[3]
local ours = {{}}
for n, one in ipairs(cjson.decode(ARGV[1])) do
  local found = redis.pcall('HMGET', one.ending.key, 'status', 'worker_name')
  local held = redis.call('ZREM', one.started, one.composite) == 1
  redis.call('ZREM', one.executions, one.execution)
  redis.call('SREM', of_worker, one.composite)
  redis.call('DEL', one.execution_key)
  ours[n] = held and found[1] == 'started' and found[2] == worker and 1 or 0
  if ours[n] == 1 then
    redis.call('HINCRBYFLOAT', one.worker_key, 'total_working_time', one.working_s)
    if one.counted then redis.call('HINCRBY', one.worker_key, one.counted, 1) end
    finish(one.ending)
  end
end
return ours
"""

WORKER_KEY = "rq:worker:{0}"
"""Where RQ keeps what it knows of a worker."""

_COUNTED = {JobStatus.FINISHED: "successful_job_count", JobStatus.FAILED: "failed_job_count"}
"""What RQ's worker counts of itself."""


def commit(redis: Redis, worker_name: str, live: Sequence[LiveJob]) -> list[LiveJob]:
    """Write the end of all `live` jobs in one step; returns those that were no longer ours.

    A job is ours while it is started, names this worker, and holds this execution in RQ's registry. One that
    was cancelled, or taken back while this worker was frozen, only loses its execution record here.
    """
    said = json.dumps([_told(one, worker_name) for one in live])
    ours: Any = redis.eval(_COMMIT, 0, said, worker_name, WORKER_EXECUTIONS_KEY_TEMPLATE.format(worker_name))
    return [one for one, is_ours in zip(live, ours, strict=True) if not is_ours]


def _told(one: LiveJob, worker_name: str) -> dict[str, Any]:
    """The end of a job as the script wants it."""
    record, execution, ending = one.record, one.execution, _ending_of(one)
    ended = after(record, ending)
    said = {
        "started": StartedJobRegistry.key_template.format(record.queue),
        "executions": ExecutionRegistry.key_template.format(record.id),
        "execution": execution.id,
        "execution_key": execution.key,
        "composite": one.key,
        "worker_key": WORKER_KEY.format(worker_name),
        "working_s": str((now() - execution.created_at).total_seconds()),
        "ending": told(ended, ending.status, worker_name, execution),
    }
    if ending.status in _COUNTED:
        said["counted"] = _COUNTED[ending.status]
    return said


def _ending_of(one: LiveJob) -> Ending:
    if one.stopped:
        return Ending(JobStatus.STOPPED, one.meta)
    if one.failure is not None:
        return Ending(JobStatus.FAILED, one.meta.model_copy(update={"failure": one.failure}))
    return Ending(JobStatus.FINISHED, one.finished_meta())


def give_back(redis: Redis, worker_name: str, live: Sequence[LiveJob], *, crashed: bool) -> list[LiveJob]:
    """Queue unfinished jobs again, at the front; returns those that were no longer ours.

    A planned stop costs them nothing. A crash counts against each of them; see `jobs.recovery`. What its caller
    wants canceled ends so.
    """
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*(one.record.key for one in live))
                holds = _holds(redis, worker_name, live)
                pipe.multi()
                for one, hold in zip(live, holds, strict=True):
                    one.execution.delete(job=hold.job, pipeline=pipe)
                    if hold.ours:
                        _queue_again(pipe, one, hold, len(live) if crashed else 0)
                pipe.execute()
            except WatchError:
                continue
            return [one for one, hold in zip(live, holds, strict=True) if not hold.ours]


@dataclass(frozen=True)
class _Hold:
    """A job as it is now: whether it is still this worker's, and whether its caller wants it canceled."""

    job: ServiceJob
    ours: bool
    unwanted: bool


def _holds(redis: Redis, worker_name: str, live: Sequence[LiveJob]) -> list[_Hold]:
    with redis.pipeline(transaction=False) as pipe:
        for one in live:
            pipe.hgetall(one.record.key)
            pipe.zscore(StartedJobRegistry.key_template.format(one.record.queue), one.key)
        answers = pipe.execute()
    return [
        _hold(redis, worker_name, one, raw, score)
        for one, raw, score in zip(live, answers[::2], answers[1::2], strict=True)
    ]


def _hold(redis: Redis, worker_name: str, one: LiveJob, raw: dict[bytes, bytes], score: float | None) -> _Hold:
    started = (raw.get(b"status"), raw.get(b"worker_name")) == (b"started", worker_name.encode())
    if not started or score is None:
        gone = ServiceJob(one.id, connection=redis, serializer=JSONSerializer)
        gone.origin = one.record.queue
        return _Hold(gone, ours=False, unwanted=False)
    return _Hold(restore(one.id, raw, redis), ours=True, unwanted=keys.CANCEL_FIELD.encode() in raw)


def _queue_again(pipe: Pipeline, one: LiveJob, hold: _Hold, companions: int) -> None:
    if hold.unwanted:
        end_canceled(pipe, one.record, one.meta)
    elif companions:
        requeue_after_crash(pipe, hold.job, one.meta, companions)
    else:
        requeue_unharmed(pipe, hold.job, one.meta)
