"""Taking a dead worker's jobs back, and finding the one that kills workers.

A job whose worker has died twice is a suspect. Suspects leave the lanes and run only among themselves, in groups
that halve with every further death; who dies alone again and again has proved it and fails. So one poisonous job
costs its neighbours a few restarts and never their success.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from redis import Redis, WatchError
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.utils import as_text

from jobs import keys, ledger
from jobs.ending import end_canceled, end_failed
from jobs.events import publish_moved
from jobs.lanes import lane_of, suspects_name
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import Failure, JobMeta, record_of, restore, spec_of, write_meta

SUSPECT_AFTER = 2
"""Deaths of its worker that make a job a suspect."""

ALONE_DEATHS = 3
"""Deaths alone, as a suspect, that prove it. One may come from outside, and two have been seen to."""

LOST_CLAIM_AFTER_S = 2
"""A worker that breathes has breathed for all it holds; one this much overdue is a claim it never heard of."""

REDIS_VERSION = (6, 2, 0)
"""What RQ is told, so that it does not ask in the middle of a transaction; it decides only the form of HSET."""


@dataclass(frozen=True)
class TakenBack:
    """What became of the jobs of a dead worker, by job id."""

    requeued: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    canceled: tuple[str, ...] = ()

    def __add__(self, other: "TakenBack") -> "TakenBack":
        """Both together."""
        return TakenBack(
            self.requeued + other.requeued,
            self.suspects + other.suspects,
            self.failed + other.failed,
            self.canceled + other.canceled,
        )

    def __bool__(self) -> bool:
        """Whether anything was taken back."""
        return bool(self.requeued or self.suspects or self.failed or self.canceled)


def after_crash(meta: JobMeta, companions: int) -> JobMeta:
    """A job's meta after its worker died with `companions` jobs in it, this one included.

    `group` is the largest company it may run in next: 0 any, for who is no suspect.
    """
    crashes = meta.crashes + 1
    group = 0
    if crashes >= SUSPECT_AFTER:
        group = max(1, companions // 2) if meta.group == 0 else max(1, min(companions, meta.group) // 2)
    alone = meta.alone + _was_alone(meta, companions)
    return meta.model_copy(update={"crashes": crashes, "group": group, "alone": alone, "completed": 0})


def _was_alone(meta: JobMeta, companions: int) -> bool:
    return meta.group == 1 and companions == 1


def take_back(redis: Redis, execution_keys: Sequence[str], *, crashed: bool = True) -> TakenBack:
    """Queue the jobs of dead executions again (composite keys, all of one worker), each only if it still is one.

    Fenced: a job that has ended or has a newer execution is left alone. One that its caller wants canceled ends
    so. Without a crash it costs the jobs nothing.
    """
    fates: dict[str, list[str]] = {"requeued": [], "suspect": [], "failed": [], "canceled": []}
    for key in execution_keys:
        job_id = key.partition(":")[0]
        fate = _take_back_one(redis, job_id, key, len(execution_keys) if crashed else 0)
        if fate is not None:
            fates[fate].append(job_id)
    return TakenBack(*(tuple(job_ids) for job_ids in fates.values()))


def _take_back_one(redis: Redis, job_id: str, execution_key: str, companions: int) -> str | None:
    job_key = ServiceJob.key_for(job_id)
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(job_key)
                raw: Any = redis.hgetall(job_key)
                job = _started(redis, job_id, raw)
                execution = Execution.from_composite_key(execution_key, redis)
                if job is None or not _is_the_one_under_way(redis, job, execution):
                    return None
                pipe.multi()
                execution.worker_name = job.worker_name or ""
                execution.delete(job=job, pipeline=pipe)
                meta = JobMeta.model_validate(job.meta)
                if keys.CANCEL_FIELD.encode() in raw:
                    end_canceled(pipe, record_of(job), meta)
                    fate = "canceled"
                elif companions:
                    fate = requeue_after_crash(pipe, job, meta, companions)
                else:
                    requeue_unharmed(pipe, job, meta)
                    fate = "requeued"
                pipe.execute()
            except WatchError:
                continue
            return fate


def _started(redis: Redis, job_id: str, raw: dict[bytes, bytes]) -> ServiceJob | None:
    try:
        job = restore(job_id, raw, redis)
        spec_of(job)
    except Exception:  # noqa: BLE001  # a forged or vanished hash is nobody's job
        return None
    return job if job.get_status(refresh=False) == JobStatus.STARTED else None


def _is_the_one_under_way(redis: Redis, job: ServiceJob, execution: Execution) -> bool:
    if redis.zscore(job.started_job_registry.key, execution.composite_key) is None:
        return False
    # A claim empties the job's own registry, so what is there is newer.
    of_job = job.execution_registry.key
    return redis.zscore(of_job, execution.id) is not None or not redis.exists(of_job)


def requeue_after_crash(pipe: Pipeline, job: ServiceJob, meta: JobMeta, companions: int) -> str:
    """Queue a started job again whose worker died with `companions` jobs in it; in a fenced transaction.

    Returns its fate: requeued, suspect, or failed when it has died alone too often.
    """
    if _was_alone(meta, companions) and meta.alone + 1 >= ALONE_DEATHS:
        detail = (
            f"the worker died {meta.crashes + 1} times while it ran this job, {ALONE_DEATHS} times alone with it; "
            "ask for something else"
        )
        end_failed(pipe, record_of(job), meta, Failure(code="worker_died", detail=detail))
        return "failed"
    meta = after_crash(meta, companions)
    _put_back(pipe, job, meta)
    return "suspect" if meta.group else "requeued"


def requeue_unharmed(pipe: Pipeline, job: ServiceJob, meta: JobMeta) -> None:
    """Queue a started job again whose worker stops as planned; in a fenced transaction."""
    _put_back(pipe, job, meta.model_copy(update={"completed": 0}))


def _put_back(pipe: Pipeline, job: ServiceJob, meta: JobMeta) -> None:
    spec = spec_of(job)
    name = suspects_name(spec.model) if meta.group else lane_of(spec, meta.total).name
    write_meta(pipe, job, meta)
    queue = ServiceQueue(name, connection=job.connection)
    queue.redis_server_version = REDIS_VERSION
    queue.enqueue_job(job, pipeline=pipe, at_front=True)
    ledger.waits_in_front(pipe, name, job.id, meta.total, spec.caller)
    publish_moved(pipe, job.id)


def take_back_overdue(redis: Redis, queue_names: Sequence[str]) -> TakenBack:
    """Take back what silent workers hold on these queues: one round trip when there is nothing to do."""
    registries = [StartedJobRegistry(name, connection=redis).key for name in queue_names]
    now = int(time())
    with redis.pipeline(transaction=False) as pipe:
        for registry in registries:
            pipe.zrangebyscore(registry, 0, now, withscores=True)
        overdue = {
            key.decode(): (registry, score)
            for registry, found in zip(registries, pipe.execute(), strict=True)
            for key, score in found
        }
    taken = TakenBack()
    for worker, held in _by_worker(redis, list(overdue)).items():
        if not _breathes(redis, worker):
            # A worker breathes for all its jobs at once, so the rest of a dead one's are about to expire too.
            taken = taken + take_back(redis, sorted({*held, *executions_of(redis, worker)}))
            continue
        late = [key for key in held if overdue[key][1] <= now - LOST_CLAIM_AFTER_S]
        for key in set(held) - set(late):
            del overdue[key]
        taken = taken + take_back(redis, late, crashed=False)
    for key, (registry, _) in overdue.items():
        redis.zrem(registry, key)  # what is left of executions that were nobody's any more
    return taken


def _by_worker(redis: Redis, execution_keys: Sequence[str]) -> dict[str, list[str]]:
    with redis.pipeline(transaction=False) as pipe:
        for key in execution_keys:
            pipe.hget(ServiceJob.key_for(key.partition(":")[0]), "worker_name")
        names = pipe.execute(raise_on_error=False)
    by_worker: dict[str, list[str]] = {}
    for key, name in zip(execution_keys, names, strict=True):
        by_worker.setdefault(name.decode() if isinstance(name, bytes) else "", []).append(key)
    return by_worker


def _breathes(redis: Redis, worker: str) -> bool:
    return bool(redis.exists(alive_key(worker)))


def executions_of(redis: Redis, worker_name: str) -> list[str]:
    """The composite keys of all executions that a worker holds."""
    return sorted(as_text(key) for key in redis.smembers(f"rq:worker:{worker_name}:executions"))


def take_back_from_process(redis: Redis, host: str, pid: int) -> TakenBack:
    """Take back at once what the workers of a process that is known to be dead hold."""
    head = f"rq:worker:{_name_head(host, pid)}"
    names = [as_text(key).removeprefix("rq:worker:") for key in redis.smembers("rq:workers")]
    taken = TakenBack()
    for name in names:
        if f"rq:worker:{name}".startswith(head):
            redis.delete(alive_key(name))
            taken = taken + take_back(redis, executions_of(redis, name))
    return taken


def alive_key(worker_name: str) -> str:
    """String with a TTL: the worker breathes."""
    return f"unfog:alive:{worker_name}"


def worker_name(host: str, pid: int, start_ns: int) -> str:
    """A name that no other start has had, so that a late word of a dead worker is never mistaken."""
    return f"{_name_head(host, pid)}{start_ns:x}"


def _name_head(host: str, pid: int) -> str:
    return f"unfog-{host}-{pid}-"
