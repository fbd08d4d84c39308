"""The jobs that a worker holds, between their claim and their commit: all about them that needs no Redis."""

from collections.abc import Iterable, Sequence

import structlog

from jobs.record import Failure, Status
from jobs.settings import Settings
from worker.consumer.claim import Claimed
from worker.consumer.encoding import Encoder
from worker.consumer.execution import LiveJob
from worker.engine_client import EngineClient, Serving
from worker.metrics import WorkerMetrics
from worker.row import RowDone, RowFailed

log = structlog.get_logger()


class Batch:
    """Gives rows to the engine, takes them back, and has them made into files.

    Every method that speaks to the engine raises `EngineDied`.
    """

    def __init__(self, settings: Settings, engine: EngineClient, serving: Serving, metrics: WorkerMetrics) -> None:
        self._settings, self._engine, self._serving, self._metrics = settings, engine, serving, metrics
        self._cards = {card.id: card for card in serving.cards}
        self._live: dict[str, LiveJob] = {}
        self._encoder = Encoder()

    @property
    def live(self) -> list[LiveJob]:
        """All jobs that are held."""
        return list(self._live.values())

    @property
    def ended(self) -> list[LiveJob]:
        """Those that wait only for their commit."""
        return [one for one in self._live.values() if one.ended]

    @property
    def rows(self) -> int:
        """The rows of all jobs that are held."""
        return sum(one.spec.num_images for one in self._live.values())

    def __len__(self) -> int:
        return len(self._live)

    # In

    def begin(self, claimed: Sequence[Claimed]) -> list[LiveJob]:
        """Hold claimed jobs and give their rows to the engine."""
        begun = [self._admit(one) for one in claimed]
        self._metrics.jobs_held.set(len(self))
        for one in begun:
            if not one.ended:
                self._engine.add(one.rows())
                one.log.info("job started", rows=one.spec.num_images)
        return begun

    def _admit(self, claimed: Claimed) -> LiveJob:
        model, fingerprint = claimed.record.spec.model, claimed.record.spec.model_fingerprint
        card = self._cards.get(model, next(iter(self._cards.values())))
        meta = claimed.record.meta.model_copy(update={"engine": self._serving.engines[card.id]})
        one = LiveJob(claimed, card, meta)
        if (model, fingerprint) != (card.id, card.fingerprint):
            detail = f"the weights of {model} have changed since the job was accepted; submit it again"
            one.failure = Failure(code="model_changed", detail=detail)
        self._live[one.key] = one
        self._metrics.claimed(one.sampler, one.queued_s)
        one.log.info(
            "job claimed", execution=one.execution.id, attempt=meta.attempt, queued_s=round(one.queued_s, 3)
        )
        return one

    # On the way

    def collect(self) -> None:
        """Take in what the engine has finished, and what has become of it."""
        for row in self._engine.take_left():
            one = self._live.get(row.key)
            if one is not None and not one.ended:
                self._take_in(one, row)
        self._encoder.run(self._live.values())

    def _take_in(self, one: LiveJob, row: RowDone | RowFailed) -> None:
        if isinstance(row, RowFailed):
            self._fail(one, row.code, row.detail)
        else:
            one.done[row.index] = row

    def _fail(self, one: LiveJob, code: str, detail: str) -> None:
        one.failure = Failure(code=code, detail=detail)
        self._engine.remove(one.key)

    def stop(self, jobs: Iterable[LiveJob]) -> None:
        """Let jobs go no further: they were cancelled, or are no longer ours. One that has ended already has."""
        for one in jobs:
            if not one.ended or one.waits_for_store:
                one.stopped = True
                self._engine.remove(one.key)

    def fail_overdue(self) -> None:
        """End the jobs that have computed for longer than they may."""
        for one in self._live.values():
            if not one.ended and one.computing_s > self._deadline_s(one):
                detail = f"it computed for {one.computing_s:.0f} s, longer than UNFOG_DEADLINE_S allows"
                self._fail(one, "deadline", detail)

    def _deadline_s(self, one: LiveJob) -> float:
        return self._settings.deadline_s + one.meta.total * self._settings.deadline_per_evaluation_s

    # Out

    def finish_encoding(self, timeout_s: float) -> None:
        """Make files of all that is computed, as far as the time allows."""
        self._encoder.finish(self._live.values(), timeout_s)

    def report_ends(self, committed: Iterable[LiveJob]) -> None:
        """Count and log jobs whose end is committed."""
        for one in committed:
            status, age_s = one.outcome, one.age_s
            self._metrics.ended(status.value, one.sampler, one.spec.num_images, age_s)
            failed = status is Status.FAILED and one.failure
            why = one.failure.model_dump() if failed and one.failure else {}
            one.log.info("job ended", status=status.value, attempt=one.meta.attempt, age_s=round(age_s, 3), **why)

    def report_given_back(self, jobs: Sequence[LiveJob], *, crashed: bool) -> None:
        """Count and log jobs that were queued again."""
        self._metrics.given_back(len(jobs), crashed=crashed)
        for one in jobs:
            one.log.warning("job given back", crashed=crashed)

    def forget(self, gone: Iterable[LiveJob]) -> None:
        """Hold these jobs no longer."""
        for one in gone:
            del self._live[one.key]
        self._metrics.jobs_held.set(len(self))

    def close(self) -> None:
        """Encode no more."""
        self._encoder.close()
