"""What is written when a job ends, whoever ends it: RQ's registries and result, our meta, and the word of it.

All of it is one command, a script: RQ's own methods send some fifteen. Tests compare what both leave behind.
"""

import json
from dataclasses import dataclass
from typing import Any

from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import BaseRegistry, CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.utils import utcformat

from jobs import keys, ledger, outbox
from jobs.events import MOVED
from jobs.queue import ServiceJob
from jobs.record import Failure, JobMeta, Status
from jobs.spec import JobSpec

_RESULT_TYPES = {
    JobStatus.FINISHED: Result.Type.SUCCESSFUL,
    JobStatus.FAILED: Result.Type.FAILED,
    JobStatus.STOPPED: Result.Type.STOPPED,
}
"""A job that was canceled while it waited has no result, as in RQ."""

_RESULTS_KEPT = 10
"""Of one job; as many as RQ keeps."""

_REGISTRIES: dict[JobStatus, type[BaseRegistry]] = {
    JobStatus.FINISHED: FinishedJobRegistry,
    JobStatus.CANCELED: CanceledJobRegistry,
}
"""Where an ended job is kept; any other end is a failed one."""

_STATUSES = {
    JobStatus.FINISHED: Status.SUCCEEDED,
    JobStatus.FAILED: Status.FAILED,
    JobStatus.STOPPED: Status.CANCELED,
    JobStatus.CANCELED: Status.CANCELED,
}

# The dependents of a job, which RQ lets expire too, are nothing that this service knows.
FINISH = f"""
{ledger.FUNCTIONS}{MOVED}
local function finish(one)
  redis.call('HSET', one.key, 'status', one.status, 'meta', one.meta, 'ended_at', one.ended_at)
  redis.call('HDEL', one.key, '{keys.CANCEL_FIELD}')
  if one.result then
    redis.call('XADD', one.results, 'MAXLEN', '~', {_RESULTS_KEPT}, '*', unpack(one.result))
    redis.call('EXPIRE', one.results, one.ttl_s)
  end
  redis.call('ZADD', one.registry, one.expires_at, one.id)
  redis.call('EXPIRE', one.key, one.ttl_s)
  strike(one.book, one.id)
  if one.webhook then redis.call('XADD', '{keys.OUTBOX}', '*', '{outbox.FIELD}', one.webhook) end
  moved(one.id)
end
"""
"""`finish` for scripts, for what `told` makes of an end."""

_END = FINISH + "finish(cjson.decode(ARGV[1]))"


@dataclass(frozen=True)
class Ending:
    """How a job ends: its last status in RQ's words, its last meta, and its spec."""

    status: JobStatus
    meta: JobMeta
    spec: JobSpec


def end(pipe: Any, job: ServiceJob, ending: Ending) -> None:
    """Write the end of a job in a transaction that holds the fence; a pipeline of either client will do."""
    pipe.eval(_END, 0, json.dumps(told(job, ending)))


def told(
    job: ServiceJob, ending: Ending, worker_name: str = "", execution: Execution | None = None
) -> dict[str, Any]:
    """The end of a job as `finish` wants it; the job knows it from now on."""
    job.ends(ending.status)
    job.meta = ending.meta.model_dump(mode="json")
    assert job.ended_at is not None
    ttl_s = ending.spec.ttl_s
    said: dict[str, Any] = {
        "id": job.id,
        "key": job.key,
        "book": ledger.book_of(job.origin),
        "status": ending.status.value,
        "meta": json.dumps(job.meta),
        "ended_at": utcformat(job.ended_at),
        "ttl_s": ttl_s,
        "registry": _registry_key(job, ending.status),
        "expires_at": int(job.ended_at.timestamp()) + ttl_s,
    }
    if ending.status in _RESULT_TYPES:
        said["results"] = Result.get_key(job.id)
        said["result"] = _result(job, ending, worker_name, execution)
    if ending.spec.webhook_url is not None:
        said["webhook"] = outbox.written(job, ending.spec, _STATUSES[ending.status])
    return said


def _result(job: ServiceJob, ending: Ending, worker_name: str, execution: Execution | None) -> list[str]:
    """RQ's result of an end: names and values in turn, as text, since a script's numbers lose digits."""
    meta = ending.meta
    result = Result(
        job.id,
        _RESULT_TYPES[ending.status],
        job.connection,
        return_value=[picture.key for picture in meta.pictures] or None,
        exc_string=meta.failure.detail if meta.failure else None,
        worker_name=worker_name,
        serializer=job.serializer,
        execution_id=execution.id if execution else None,
        execution_started_at=execution.created_at if execution else None,
        execution_ended_at=job.ended_at,
    )
    return [str(part) for field in result.serialize().items() for part in field]


def _registry_key(job: ServiceJob, status: JobStatus) -> str:
    # By name: to make a registry, RQ checks its serializer, which takes longer than all else here.
    return _REGISTRIES.get(status, FailedJobRegistry).key_template.format(job.origin)


def end_failed(pipe: Any, job: ServiceJob, spec: JobSpec, meta: JobMeta, failure: Failure) -> None:
    """Write the end of a job that failed without a worker to say so."""
    end(pipe, job, Ending(JobStatus.FAILED, meta.model_copy(update={"failure": failure}), spec))


def end_canceled(pipe: Any, job: ServiceJob, spec: JobSpec, meta: JobMeta) -> None:
    """Write the end of a job that ran and was canceled, and whose worker will not say so."""
    end(pipe, job, Ending(JobStatus.STOPPED, meta, spec))
