"""Who follows a job over this process: open event streams, and callers whose submit waits for the end."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from app.metrics import Metrics
from app.problems import Problem

RETRY_AFTER_S = 10


class Listeners:
    """Counts them by job, and keeps the streams within `limit`."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit, self._open = limit, metrics.listeners
        self._streams = 0
        self._by_job: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """Event streams that are open now."""
        return self._streams

    def followers(self, job_id: str) -> int:
        """How many follow the job."""
        return self._by_job[job_id]

    @contextlib.contextmanager
    def stream(self, job_id: str) -> Iterator[None]:
        """A place for one event stream. Raises `Problem` 503 when there is none."""
        if self._streams >= self._limit:
            detail = f"{self._limit} event streams are open here and no more may be; ask for the job itself"
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_listeners", detail, headers=headers)
        self._streams += 1
        self._open.set(self._streams)
        try:
            with self.following(job_id):
                yield
        finally:
            self._streams -= 1
            self._open.set(self._streams)

    @contextlib.contextmanager
    def following(self, job_id: str) -> Iterator[None]:
        """One more who follows the job."""
        self._by_job[job_id] += 1
        try:
            yield
        finally:
            self._by_job[job_id] -= 1
            if not self._by_job[job_id]:
                del self._by_job[job_id]
