"""What can go wrong between a request and its job.

JobError
├── JobNotFound        no such job, or it has expired
├── ModelUnknown       no worker has ever announced this model
├── RequestRefused     the request does not fit the model; carries pointer, code and detail
├── TooMuchQueued      so many evaluations wait that another job is not taken
├── IdempotencyConflict  the caller's key already stands for another body
├── StoreNearlyFull    Redis keeps its last memory for the ends of accepted jobs
└── StoreUnsuitable    Redis answers but may lose jobs (it evicts keys)
"""

from dataclasses import dataclass


class JobError(Exception):
    """The root of the errors of this package."""


class JobNotFound(JobError):
    """The job id is unknown here: it was never given out, or its time to live has passed."""


class ModelUnknown(JobError):
    """No worker has announced a model of this name."""

    def __init__(self, model: str | None, known: tuple[str, ...]) -> None:
        self.model, self.known = model, known
        there = ", ".join(known) if known else "none yet; start a worker"
        wanted = "default model" if model is None else f"model {model!r}"
        super().__init__(f"there is no {wanted}; known models: {there}")


@dataclass(frozen=True)
class Refusal:
    """One thing that is wrong with a request.

    `pointer` is a JSON pointer into the body ("/steps"), `code` is stable, `detail` says what is allowed.
    """

    pointer: str
    code: str
    detail: str


class RequestRefused(JobError):
    """A well-formed request that this model or service cannot honour."""

    def __init__(self, *refusals: Refusal) -> None:
        assert refusals
        self.refusals = refusals
        super().__init__("; ".join(f"{r.pointer}: {r.detail}" for r in refusals))


class TooMuchQueued(JobError):
    """The job would make more evaluations wait than the service allows."""

    def __init__(self, queued: int, limit: int) -> None:
        self.queued, self.limit = queued, limit
        super().__init__(f"{queued} evaluations wait already, and {limit} may; try again later")


class IdempotencyConflict(JobError):
    """An Idempotency-Key that was used for another body within a day."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the Idempotency-Key {key!r} was used for another body; use a new key for a new request")


class StoreNearlyFull(JobError):
    """Redis has used so much of its memory that new jobs would endanger the ends of accepted ones."""


class StoreUnsuitable(JobError):
    """Redis is set up so that it could throw accepted jobs away."""
