"""When a job will be done, as far as one can tell: its place in the queue and the seconds until its end.

All of it comes from counters, so that it costs the same at any depth of the queue; see `jobs.ledger`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import keys
from jobs.lanes import SUSPECTS, lane_of, split
from jobs.ledger import Group, Sums
from jobs.load import COMMANDS, Load, ask, load_of, read_loads
from jobs.pace import Pace
from jobs.record import JobRecord, Status
from jobs.spec import JobSpec

UNKNOWN_S = 10
"""When to come back if nobody can say when there will be room."""
LONGEST_S = 3600


@dataclass(frozen=True)
class Estimate:
    """What is told of a job that has not ended.

    `queue_position` is 1 for the next one, None once the job runs. `eta_s` is None while no live worker serves
    the model or none has said how fast it is.
    """

    queue_position: int | None
    eta_s: float | None


NOTHING = Estimate(None, None)
"""What there is to tell of a job that has ended."""


@dataclass(frozen=True)
class Own:
    """What a job itself still needs: evaluations, and how many of them must come one after the other."""

    evaluations: int
    in_a_row: int


def own_of(spec: JobSpec, evaluations: int) -> Own:
    """What a job needs whose images still take so many evaluations together."""
    return Own(evaluations, math.ceil(evaluations / (spec.num_images * spec.places)))


def before_in_other_lanes(sums: Sums, lane: str, position: int, own: Own) -> Group:
    """What will go before the job in place `position` of a lane, out of the other lanes.

    Workers go round the lanes, so of one with the same priority as many jobs go before it as stand before it in
    its own lane, itself included, if there are so many; of one with a higher priority all. Rows share the batch
    and short ones go first, so a job beside it delays it by no more than its own evaluations.
    """
    jobs = evaluations = 0
    priority = lane.partition(".")[0]
    for name, waiting in sums.lanes.items():
        theirs = name.partition(".")[0]
        if name == lane or SUSPECTS in (name, lane):
            continue
        if theirs == priority:
            going = min(waiting.jobs, position)
            evaluations += min(waiting.evaluations * going // waiting.jobs, going * own.evaluations)
        elif theirs == "normal":
            going = waiting.jobs
            evaluations += waiting.evaluations
        else:
            continue
        jobs += going
    return Group(jobs, evaluations)


def eta_s(pace: Pace, sums: Sums, before: int, own: Own) -> float | None:
    """Seconds until a job is done that has `before` evaluations in the queue before it.

    The largest of three bounds: all the work up to it over the rate of all workers; its own work over the rate
    of one worker, since a job runs in one; its own ticks, one after the other. The running jobs count with what
    they have left, and each with no more than the job's own evaluations, for they share the batch.
    """
    if not pace.measured:
        return None
    work = _running(sums, own) + before + own.evaluations
    return round(max(work / pace.rate, _alone_s(pace, own)), 3)


def running_eta_s(pace: Pace, sums: Sums, own: Own) -> float | None:
    """The same for a running job, which is one of those that share the batch and waits for nobody before it."""
    if not pace.measured:
        return None
    return round(max(_running(sums, own) / pace.rate, _alone_s(pace, own)), 3)


def _running(sums: Sums, own: Own) -> int:
    return min(sums.running_left, sums.group("running").jobs * own.evaluations)


def _alone_s(pace: Pace, own: Own) -> float:
    return max(own.evaluations * pace.measured / pace.rate, own.in_a_row * pace.tick_s)


async def estimate_all(redis: Redis, records: Sequence[JobRecord]) -> list[Estimate]:
    """The estimates of some jobs: one round trip of three commands a job and three a model; none for ended ones."""
    unended = [record for record in records if not record.status.ended]
    if not unended:
        return [NOTHING] * len(records)
    models = list(dict.fromkeys(record.spec.model for record in unended))
    async with redis.pipeline() as pipe:
        for model in models:
            ask(pipe, model)
        for record in unended:
            order = keys.lane_order(record.spec.model, _lane(record))
            pipe.zrank(order, record.id)
            pipe.zscore(order, record.id)
            pipe.zrange(order, 0, 0, withscores=True)
        answers = await pipe.execute()
    loads = {model: load_of(answers[COMMANDS * n : COMMANDS * (n + 1)]) for n, model in enumerate(models)}
    stands = _in_threes(answers[COMMANDS * len(models) :])
    found = {
        record.id: _estimate(record, loads[record.spec.model], *stand)
        for record, stand in zip(unended, stands, strict=True)
    }
    return [found.get(record.id, NOTHING) for record in records]


def _in_threes(answers: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    return list(zip(answers[::3], answers[1::3], answers[2::3], strict=True))


def _lane(record: JobRecord) -> str:
    try:
        return split(record.queue)[1]
    except ValueError:
        return ""


def _estimate(record: JobRecord, load: Load, rank: int | None, start: float, first: Any) -> Estimate:
    """From the job's rank and beginning in its lane, and the first job of the lane with its beginning."""
    own = own_of(record.spec, max(0, record.meta.total - record.meta.completed))
    if record.status is Status.RUNNING or rank is None:
        # One that says it waits and is in no lane has begun to run just now.
        return Estimate(None, running_eta_s(load.pace, load.sums, own))
    lane, position = _lane(record), rank + 1
    # Gaps of jobs that left from the middle make the axis longer than what waits.
    waiting = load.sums.group(lane).evaluations
    in_lane = min(int(start - first[0][1]), max(0, waiting - own.evaluations))
    other = before_in_other_lanes(load.sums, lane, position, own)
    eta = eta_s(load.pace, load.sums, in_lane + other.evaluations, own)
    return Estimate(position + other.jobs, eta)


async def estimate_new(redis: Redis, spec: JobSpec, evaluations: int) -> Estimate:
    """The estimate of a job that would be submitted now: one round trip."""
    async with redis.pipeline() as pipe:
        ask(pipe, spec.model)
        load = load_of(await pipe.execute())
    lane, own = lane_of(spec, evaluations).tail, own_of(spec, evaluations)
    ahead = load.sums.group(lane)
    position = ahead.jobs + 1
    other = before_in_other_lanes(load.sums, lane, position, own)
    eta = eta_s(load.pace, load.sums, ahead.evaluations + other.evaluations, own)
    return Estimate(position + other.jobs, eta)


async def retry_after_s(redis: Redis, queued: int, too_much: int) -> int:
    """Seconds until `too_much` of `queued` evaluations, all that wait or one caller's, will have been taken.

    They are taken like all the rest: in the time that all queues need, the same share of it. Between 1 and
    `LONGEST_S`; `UNKNOWN_S` while no worker has said how fast it is.
    """
    loads = (await read_loads(redis)).values()
    all_s = sum(load.sums.group("queued").evaluations / load.pace.rate for load in loads if load.pace.measured)
    if not all_s:
        return UNKNOWN_S
    share = min(1.0, too_much / max(1, queued))
    return max(1, min(LONGEST_S, math.ceil(share * all_s)))
