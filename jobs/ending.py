"""What is written when a job ends, whoever ends it: RQ's registries and result, our meta, and the word of it.

All of it is one command, a script: RQ's own methods send some fifteen. Tests compare what both leave behind.
"""

import json
import zlib
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any

from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import BaseRegistry, CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from jobs import keys, ledger, outbox
from jobs.events import MOVED
from jobs.record import Failure, JobMeta, JobRecord, Status
from jobs.webhook import webhook_of

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

# The dependents of a job, which RQ lets expire too, are nothing that this service knows. The outbox is never
# trimmed by length: what is in it has not been delivered.
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
    """How a job ends: its last status in RQ's words, and its last meta."""

    status: JobStatus
    meta: JobMeta


def end(pipe: Any, record: JobRecord, ending: Ending) -> JobRecord:
    """Write the end of a job in a transaction that holds the fence; a pipeline of either client will do.

    Returns the job as it is then.
    """
    ended = after(record, ending)
    pipe.eval(_END, 0, json.dumps(told(ended, ending.status)))
    return ended


def after(record: JobRecord, ending: Ending) -> JobRecord:
    """The job when it has ended so, which is now."""
    return replace(record, status=_STATUSES[ending.status], meta=ending.meta, finished_at=now())


def told(
    ended: JobRecord, status: JobStatus, worker_name: str = "", execution: Execution | None = None
) -> dict[str, Any]:
    """The end of a job as `finish` wants it."""
    assert ended.finished_at is not None
    ttl_s = ended.spec.ttl_s
    said: dict[str, Any] = {
        "id": ended.id,
        "key": ended.key,
        "book": ledger.book_of(ended.queue),
        "status": status.value,
        "meta": json.dumps(ended.meta.model_dump(mode="json")),
        "ended_at": utcformat(ended.finished_at),
        "ttl_s": ttl_s,
        # By name: to make a registry, RQ checks its serializer, which takes longer than all else here.
        "registry": _REGISTRIES.get(status, FailedJobRegistry).key_template.format(ended.queue),
        "expires_at": int(ended.finished_at.timestamp()) + ttl_s,
    }
    if status in _RESULT_TYPES:
        said["results"] = Result.get_key(ended.id)
        said["result"] = _result(ended, _RESULT_TYPES[status], worker_name, execution)
    if ended.spec.webhook_url is not None:
        said["webhook"] = webhook_of(ended).model_dump_json()
    return said


def _result(ended: JobRecord, kind: Result.Type, worker_name: str, execution: Execution | None) -> list[str]:
    """What RQ keeps of an end: names and values in turn, as text, since a script's numbers lose digits."""
    assert ended.finished_at is not None
    said = ["type", str(kind.value), "worker_name", worker_name]
    if ended.meta.failure:
        said += ["exc_string", b64encode(zlib.compress(ended.meta.failure.detail.encode())).decode()]
    if ended.meta.pictures:
        names = [picture.key for picture in ended.meta.pictures]
        said += ["return_value", b64encode(JSONSerializer.dumps(names)).decode()]
    if execution:
        said += ["execution_id", execution.id, "execution_started_at", str(execution.created_at.timestamp())]
    said += ["execution_ended_at", str(ended.finished_at.timestamp())]
    return said


def end_failed(pipe: Any, record: JobRecord, meta: JobMeta, failure: Failure) -> None:
    """Write the end of a job that failed without a worker to say so."""
    end(pipe, record, Ending(JobStatus.FAILED, meta.model_copy(update={"failure": failure})))


def end_canceled(pipe: Any, record: JobRecord, meta: JobMeta) -> None:
    """Write the end of a job that ran and was canceled, and whose worker will not say so."""
    end(pipe, record, Ending(JobStatus.STOPPED, meta))
