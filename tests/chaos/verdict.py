"""What must be true when it is over. Every sentence that comes back is a failure."""

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from redis import Redis

from jobs import keys
from jobs.record import JobMeta, restore, spec_of
from jobs.work import recount
from tests.chaos.feeder import Feeder
from tests.chaos.stage import HEARTBEAT_TTL_S, Stage, until

ENDED = {"finished", "failed", "stopped", "canceled", "gone"}

WITHOUT_TTL = [
    r"rq:queues",  # RQ's list of queues
    r"rq:workers(:.+)?",  # RQ's lists of workers; the dead are struck once a minute
    r"rq:(finished|failed|canceled):.+",  # RQ's registries; what has expired is struck
    r"unfog:models(:.+)?",  # the catalogue
    r"unfog:work",  # two counters
    r"unfog:callers:queued",  # a counter for each caller who waits
    r"unfog:events",  # a capped stream
]
"""Keys that may stay for ever: none of them grows with the jobs that were."""

LEFTOVERS = ("rq:wip:", "rq:queue:", "rq:execution:", "rq:executions:")
"""Started registries, queues with their intermediate lists, and executions: gone when nothing runs and waits."""


@dataclass
class Verdict:
    """Problems in words, and what was counted on the way."""

    problems: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicates: int = 0
    spare_picture_sets: int = 0
    """Pictures that a fenced execution had stored; nothing names them and they expire."""
    crashes: Counter[int] = field(default_factory=Counter)


def wait_for_the_end(stage: Stage, feeder: Feeder, limit_s: float) -> None:
    """Wait until every accepted job has ended."""
    open_jobs = set(feeder.accepted)

    def all_ended() -> bool:
        listed = sorted(open_jobs)
        with stage.redis.pipeline(transaction=False) as pipe:
            for job_id in listed:
                pipe.hget(f"rq:job:{job_id}", "status")
            for job_id, status in zip(listed, pipe.execute(), strict=True):
                if (status or b"gone").decode() in ENDED:
                    open_jobs.discard(job_id)
        return not open_jobs

    try:
        until(all_ended, "all jobs end", limit_s, every_s=0.2)
    except AssertionError as error:
        states = {job_id: stage.state_of(job_id) for job_id in sorted(open_jobs)[:10]}
        raise AssertionError(f"{len(open_jobs)} jobs did not end, among them {states}") from error


def judge(stage: Stage, feeder: Feeder, *, cancelled_expire: bool) -> Verdict:
    """Look at every accepted job and at every key. `cancelled_expire`: also what RQ's tools cancelled has a ttl."""
    verdict = Verdict()
    pictures: dict[str, set[str]] = defaultdict(set)
    for key in stage.redis.scan_iter("unfog:picture:*", count=10_000):
        pictures[key.decode().split(":")[2]].add(key.decode())
    for job_id in feeder.accepted:
        _judge_job(stage.redis, feeder, job_id, pictures[job_id], verdict)
    # Executions of the dead expire by themselves; those of the living must have been removed.
    until(lambda: not stage.redis.keys("rq:execution:*"), "executions are gone", HEARTBEAT_TTL_S + 20)
    verdict.problems += _left_behind(stage.redis, feeder.canceled, cancelled_expire)
    verdict.problems += _uncounted(stage.redis)
    return verdict


def _judge_job(redis: Redis, feeder: Feeder, job_id: str, stored: set[str], verdict: Verdict) -> None:
    raw = redis.hgetall(f"rq:job:{job_id}")
    if not raw:
        verdict.lost += 1
        verdict.problems.append(f"{job_id} was accepted and is not there")
        return
    job = restore(job_id, raw, redis)
    status, meta = raw[b"status"].decode(), JobMeta.model_validate(job.meta)
    results = [entry[b"type"] for _, entry in redis.xrange(f"rq:results:{job_id}")]
    verdict.outcomes[status] += 1
    verdict.crashes[meta.crashes] += 1
    if job_id in feeder.poisoned:
        if status != "failed" or meta.failure is None or meta.failure.code != "worker_died":
            verdict.problems.append(f"the poisonous job is {status}: {meta.failure}")
        return
    if job_id in feeder.canceled and status in ("stopped", "canceled"):
        return
    if status != "finished":
        verdict.problems.append(f"{job_id} is {status}: {meta}")
        return
    if results != [b"1"]:
        verdict.duplicates += len(results) > 1
        verdict.problems.append(f"{job_id} has results {results}")
    images = spec_of(job).num_images
    executions = {picture.key.split(":")[3] for picture in meta.pictures}
    if len(meta.pictures) != images or len(executions) != 1 or not stored >= {p.key for p in meta.pictures}:
        verdict.problems.append(f"{job_id} has not exactly one set of pictures: {meta.pictures}")
    verdict.spare_picture_sets += len({key.split(":")[3] for key in stored}) - 1


def _left_behind(redis: Redis, canceled: set[str], cancelled_expire: bool) -> list[str]:
    problems = []
    for key in sorted(redis.scan_iter(count=10_000)):
        name = key.decode()
        if name.startswith("rq:executions:") and name.rpartition(":")[2] in canceled and redis.ttl(key) > 0:
            continue  # RQ's cancel leaves it to the worker, which may die first; it expires
        if name.startswith(LEFTOVERS) and ":first_seen:" not in name:
            problems.append(f"{name} is left: nothing runs and nothing waits")
        elif redis.ttl(key) == -1 and not any(re.fullmatch(pattern, name) for pattern in WITHOUT_TTL):
            is_job = name.startswith("rq:job:")
            if is_job and not cancelled_expire and redis.hget(name, "status") == b"canceled":
                continue
            problems.append(f"{name} has no ttl")
    return problems


def _uncounted(redis: Redis) -> list[str]:
    models = [key.decode() for key in redis.hkeys(keys.MODELS)]
    redis.delete(keys.WORK_LOCK)
    counted = recount(redis)
    counters = [keys.WORK, keys.CALLERS_QUEUED, *map(keys.model_work, models)]
    left = {
        (key, field): int(count)
        for key in counters
        for field, count in redis.hgetall(key).items()
        if int(count) and not field.endswith(b".end")
    }
    left |= {(key, b"entries"): redis.hlen(key) for key in map(keys.model_ledger, models) if redis.exists(key)}
    left |= {(key.decode(), b"jobs"): redis.zcard(key) for key in redis.scan_iter(keys.lane_order("*", "*"))}
    return [] if counted and not left else [f"after a recount {left} is counted"]


def wait_until_cancelled_jobs_expire(redis: Redis, limit_s: float = 90.0) -> float:
    """The workers' next tidying gives a ttl to what RQ's tools cancelled; the seconds that took."""
    start = time.monotonic()
    jobs = [key for key in redis.scan_iter("rq:job:*", count=10_000) if redis.hget(key, "status") == b"canceled"]
    until(lambda: all(redis.ttl(key) != -1 for key in jobs), "cancelled jobs get a ttl", limit_s, every_s=0.5)
    return time.monotonic() - start
