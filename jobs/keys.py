"""The names of the keys that are ours in Redis. RQ's own keys begin with `rq:`."""

EVENTS = "unfog:events"
"""Stream, capped: one entry per job that ended. Only wakes listeners; the truth is in the job."""

MODELS = "unfog:models"
"""Hash: model id → JSON of `ModelCard`. Known models, also while no worker serves them."""

DEFAULT_MODEL = "unfog:models:default"
"""String: the id of the model that a request without `model` means."""

QUEUE_PREFIX = "unfog."
"""What the names of our RQ queues begin with."""


def model_workers(model: str) -> str:
    """Sorted set: name of a worker that serves the model → Unix second its word expires."""
    return f"unfog:models:{model}:workers"


def picture(job_id: str, execution_id: str, index: int) -> str:
    """String: the PNG of one image, under the execution that made it, so that a repeat cannot mix in."""
    return f"unfog:picture:{job_id}:{execution_id}:{index}"


def queue_name(model: str) -> str:
    """The RQ queue of a model."""
    return QUEUE_PREFIX + model
