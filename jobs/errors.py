"""What can go wrong between a request and its job.

JobError
├── JobNotFound        no such job, or it has expired
├── ModelUnknown       no worker has ever announced this model
├── RequestRefused     the request does not fit the model; carries pointer, code and detail
├── StoreUnavailable   Redis does not answer
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


class StoreUnavailable(JobError):
    """Redis does not answer; nothing was accepted."""


class StoreUnsuitable(JobError):
    """Redis is set up so that it could throw accepted jobs away."""
