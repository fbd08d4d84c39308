"""The names of the keys that are ours in Redis. RQ's own keys begin with `rq:`."""

EVENTS = "unfog:events"
"""Stream, capped: one entry per job that ended. Only wakes listeners; the truth is in the job."""

MODELS = "unfog:models"
"""Hash: model id → JSON of `ModelCard`. Known models, also while no worker serves them."""

DEFAULT_MODEL = "unfog:models:default"
"""String: the id of the model that a request without `model` means."""

WORK = "unfog:work"
"""Hash: `queued` and `running`, the evaluations that wait and that are under way. Recounted every minute."""

WORK_LOCK = "unfog:work:recount"
"""String with a TTL: somebody has recounted lately."""

MAINTENANCE_LOCK = "unfog:maintenance"
"""String with a TTL: a worker is looking after the queues."""

SUSPECTS_LOCK = "unfog:suspects"
"""String with a TTL: a worker is running suspects."""

REFUSALS = "unfog:refusals"
"""Hash with a TTL: name of a worker that could not start → why."""


def model_workers(model: str) -> str:
    """Sorted set: name of a worker that serves the model → Unix second its word expires."""
    return f"unfog:models:{model}:workers"


def picture(job_id: str, execution_id: str, index: int) -> str:
    """String: the PNG of one image, under the execution that made it, so that a repeat cannot mix in."""
    return f"unfog:picture:{job_id}:{execution_id}:{index}"


def doorbell(model: str) -> str:
    """List, capped: one entry per submitted job, so that an idle worker need not poll the lanes."""
    return f"unfog:doorbell:{model}"


def caller_jobs(caller: str) -> str:
    """Sorted set: the caller's job ids by the second they were submitted."""
    return f"unfog:caller:{caller}:jobs"


def idempotency(caller: str, key: str) -> str:
    """String with a TTL: the job that a caller's Idempotency-Key stands for."""
    return f"unfog:idempotency:{caller}:{key}"
