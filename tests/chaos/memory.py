"""Whether Redis is as full as before when the time of the jobs is over."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from tests.chaos.feeder import Feeder
from tests.chaos.stage import stage
from tests.chaos.verdict import wait_for_the_end
from worker.consumer.storing import MARGIN_S

JOBS = 1000
TTL_S = 2
BOUNDED = ("unfog:events", "unfog:caller:*", "unfog:doorbell:*")
"""What stays longer and is bounded: a capped stream, and what a caller submitted within a week."""


@dataclass(frozen=True)
class Memory:
    """Bytes that Redis used: before the jobs, at the most, and when they had expired; and of the latter, what
    `BOUNDED` took."""

    before: int
    at_most: int
    after: int
    bounded: int


def measure_memory(folder: Path, seed: int) -> Memory:
    """Run jobs with a time to live of seconds and wait until it is over."""
    with stage(folder, 2, "tests.chaos.clockwork_engine", api=False) as on:
        warm = Feeder(on, random.Random(seed), 50, ttl_s=TTL_S, through_api=False, keyed=False)
        warm.enough.set()
        warm.start()
        warm.join()
        wait_for_the_end(on, warm, 120.0)
        _wait_until_expired(on.redis)
        before = _used(on.redis) - _bounded(on.redis)
        feeder = Feeder(on, random.Random(seed + 1), JOBS, ttl_s=TTL_S, through_api=False, keyed=False)
        feeder.enough.set()
        feeder.start()
        feeder.join()
        wait_for_the_end(on, feeder, 300.0)
        at_most = _used(on.redis)
        _wait_until_expired(on.redis)
        return Memory(before, at_most, _used(on.redis), _bounded(on.redis))


def _wait_until_expired(redis: Redis) -> None:
    time.sleep(MARGIN_S + TTL_S + 10.0)  # and a round or two of maintenance, which strikes the registries


def _used(redis: Redis) -> int:
    redis.execute_command("MEMORY", "PURGE")
    return int(redis.info("memory")["used_memory"])


def _bounded(redis: Redis) -> int:
    found = [key for pattern in BOUNDED for key in redis.scan_iter(pattern, count=10_000)]
    return sum(int(redis.memory_usage(key, samples=0) or 0) for key in found)
