"""Ending executions: one fenced transaction for everything that says how it ended. Files are stored before."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, ExecutionRegistry
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.utils import now

from jobs import keys
from jobs.ending import FINISH, Ending, end_canceled, told
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
    job, execution, ending = one.job, one.execution, _ending_of(one)
    assert job.started_at is not None
    said = {
        "started": StartedJobRegistry.key_template.format(job.origin),
        "executions": ExecutionRegistry.key_template.format(job.id),
        "execution": execution.id,
        "execution_key": execution.key,
        "composite": one.key,
        "worker_key": WORKER_KEY.format(worker_name),
        "working_s": str((now() - job.started_at).total_seconds()),
        "ending": told(job, ending, worker_name, execution),
    }
    if ending.status in _COUNTED:
        said["counted"] = _COUNTED[ending.status]
    return said


def _ending_of(one: LiveJob) -> Ending:
    if one.stopped:
        return Ending(JobStatus.STOPPED, one.meta, one.spec)
    if one.failure is not None:
        return Ending(JobStatus.FAILED, one.meta.model_copy(update={"failure": one.failure}), one.spec)
    return Ending(JobStatus.FINISHED, one.finished_meta(), one.spec)


def give_back(redis: Redis, worker_name: str, live: Sequence[LiveJob], *, crashed: bool) -> list[LiveJob]:
    """Queue unfinished jobs again, at the front; returns those that were no longer ours.

    A planned stop costs them nothing. A crash counts against each of them; see `jobs.recovery`. What its caller
    wants canceled ends so.
    """

    def requeue(pipe: Pipeline, one: LiveJob, unwanted: bool) -> None:
        if unwanted:
            end_canceled(pipe, one.job, one.spec, one.meta)
        elif crashed:
            requeue_after_crash(pipe, one.job, one.meta, len(live))
        else:
            requeue_unharmed(pipe, one.job, one.meta)

    return _fenced(redis, worker_name, live, requeue)


def _fenced(
    redis: Redis, worker_name: str, live: Sequence[LiveJob], finish: Callable[[Pipeline, LiveJob, bool], None]
) -> list[LiveJob]:
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*(one.job.key for one in live))
                holds = _holds(redis, worker_name, live)
                pipe.multi()
                for one, hold in zip(live, holds, strict=True):
                    one.execution.delete(job=one.job, pipeline=pipe)
                    if hold.ours:
                        finish(pipe, one, hold.unwanted)
                pipe.execute()
            except WatchError:
                continue
            return [one for one, hold in zip(live, holds, strict=True) if not hold.ours]


@dataclass(frozen=True)
class _Hold:
    """Whether a job is still this worker's, and whether its caller wants it canceled."""

    ours: bool
    unwanted: bool


def _holds(redis: Redis, worker_name: str, live: Sequence[LiveJob]) -> list[_Hold]:
    with redis.pipeline(transaction=False) as pipe:
        for one in live:
            pipe.hmget(one.job.key, "status", "worker_name", keys.CANCEL_FIELD)
            pipe.zscore(StartedJobRegistry.key_template.format(one.job.origin), one.key)
        answers = pipe.execute()
    ours = [JobStatus.STARTED.value.encode(), worker_name.encode()]
    return [
        _Hold(ours=fields[:2] == ours and score is not None, unwanted=fields[2] is not None)
        for fields, score in zip(answers[::2], answers[1::2], strict=True)
    ]
