"""The names of the keys that are ours in Redis. RQ's own keys begin with `rq:`."""

EVENTS = "unfog:events"
"""Stream, capped: one entry when a job starts, waits again or ends. Only wakes listeners; the job has the truth."""

MODELS = "unfog:models"
"""Hash: model id → JSON of `ModelCard`. Known models, also while no worker serves them."""

DEFAULT_MODEL = "unfog:models:default"
"""String: the id of the model that a request without `model` means."""

WORK = "unfog:work"
"""Hash: `queued` and `running`, the evaluations that wait and that are under way. Recounted every minute."""

CALLERS_QUEUED = "unfog:callers:queued"
"""Hash: caller → evaluations of theirs that wait; who has none is not in it."""

WORK_LOCK = "unfog:work:recount"
"""String with a TTL: somebody has recounted lately."""

MAINTENANCE_LOCK = "unfog:maintenance"
"""String with a TTL: a worker is looking after the queues."""

SUSPECTS_LOCK = "unfog:suspects"
"""String with a TTL: a worker is running suspects."""

SWEEP_LOCK = "unfog:results:sweep"
"""String with a TTL: an API has swept expired results lately; see `jobs.results.sweeping`."""

REFUSALS = "unfog:refusals"
"""Hash with a TTL: name of a worker that could not start → why."""

API_KEYS = "unfog:keys"
"""Hash: id of an API key → JSON of `ApiKey`. Revoked ones stay: that a key was ever made closes the service."""

API_KEYS_USED = "unfog:keys:used"
"""Hash: id of an API key → Unix second of its last use. Apart, so that noting it cannot undo a revocation."""

OUTBOX = "unfog:outbox"
"""Stream: webhooks that are to be sent now, one entry each; trimmed by delivery alone."""

WEBHOOKS = "unfog:webhooks"
"""Hash: webhook id → JSON of `Webhook`, for those that wait for another try and those that were given up."""

WEBHOOKS_DUE = "unfog:webhooks:due"
"""Sorted set: id of a webhook that waits → Unix millisecond of its next try."""

WEBHOOKS_DEAD = "unfog:webhooks:dead"
"""Sorted set: id of a webhook that was given up → Unix millisecond when."""

CANCEL_FIELD = "unfog_cancel"
"""Field of a running job's hash: its caller wants it canceled. Seen with the worker's next heartbeat."""


def model_workers(model: str) -> str:
    """Sorted set: name of a worker that serves the model → Unix second its word expires."""
    return f"unfog:models:{model}:workers"


def model_rates(model: str) -> str:
    """Hash: name of a worker that serves the model → JSON of the `rate` and `tick_s` it measured lately."""
    return f"unfog:models:{model}:rates"


def model_work(model: str) -> str:
    """Hash: how many jobs and evaluations of the model wait, by lane too, and run; see `jobs.ledger`."""
    return f"unfog:models:{model}:work"


def model_ledger(model: str) -> str:
    """Hash: id of each job of the model that waits or runs → JSON of where it is counted; see `jobs.ledger`."""
    return f"unfog:models:{model}:ledger"


def lane_order(model: str, lane: str = "") -> str:
    """Sorted set: ids of the jobs that wait in a lane → evaluations submitted to the lane before each."""
    return f"unfog:models:{model}:order:{lane}"


def picture(job_id: str, execution_id: str, index: int) -> str:
    """String: the PNG of one image, under the execution that made it, so that a repeat cannot mix in."""
    return f"unfog:picture:{job_id}:{execution_id}:{index}"


def animation(job_id: str, execution_id: str) -> str:
    """String: the animated PNG of a job, under the execution that made it."""
    return f"unfog:animation:{job_id}:{execution_id}"


def doorbell(model: str) -> str:
    """List, capped: one entry per submitted job, so that an idle worker need not poll the lanes."""
    return f"unfog:doorbell:{model}"


def caller_jobs(caller: str) -> str:
    """Sorted set: the caller's job ids by the Unix second they were submitted; kept for seven days."""
    return f"unfog:caller:{caller}:jobs"


def idempotency(caller: str, key: str) -> str:
    """String with a TTL: the job that a caller's Idempotency-Key stands for."""
    return f"unfog:idempotency:{caller}:{key}"


def watch(job_id: str) -> str:
    """Pub/sub channel: progress and previews of a running job, while somebody listens; see `jobs.watch`."""
    return f"unfog:watch:{job_id}"
