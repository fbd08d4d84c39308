"""Heartbeats of a worker and of all its executions in one round trip, and what is learned from the answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from rq import SimpleWorker, worker_registration
from rq.suspension import WORKERS_SUSPENDED

from jobs import keys
from jobs.recovery import alive_key
from worker.consumer.execution import LiveJob

RECORD_TTL_S = 60
"""How long RQ keeps the record of a worker that has stopped breathing."""


@dataclass(frozen=True)
class Breath:
    """What the answers say: whether `rq suspend` was called, and which jobs are not to go on.

    Lost ones are no longer this worker's; canceled ones are, and their callers do not want them any more.
    """

    suspended: bool
    lost: tuple[LiveJob, ...]
    canceled: tuple[LiveJob, ...]


def breathe(worker: SimpleWorker, live: Sequence[LiveJob], ttl_s: int) -> Breath:
    """Prolong the worker's and its executions' lives by `ttl_s`."""
    with worker.connection.pipeline() as pipe:
        pipe.set(alive_key(worker.name), 1, ex=ttl_s)
        record = len(pipe)
        worker.heartbeat(RECORD_TTL_S, pipeline=pipe)
        suspended = len(pipe)
        pipe.exists(WORKERS_SUSPENDED)
        owners = []
        for one in live:
            owners.append(len(pipe))
            pipe.hmget(one.record.key, "status", "worker_name", keys.CANCEL_FIELD)
            one.execution.heartbeat(one.claimed.queue.started_job_registry, ttl_s, pipeline=pipe)
        answers = pipe.execute()
    if answers[record]:
        # The heartbeat had to create its field: Redis has lost this worker's record.
        _register_again(worker)
    ours = [b"started", worker.name.encode()]
    found = [(one, answers[n]) for one, n in zip(live, owners, strict=True)]
    return Breath(
        suspended=bool(answers[suspended]),
        lost=tuple(one for one, fields in found if fields[:2] != ours),
        canceled=tuple(one for one, fields in found if fields[:2] == ours and fields[2] is not None),
    )


def _register_again(worker: SimpleWorker) -> None:
    with worker.connection.pipeline() as pipe:
        pipe.hset(worker.key, mapping=worker.serialize())
        worker_registration.register(worker, pipe)
        pipe.expire(worker.key, RECORD_TTL_S)
        pipe.execute()
