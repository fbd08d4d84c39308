"""How much work there is, and who does it: what an autoscaler reads."""

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from jobs.load import Load, read_loads


class Work(BaseModel):
    """Work that waits and work that is under way, in jobs and in evaluations, and who does it."""

    model_config = ConfigDict(frozen=True)

    queued_jobs: int
    queued_evaluations: int
    running_jobs: int
    running_evaluations: int
    """What the running jobs cost in all, the part that is done included."""
    workers: int
    """Live workers."""


class ModelWork(Work):
    """The work of one model."""

    rate: float | None
    """Evaluations a second that the live workers do together; None while none has said."""


class Stats(Work):
    """The work of the whole service, and of each known model by its id."""

    models: dict[str, ModelWork]


async def read_stats(redis: Redis) -> Stats:
    """The stats as the counters have them: two round trips, whatever the depth of the queues."""
    loads = await read_loads(redis)
    models = {name: _of_model(load) for name, load in loads.items()}
    return Stats(
        queued_jobs=sum(one.queued_jobs for one in models.values()),
        queued_evaluations=sum(one.queued_evaluations for one in models.values()),
        running_jobs=sum(one.running_jobs for one in models.values()),
        running_evaluations=sum(one.running_evaluations for one in models.values()),
        # One worker may serve several models.
        workers=len(frozenset[str]().union(*(load.pace.workers for load in loads.values()))),
        models=models,
    )


def _of_model(load: Load) -> ModelWork:
    queued, running = load.sums.group("queued"), load.sums.group("running")
    return ModelWork(
        queued_jobs=queued.jobs,
        queued_evaluations=queued.evaluations,
        running_jobs=running.jobs,
        running_evaluations=running.evaluations,
        workers=len(load.pace.workers),
        rate=load.pace.rate if load.pace.measured else None,
    )
