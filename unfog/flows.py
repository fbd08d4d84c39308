"""The steps of each call, as flows: repeated when that is safe, read into what the caller gets."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from unfog.answers import Cost, Job
from unfog.effects import Answer, Flow, Give, Send, Sleep
from unfog.errors import ConnectionFailed, Problem, UnexpectedAnswer, WrongArgument
from unfog.reading import read
from unfog.repeating import Attempts, Policy
from unfog.request import Fields, body_of

T = TypeVar("T")

REPEATED = (429, 502, 503, 504)


class Deadline:
    """The moment until which somebody waits; None: for ever."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self._at = None if timeout_s is None else time.monotonic() + timeout_s

    def within(self, limit_s: float) -> float:
        """The seconds that are left, at most `limit_s`, at least 0."""
        return limit_s if self._at is None else max(0.0, min(limit_s, self._at - time.monotonic()))

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.within(1.0) == 0


NEVER = Deadline(None)


class Flows:
    """The steps of each call, under one policy of repeating."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def call(self, request: Send, deadline: Deadline = NEVER) -> Flow[Answer]:
        """The answer to a request, which is repeated while that may help. Raises what `unfog.errors` has."""
        limit_s = deadline.within(self._policy.retry_limit_s)
        attempts = Attempts(replace(self._policy, retry_limit_s=limit_s))
        while True:
            failure: Problem | ConnectionFailed
            wished_s = None
            try:
                answer: Answer = yield request
            except ConnectionFailed as error:
                failure = error
            else:
                if answer.status < 300:
                    return answer
                if answer.status < 400:
                    raise UnexpectedAnswer(f"the service sends on to {answer.headers.get('location')}; ask there")
                failure = answer.problem()
                if failure.status not in REPEATED:
                    raise failure
                wished_s = failure.retry_after_s
            pause_s = attempts.pause_s(wished_s)
            if pause_s is None:
                raise failure
            yield Sleep(pause_s)

    def get(self, cls: type[T], path: str, deadline: Deadline = NEVER) -> Flow[T]:
        """One object."""
        answer = yield from self.call(Send("GET", path), deadline)
        return read(cls, answer.json())

    def content(self, path: str) -> Flow[bytes]:
        """One picture, as it is."""
        answer = yield from self.call(Send("GET", path, headers={"Accept": "image/png"}))
        return answer.body

    def page(
        self, cls: type[T], path: str, query: Mapping[str, str], cursor: str | None = None
    ) -> Flow[tuple[list[T], str | None]]:
        """One page of a list, and the cursor of the next."""
        wish = query if cursor is None else {**query, "cursor": cursor}
        told = (yield from self.call(Send("GET", path, wish))).json()
        data, following = (told.get("data"), told.get("next_cursor")) if isinstance(told, dict) else (None, None)
        if not isinstance(data, list) or not isinstance(following, str | None):
            raise UnexpectedAnswer("the answer is no list as this service gives: is it an Unfog service?")
        if following is not None and following == cursor:
            raise UnexpectedAnswer("the list of the service goes in a circle: its next page is the same one")
        return [read(cls, item, f"/data/{k}") for k, item in enumerate(data)], following

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, key: str | None = None, **query: str
    ) -> Flow[Any]:
        """What a POST is answered with. An Idempotency-Key makes it safe to repeat."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        answer = yield from self.call(Send("POST", path, query, headers, body))
        return answer.json()

    def submit(self, fields: Fields, key: str | None) -> Flow[Job]:
        """The job that was accepted."""
        return read(Job, (yield from self.post("/v1/jobs", body_of(fields), key)))

    def dry_run(self, fields: Fields) -> Flow[Cost]:
        """What a job would cost."""
        return read(Cost, (yield from self.post("/v1/jobs", body_of(fields), dry_run="true")))

    def cancel(self, job: Job | str) -> Flow[Job]:
        """The job, after it was told to stop."""
        return read(Job, (yield from self.post(f"{job_path(job)}/cancel")))

    def delete(self, job: Job | str) -> Flow[Job | None]:
        """The job if it was only canceled, None if it is gone."""
        answer = yield from self.call(Send("DELETE", job_path(job)))
        return read(Job, answer.json()) if answer.body else None

    def jobs(self, status: str | None, page_size: int | None) -> Flow[None]:
        """Gives the caller's jobs, newest first; a page is asked for when the one before it has been taken."""
        query = {} if status is None else {"status": status}
        query |= {} if page_size is None else {"limit": str(page_size)}
        cursor: str | None = None
        while True:
            found, cursor = yield from self.page(Job, "/v1/jobs", query, cursor)
            for job in found:
                yield Give(job)
            if cursor is None:
                return

    def listed(self, cls: type[T], path: str) -> Flow[list[T]]:
        """A list that is short: its first page."""
        found, _ = yield from self.page(cls, path, {})
        return found


def id_of(job: Job | str) -> str:
    """The id of a job, or the id itself."""
    return job if isinstance(job, str) else job.id


def job_path(job: Job | str) -> str:
    """Where a job is. Raises `WrongArgument` for what can be no id."""
    return f"/v1/jobs/{segment(id_of(job))}"


def segment(text: str) -> str:
    """A text as one segment of a path. Raises `WrongArgument` for one that would be none."""
    if not text.strip("."):
        raise WrongArgument(f"{text!r} is no id")
    return quote(text, safe="")
