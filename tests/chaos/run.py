"""One run: jobs all the time, faults in between, and then the verdict."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import Faults
from tests.chaos.feeder import Feeder
from tests.chaos.stage import stage
from tests.chaos.verdict import Verdict, judge, wait_for_the_end, wait_until_cancelled_jobs_expire


@dataclass(frozen=True)
class Plan:
    """How much of what. `outage_s`: how long Redis is stopped, 0 for not at all."""

    workers: int
    jobs: int
    worker_kills: int
    engine_kills: int
    redis_kills: int
    freezes: int
    outage_s: float
    cleanups: int
    api_kills: int
    poisons: int
    quiet_kills: int
    """Kills at the end, one at a time, for clean figures."""
    pause_s: tuple[float, float]
    end_s: float
    wait_for_tidying: bool
    """Whether to wait, a minute at most, until jobs that RQ's tools cancelled have a time to live too."""


SHORT = Plan(2, 60, 2, 1, 1, 1, 5.0, 0, 1, 1, 0, (0.2, 1.0), 60.0, wait_for_tidying=False)
LONG = Plan(3, 2000, 50, 15, 10, 5, 30.0, 5, 5, 1, 5, (0.5, 4.0), 600.0, wait_for_tidying=True)


@dataclass
class Outcome:
    """What a run did and found."""

    seed: int
    faults: Faults
    feeder: Feeder
    verdict: Verdict
    seconds: float
    ended_by_themselves: Counter[int]


def run(plan: Plan, seed: int, folder: Path, module: str, **settings: str) -> Outcome:
    """Play the plan; the order of the faults and the jobs come from the seed."""
    rng = random.Random(seed)
    begun = time.monotonic()
    with stage(folder, plan.workers, module, api=plan.api_kills > 0, **settings) as on:
        feeder = Feeder(on, random.Random(seed + 1), plan.jobs, through_api=on.api is not None)
        faults = Faults(on, rng)
        feeder.start()
        for do in _shuffled(plan, rng, faults, feeder):
            if feeder.error is not None:
                break
            do()
            time.sleep(rng.uniform(*plan.pause_s))
        feeder.enough.set()
        feeder.join()
        wait_for_the_end(on, feeder, plan.end_s)
        faults.settle()
        if plan.wait_for_tidying:
            wait_until_cancelled_jobs_expire(on.redis)
        verdict = judge(on, feeder, cancelled_expire=plan.wait_for_tidying)
        verdict.problems += faults.problems
        return Outcome(seed, faults, feeder, verdict, time.monotonic() - begun, Counter(on.ended_by_themselves))


def _shuffled(plan: Plan, rng: random.Random, faults: Faults, feeder: Feeder) -> list[Callable[[], object]]:
    todo: list[Callable[[], object]] = [faults.kill_worker] * plan.worker_kills
    todo += [faults.kill_engine] * plan.engine_kills
    todo += [faults.kill_redis] * plan.redis_kills
    todo += [faults.freeze_worker] * plan.freezes
    todo += [lambda: faults.freeze_redis(plan.outage_s)] * bool(plan.outage_s)
    todo += [faults.clean_up_twice_at_once] * plan.cleanups
    todo += [lambda: feeder.accepted.append(faults.kill_api_before_it_answers())] * plan.api_kills
    rng.shuffle(todo)
    # The poison early: finding it takes several deaths, and those should meet the other faults.
    quiet = [faults.kill_worker_alone] * plan.quiet_kills
    return [*[lambda: feeder.poison()] * plan.poisons, *todo, *quiet]
