"""Writing the files of finished jobs, before the commit that names them."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog

from jobs.errors import ResultsAway
from jobs.record import Failure
from jobs.results.store import MARGIN_S, ResultFile, ResultWriter
from worker.consumer.execution import LiveJob

THREADS = 8
PAUSE_S = 1.0
"""Between two tries while the store is away."""
COMPLAIN_EVERY_S = 10

log = structlog.get_logger()


@dataclass(frozen=True)
class _Writing:
    """The files of one job on their way, and when that began."""

    future: Future[list[str | None]]
    files: list[ResultFile]
    began: float


class Storing:
    """Has the files of jobs written: into Redis in one round trip, elsewhere on threads, so that heartbeats go on.

    While a store is away all is kept and tried again; how much that is, the encoder limits in bytes.
    """

    def __init__(self, writer: ResultWriter) -> None:
        self._writer = writer
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="storing")
        self._running: dict[str, _Writing] = {}
        self._stored_at: dict[str, float] = {}
        self._again_at = self._complained_at = float("-inf")

    def stored(self, ended: Sequence[LiveJob]) -> list[LiveJob]:
        """Those of the jobs that can be committed now: their files lie there, or they have none.

        A job whose file is refused for ever has failed. Raises what Redis raises, if that is the store.
        """
        if self._writer.at_once:
            self._write_here(ended)
            return list(ended)
        self._take_in({one.key: one for one in ended})
        moment = time.monotonic()
        for one in ended:
            if moment - self._stored_at.get(one.key, moment) > MARGIN_S / 2:
                one.stored.clear()  # its commit is late, and files must outlive the job that names them
            if one.waits_for_store and one.key not in self._running and moment >= self._again_at:
                files = _files([one])
                self._running[one.key] = _Writing(self._pool.submit(self._writer.put, files), files, moment)
        return [one for one in ended if not one.waits_for_store]

    def finish(self, ended: Sequence[LiveJob], timeout_s: float) -> None:
        """Store what can be stored in that time."""
        if self._writer.at_once:
            return
        until = time.monotonic() + timeout_s
        while len(self.stored(ended)) < len(ended) and (left_s := until - time.monotonic()) > 0:
            running = [writing.future for writing in self._running.values()]
            if running:
                wait(running, left_s, FIRST_COMPLETED)
            else:
                time.sleep(min(left_s, PAUSE_S / 10))

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write_here(self, ended: Sequence[LiveJob]) -> None:
        jobs = [one for one in ended if one.waits_for_store or one.stored]
        files = _files(jobs)
        if files:
            refusals = self._writer.put(files)
            for one in jobs:
                self._settle(one, files, refusals)

    def _take_in(self, jobs: dict[str, LiveJob]) -> None:
        self._stored_at = {key: moment for key, moment in self._stored_at.items() if key in jobs}
        for key in [key for key, writing in self._running.items() if writing.future.done()]:
            writing = self._running.pop(key)
            try:
                refusals = writing.future.result()
            except ResultsAway as error:
                self._wait_for_store(error, len(jobs))
                continue
            if key in jobs:
                self._stored_at[key] = writing.began
                self._settle(jobs[key], writing.files, refusals)

    def _settle(self, one: LiveJob, files: Sequence[ResultFile], refusals: Sequence[str | None]) -> None:
        own = [(file, refusal) for file, refusal in zip(files, refusals, strict=True) if file.job_id == one.id]
        refused = next((refusal for _, refusal in own if refusal is not None), None)
        if refused is None:
            one.stored = {file.part: self._writer.reference(file) for file, _ in own}
        else:
            one.failure = Failure(code="not_stored", detail=f"the store did not take the pictures: {refused}")

    def _wait_for_store(self, error: ResultsAway, jobs: int) -> None:
        self._again_at = time.monotonic() + PAUSE_S
        if time.monotonic() - self._complained_at > COMPLAIN_EVERY_S:
            self._complained_at = time.monotonic()
            log.warning("waiting for the store of the pictures", error=str(error), jobs_held=jobs)


def _files(jobs: Sequence[LiveJob]) -> list[ResultFile]:
    now = time.time()
    return [file for one in jobs for file in one.files(now + one.spec.ttl_s + MARGIN_S)]
