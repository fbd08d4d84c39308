"""What the workers serve, as they say it themselves, kept in Redis for the API to read."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from jobs import keys
from jobs.errors import ModelUnknown
from jobs.pace import pace_of, said
from jobs.spec import TimestepSpacing

REFUSAL_TTL_S = 60


class SamplerCard(BaseModel):
    """One sampler that a model can be run with."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    takes_eta: bool
    max_steps: int
    evaluations_per_step: int


class ModelCard(BaseModel):
    """What a worker announces of a model it serves."""

    model_config = ConfigDict(frozen=True)

    id: str
    fingerprint: str
    height: int
    width: int
    class_names: tuple[str, ...]
    guided: bool
    """Whether the model has a null label, so that guidance_scale may differ from 1."""
    default_sampler: str
    default_steps: int
    default_guidance_scale: float
    timestep_spacing: TimestepSpacing
    num_train_timesteps: int
    samplers: tuple[SamplerCard, ...]
    quality: list[dict[str, Any]] = []
    """The rows of the folder's quality.json: what was measured, by sampler and steps."""
    owned_by: str = "unfog"
    created: int = 0
    """Unix second of the weights' file."""
    log_snr: list[float] = []
    """ln(ᾱ/(1-ᾱ)) at points spread evenly from the first timestep to the last: the noise schedule, thinned."""
    max_places: int = 1
    """The most places in one forward pass of the worker that announced the model."""

    def sampler(self, name: str) -> SamplerCard | None:
        """The sampler of that name, or None."""
        return next((card for card in self.samplers if card.name == name), None)


class Catalogue:
    """The known models at one moment, how many live workers serve each, and their evaluations a second together.

    A model is in `rates` only while a live worker has said how fast it is.
    """

    def __init__(
        self,
        models: dict[str, ModelCard],
        default: str | None,
        workers: dict[str, int],
        rates: dict[str, float] | None = None,
    ) -> None:
        self.models, self.default, self.workers, self.rates = models, default, workers, rates or {}

    def find(self, model: str | None) -> ModelCard:
        """The card of `model`, of the default model for None. Raises `ModelUnknown`."""
        name = self.default if model is None else model
        card = self.models.get(name) if name is not None else None
        if card is None:
            raise ModelUnknown(model, tuple(self.models))
        return card


# Who has not repeated its word in time goes, and what it said of its speed with it.
_FORGET_LATE = """
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do
  redis.call('ZREM', KEYS[1], worker)
  redis.call('HDEL', KEYS[2], worker)
end
"""


def announce(
    redis: Redis,
    worker: str,
    cards: Iterable[ModelCard],
    ttl_s: int,
    rates: Mapping[str, float] | None = None,
    tick_s: Mapping[str, float] | None = None,
) -> None:
    """Say that `worker` serves these models for the next `ttl_s` seconds. The first is the default.

    `rates` are the evaluations a second that it measured lately, `tick_s` the seconds of a tick, both by model.
    """
    now = time.time()
    rates, tick_s = rates or {}, tick_s or {}
    with redis.pipeline() as pipe:
        for position, card in enumerate(cards):
            workers, speeds = keys.model_workers(card.id), keys.model_rates(card.id)
            pipe.hset(keys.MODELS, card.id, card.model_dump_json())
            pipe.zadd(workers, {worker: now + ttl_s})
            if card.id in rates:
                pipe.hset(speeds, worker, said(rates[card.id], tick_s.get(card.id, 0.0)))
            pipe.eval(_FORGET_LATE, 2, workers, speeds, str(now))
            if position == 0:
                pipe.set(keys.DEFAULT_MODEL, card.id)
        pipe.execute()


def withdraw(redis: Redis, worker: str, model_ids: Iterable[str]) -> None:
    """Say that `worker` serves these models no longer; they stay known."""
    with redis.pipeline() as pipe:
        for model_id in model_ids:
            pipe.zrem(keys.model_workers(model_id), worker)
            pipe.hdel(keys.model_rates(model_id), worker)
        pipe.execute()


def report_refusal(redis: Redis, worker: str, reason: str) -> None:
    """Let `/health/ready` say why a worker could not start, for a minute."""
    with redis.pipeline() as pipe:
        pipe.hset(keys.REFUSALS, worker, reason)
        pipe.expire(keys.REFUSALS, REFUSAL_TTL_S)
        pipe.execute()


async def read_refusals(redis: AsyncRedis) -> tuple[str, ...]:
    """Why workers could not start in the last minute."""
    reasons: Any = await redis.hvals(keys.REFUSALS)
    return tuple(sorted({reason.decode() for reason in reasons}))


def _card(raw: bytes) -> ModelCard | None:
    try:
        return ModelCard.model_validate_json(raw)
    except ValidationError:
        return None  # from a worker of another release; its own API knows it


async def read_models(redis: AsyncRedis) -> Catalogue:
    """The known models, without who serves them and how fast: one round trip."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.MODELS)
        pipe.get(keys.DEFAULT_MODEL)
        raw, default = await pipe.execute()
    # A hash has no order of its own; people get the default first.
    names = sorted(raw, key=lambda name: (name != default, name))
    models = {name.decode(): card for name in names if (card := _card(raw[name])) is not None}
    return Catalogue(models, default.decode() if default else None, {})


async def read_catalogue(redis: AsyncRedis) -> Catalogue:
    """The catalogue as Redis has it now: two round trips."""
    known = await read_models(redis)
    now = time.time()
    async with redis.pipeline(transaction=False) as pipe:
        for name in known.models:
            pipe.zrangebyscore(keys.model_workers(name), now, "+inf")
            pipe.hgetall(keys.model_rates(name))
        answers = await pipe.execute()
    paces = {name: pace_of(*answers[2 * n : 2 * n + 2]) for n, name in enumerate(known.models)}
    return Catalogue(
        known.models,
        known.default,
        {name: len(pace.workers) for name, pace in paces.items()},
        {name: pace.rate for name, pace in paces.items() if pace.measured},
    )
