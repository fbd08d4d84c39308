"""What there is to do for a model and who does it, read at once."""

import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import keys
from jobs.ledger import Sums
from jobs.pace import Pace, pace_of

COMMANDS = 3


@dataclass(frozen=True)
class Load:
    """The counters of a model, and its live workers."""

    sums: Sums
    pace: Pace


def ask(pipe: Any, model: str) -> None:
    """Add to a pipeline what tells the load of a model: `COMMANDS` commands."""
    pipe.hgetall(keys.model_work(model))
    pipe.zrangebyscore(keys.model_workers(model), time.time(), "+inf")
    pipe.hgetall(keys.model_rates(model))


def load_of(answers: Any) -> Load:
    """The load, from the answers to what `ask` added."""
    work, live, rates = answers
    return Load(Sums(work), pace_of(live, rates))


async def read_loads(redis: Redis) -> dict[str, Load]:
    """The load of every known model: two round trips."""
    known: Any = await redis.hkeys(keys.MODELS)
    models = sorted(name.decode() for name in known)
    async with redis.pipeline(transaction=False) as pipe:
        for model in models:
            ask(pipe, model)
        answers = await pipe.execute()
    return {model: load_of(answers[COMMANDS * n : COMMANDS * (n + 1)]) for n, model in enumerate(models)}
