"""What a flow asks its driver to do, and what it gets back.

A flow is a generator: it yields effects and is sent their outcomes; a `ConnectionFailed` is thrown into it. So the
steps of a call are written once, and are driven by httpx's client for threads as well as by the one for asyncio.
"""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from unfog.errors import ConnectionFailed, FieldError, Problem, UnexpectedAnswer, problem_class
from unfog.repeating import retry_after_s


@dataclass(frozen=True)
class Send:
    """Send a request; gets its `Answer`. path: below the service's address, quoted. read_s: silence that is borne.

    stream: the body of an answer without error is not read but left for `Read`; a stream that was open is closed.
    Raises `ConnectionFailed`.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    stream: bool = False
    read_s: float | None = None


@dataclass(frozen=True)
class Read:
    """Read on in the open stream; gets bytes, none at its end. Raises `ConnectionFailed`."""


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Call a function of the caller's; with asyncio it may be a coroutine function."""

    function: Callable[[Any], object]
    value: object


@dataclass(frozen=True)
class Give:
    """Hand a value to the caller, who may take no further one."""

    value: object


Effect: TypeAlias = Send | Read | Sleep | Tell | Give
T = TypeVar("T")
Flow: TypeAlias = Generator[Effect, Any, T]


def advance(flow: Flow[T], outcome: object) -> Effect:
    """Send the outcome of the last effect, None at the start; get the next. Raises `StopIteration` at the end."""
    return flow.throw(outcome) if isinstance(outcome, ConnectionFailed) else flow.send(outcome)


@dataclass(frozen=True)
class Answer:
    """What came back. headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body of a JSON answer. Raises `UnexpectedAnswer`."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "of no type")
            raise UnexpectedAnswer(f"the answer is not JSON but {kind}: is it an Unfog service?") from None

    def problem(self) -> Problem:
        """The error that an answer of 400 and above is; a proxy's has no code of ours."""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            told = None
        told = told if isinstance(told, dict) else {}
        wrong = told.get("errors")
        errors = [item for item in wrong if isinstance(item, dict)] if isinstance(wrong, list) else []
        return problem_class(self.status)(
            self.status,
            str(told.get("code") or "http_error"),
            str(told.get("detail") or f"the service answers with {self.status}"),
            errors=tuple(FieldError(*(str(e.get(k, "")) for k in ("pointer", "code", "detail"))) for e in errors),
            request_id=self.headers.get("x-request-id"),
            retry_after_s=retry_after_s(self.headers),
        )
