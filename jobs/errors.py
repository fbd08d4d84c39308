"""What can go wrong between a request and its job.

JobError
├── JobNotFound        no such job of this caller
├── JobGone            the caller's job has expired or was erased, at most seven days after it was submitted
├── JobUnfinished      the job cannot be erased, since it has not ended
├── CursorUnknown      a page was asked for with a cursor that no page has given
├── ModelUnknown       no worker has ever announced this model
├── RequestRefused     the request does not fit the model; carries pointer, code and detail
├── TooMuchQueued      so many evaluations wait that another job is not taken
│   └── CallerQueueFull  so many of this caller's
├── IdempotencyConflict  the caller's key already stands for another body
├── StoreNearlyFull    Redis keeps its last memory for the ends of accepted jobs
├── ResultsAway        the store of the pictures does not answer, or takes nothing for now
└── StoreUnsuitable    Redis may lose jobs (it evicts keys), or no picture can be stored as it is set up
"""

from dataclasses import dataclass


class JobError(Exception):
    """The root of the errors of this package."""


class JobNotFound(JobError):
    """The job id is unknown here: it was never given out, is another caller's, or is long forgotten."""


class JobGone(JobError):
    """The job was this caller's, and has expired or was erased."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} has expired or was erased; submit its request again")


class JobUnfinished(JobError):
    """A job that waits or runs cannot be erased."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} has not ended; cancel it first")


class CursorUnknown(JobError):
    """A cursor that is none of ours."""

    def __init__(self) -> None:
        super().__init__("the cursor is none that this service has given; begin without one")


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
    """The job would make more evaluations wait than the service allows.

    `retry_after_s` estimates when there will be room.
    """

    whose = ""

    def __init__(self, queued: int, limit: int, retry_after_s: int) -> None:
        self.queued, self.limit, self.retry_after_s = queued, limit, retry_after_s
        super().__init__(
            f"{queued} evaluations{self.whose} wait already, and {limit} may; try again in {retry_after_s} s"
        )


class CallerQueueFull(TooMuchQueued):
    """The job would make more evaluations of its caller wait than the service allows one caller."""

    whose = " of yours"


class IdempotencyConflict(JobError):
    """An Idempotency-Key that was used for another body within a day."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the Idempotency-Key {key!r} was used for another body; use a new key for a new request")


class StoreNearlyFull(JobError):
    """Redis has used so much of its memory that new jobs would endanger the ends of accepted ones."""


class ResultsAway(JobError):
    """The store of the pictures does not answer, or takes nothing for now. The message holds no secret."""


class StoreUnsuitable(JobError):
    """Redis is set up so that it could throw accepted jobs away, or the store of the pictures takes none."""
