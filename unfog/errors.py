"""What can go wrong, as one tree.

    UnfogError
    ├── WrongArgument           what was given makes no sense here; a `ValueError` too
    ├── ConnectionFailed        nobody answers at the service's address
    ├── UnexpectedAnswer        somebody answers, but not as this service does
    ├── WaitTimeout             the job has not ended in the time that was given to wait
    ├── JobEnded                the job has ended without a picture
    │   ├── JobFailed
    │   └── JobCanceled
    └── Problem                 the service has answered with an error
        ├── RequestRefused      400 and most of 4xx: the request is wrong, `errors` says where
        ├── Unauthorized        401: an API key is needed, or this one is not known
        ├── Forbidden           403: this key may not do that
        ├── NotFound            404
        ├── Gone                410: it was there, and has expired or been erased
        ├── QueueFull           429: too much is waiting or was asked for; `retry_after_s`
        ├── ServiceFault        500: a fault of the service, not of the request
        └── ServiceUnavailable  502, 503, 504: `retry_after_s`

No message and no attribute holds the API key.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unfog.answers import Job


class UnfogError(Exception):
    """The root of all that this package raises on purpose."""


class WrongArgument(UnfogError, ValueError):
    """What was given makes no sense, whatever the service may say."""


class ConnectionFailed(UnfogError):
    """Nobody answers, or the connection broke before the answer was there."""


class UnexpectedAnswer(UnfogError):
    """What answers is no Unfog service, or one of another time."""


class WaitTimeout(UnfogError):
    """The job has not ended in time. It goes on; `job` is as it was last seen."""

    def __init__(self, job: "Job", timeout_s: float) -> None:
        super().__init__(f"job {job.id} is still {job.status} after {timeout_s:g} s; it goes on")
        self.job = job


class JobEnded(UnfogError):
    """The job has ended, and there is no picture. `job` is its last state."""

    def __init__(self, job: "Job", message: str) -> None:
        super().__init__(message)
        self.job = job


class JobFailed(JobEnded):
    """The job failed; `job.error` has the code and the reason."""

    def __init__(self, job: "Job") -> None:
        reason = f"{job.error.detail} ({job.error.code})" if job.error else "no reason was given"
        super().__init__(job, f"job {job.id} failed: {reason}")


class JobCanceled(JobEnded):
    """The job was canceled."""

    def __init__(self, job: "Job") -> None:
        super().__init__(job, f"job {job.id} was canceled")


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request. pointer: JSON pointer into the body; code: stable; detail: for people."""

    pointer: str
    code: str
    detail: str


class Problem(UnfogError):
    """An error that the service answered with.

    status: of HTTP. code: stable, for programs. detail: for people. request_id: what the service's log calls the
    request, None if it gave none. retry_after_s: when to try again, None if it did not say.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        known_as = f"{status} {code}" + (f", request {request_id}" if request_id else "")
        super().__init__(f"{detail} ({known_as})")
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.request_id, self.retry_after_s = request_id, retry_after_s


class RequestRefused(Problem):
    """The request is wrong; `errors` names every wrong field."""


class Unauthorized(Problem):
    """An API key is needed, or the one given is not known."""


class Forbidden(Problem):
    """The API key may not do that."""


class NotFound(Problem):
    """There is no such thing, or it is another caller's."""


class Gone(Problem):
    """The job was there and has expired or been erased."""


class QueueFull(Problem):
    """Too much is waiting already, or too much was asked for in a short time."""


class ServiceFault(Problem):
    """A fault of the service, not of the request."""


class ServiceUnavailable(Problem):
    """The service cannot answer now."""


BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: Gone,
    429: QueueFull,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def problem_class(status: int) -> type[Problem]:
    """The class of an error status, 400 to 599."""
    return BY_STATUS.get(status, ServiceFault if status >= 500 else RequestRefused)
