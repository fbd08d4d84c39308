"""An RQ worker that holds many executions at once and never forks.

Stock RQ runs one job at a time. This one keeps RQ's hashes, registries, executions and commands, so that
`rq info`, dashboards and stop commands stay true, and hands the rows of all its jobs to one batch engine.
Every override says why it is there.
"""

import os
import time
from collections import deque
from types import FrameType
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import ResponseError
from rq import SimpleWorker
from rq.command import parse_payload
from rq.job import Job
from rq.timeouts import TimerDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from jobs.catalogue import announce, withdraw
from jobs.connection import REDIS_DOWN, takes_no_writes
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import Failure
from jobs.recovery import alive_key, worker_name
from jobs.settings import Settings
from worker import png
from worker.consumer.claim import Claimed, claim
from worker.consumer.commit import commit, give_back, store_pictures
from worker.consumer.execution import LiveJob
from worker.consumer.heartbeat import breathe
from worker.consumer.intake import Intake, Popped
from worker.consumer.isolation import Isolation
from worker.consumer.upkeep import Upkeep
from worker.engine_client import EngineClient, EngineDied, Serving
from worker.row import RowDone, RowFailed

POLL_S = 0.02
SCAN_S = 0.05
"""How often a busy worker looks for more."""
IDLE_BLOCK_S = 1
MAINTENANCE_S = 3
log = structlog.get_logger()


class BatchWorker(SimpleWorker):
    """Takes jobs for an engine, many at a time, and commits what comes back.

    One thread, one loop; the engine is another process. `request_stop` may be called from a signal handler.
    """

    death_penalty_class = TimerDeathPenalty  # RQ's default needs SIGALRM in the main thread
    job_class = ServiceJob
    queue_class = ServiceQueue  # type: ignore[assignment]  # RQ declares it too narrowly

    def __init__(self, settings: Settings, redis: Redis, engine: EngineClient, serving: Serving, name: str) -> None:
        self._settings, self._engine, self._serving = settings, engine, serving
        self._cards = {card.id: card for card in serving.cards}
        self._intake = Intake(redis, list(self._cards), settings.max_batch_places)
        self._live: dict[str, LiveJob] = {}
        self._stops: deque[str] = deque()
        self._stop_signals = 0
        self._drain_until: float | None = None
        self._beat_at = self._scan_at = 0.0
        self._turned_at = time.time()
        self._suspended = False
        # After a start, or after Redis was away, others may only have been kept from breathing.
        self._no_taking_back_until = time.monotonic() + settings.heartbeat_ttl_s
        super().__init__(
            self._intake.queues,
            name=name,
            connection=redis,
            worker_ttl=settings.heartbeat_ttl_s,
            maintenance_interval=MAINTENANCE_S,
            serializer="rq.serializers.JSONSerializer",
        )
        self._upkeep = Upkeep(redis, self._intake.queues, name)
        self._isolation = Isolation(redis, self._intake, name, settings.heartbeat_ttl_s)

    # What RQ decides otherwise

    @property
    def connection_timeout(self) -> int:
        """Leave the client's own socket timeout; RQ would raise it to minutes."""
        return 1

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """One ttl for all; RQ adds a minute, in which nobody would take a dead worker's jobs."""
        return self._settings.heartbeat_ttl_s

    def request_stop(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Only take note: RQ talks to Redis inside the handler. A second call stops without draining."""
        self._stop_signals += 1

    def handle_payload(self, message: dict[str, Any]) -> None:
        """Hear a stop command for any of the jobs; RQ looks at one. Runs in RQ's pubsub thread."""
        payload = parse_payload(message)
        if payload.get("command") == "stop-job":
            self._stops.append(str(payload.get("job_id")))
        elif payload.get("command") == "shutdown":
            self.request_stop()

    def clean_registries(self) -> None:
        """Our own upkeep in place of RQ's, which asks each queue in turn and knows no suspects."""
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ declares it None
        self._upkeep.run(take_back=time.monotonic() > self._no_taking_back_until)

    # The loop

    def work(self, *args: object, **kwargs: object) -> bool:
        """Work until asked to stop. Raises `EngineDied` after the jobs of a dead engine are queued again."""
        self.bootstrap(logging_level="WARNING")
        self._install_signal_handlers()
        try:
            while not self._done():
                try:
                    self._turn()
                except REDIS_DOWN as error:
                    self._wait_for_redis(error)
                except ResponseError as error:
                    if not takes_no_writes(error):
                        raise
                    self._wait_for_redis(error)
        except EngineDied:
            self._hand_back(crashed=True)
            raise
        finally:
            self._say_goodbye()
        return True

    def _turn(self) -> None:
        self._notice_standstill()
        self._collect()
        self._commit()
        self._obey_stops()
        self._fail_overdue()
        if time.monotonic() - self._beat_at > self._settings.heartbeat_ttl_s / 4:
            self._beat()
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()
        if self._stop_signals or self._suspended or not self._claim():
            self._engine.wait(POLL_S)
        self._require_progress()

    def _notice_standstill(self) -> None:
        """After this process stood still, frozen or on a machine asleep, others may have too: let them breathe."""
        moment = time.time()
        if moment - self._turned_at > self._settings.heartbeat_ttl_s:
            self._beat_at = 0.0
            self._no_taking_back_until = time.monotonic() + self._settings.heartbeat_ttl_s
        self._turned_at = moment

    def _wait_for_redis(self, error: Exception) -> None:
        # The engine computes on meanwhile; what it finishes is bounded by the jobs that are held.
        log.warning("redis does not answer", error=str(error), jobs_held=len(self._live))
        self._engine.wait(0.5)
        self._collect()
        self._beat_at = 0.0
        self._no_taking_back_until = time.monotonic() + self._settings.heartbeat_ttl_s

    def _done(self) -> bool:
        if not self._stop_signals:
            return False
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._settings.drain_s
            log.info("draining", jobs=len(self._live), at_most_s=self._settings.drain_s)
        if self._live and self._stop_signals == 1 and time.monotonic() < self._drain_until:
            return False
        self._hand_back(crashed=False)
        return True

    # Claim

    def _claim(self) -> bool:
        """Take jobs if there is room; False when there was nothing to take."""
        idle = not self._live
        if not idle and time.monotonic() - self._scan_at < SCAN_S:
            return False
        self._scan_at = time.monotonic()
        if self._isolation.active:
            return idle and self._claim_suspects()
        popped = self._intake.take(sum(one.spec.num_images for one in self._live.values()))
        if popped:
            self._begin_all(popped)
        elif idle and not self._isolation.begin_if_needed():
            self._intake.wait_for_bell(IDLE_BLOCK_S)
        return bool(popped)

    def _begin_all(self, popped: Popped) -> list[Claimed]:
        if not popped:
            return []
        claimed = claim(self.connection, popped, self.name, self._settings.heartbeat_ttl_s)
        for one in claimed:
            self._begin(one)
        if claimed and self.get_state() != WorkerStatus.BUSY:
            self.set_state(WorkerStatus.BUSY)
        return claimed

    def _claim_suspects(self) -> bool:
        first = self._begin_all(self._intake.take_suspect())
        if not first:
            self._isolation.end()
            return False
        company = first[0].meta.group
        while company > 1 and (popped := self._intake.take_suspect()):
            self._begin_all(popped)
            company -= 1
        log.warning("running suspects", jobs=len(self._live))
        return True

    def _begin(self, claimed: Claimed) -> None:
        model = claimed.spec.model
        meta = claimed.meta.model_copy(update={"engine": self._serving.engines[model]})
        one = LiveJob(claimed.job, claimed.queue, claimed.execution, claimed.spec, self._cards[model], meta)
        self._live[one.key] = one
        self.executions[claimed.execution.id] = claimed.execution
        if claimed.spec.model_fingerprint != one.card.fingerprint:
            detail = f"the weights of {model} have changed since the job was accepted; submit it again"
            one.failure = Failure(code="model_changed", detail=detail)
        else:
            self._engine.add(one.rows())

    # Collect and commit

    def _collect(self) -> None:
        for row in self._engine.take_left():
            one = self._live.get(row.key)
            if one is not None and not one.ended:
                self._take_in(one, row)

    def _take_in(self, one: LiveJob, row: RowDone | RowFailed) -> None:
        if isinstance(row, RowFailed):
            one.failure = Failure(code=row.code, detail=row.detail)
            self._engine.remove(row.key)
            return
        engine = one.meta.engine
        assert engine is not None
        one.encoded[row.index] = png.encode(
            row.pixels, one.card.height, one.card.width, one.spec, row.index, engine
        )

    def _commit(self) -> None:
        ended = [one for one in self._live.values() if one.ended]
        if not ended:
            return
        store_pictures(self.connection, ended)
        self._forget(ended, not_ours=commit(self.connection, self, ended))

    def _forget(self, ended: list[LiveJob], not_ours: list[LiveJob]) -> None:
        for one in ended:
            del self._live[one.key]
            self.executions.pop(one.execution.id, None)
        for one in not_ours:
            log.info("execution dropped, the job was cancelled or taken over", job=one.job.id)
        if not self._live:
            self.set_state(WorkerStatus.IDLE)

    # Stops and heartbeats

    def _obey_stops(self) -> None:
        while self._stops:
            job_id = self._stops.popleft()
            for one in self._live.values():
                if one.job.id == job_id and not one.ended:
                    one.stopped = True
                    self._engine.remove(one.key)

    def _fail_overdue(self) -> None:
        for one in self._live.values():
            if not one.ended and one.computing_s > self._deadline_s(one):
                detail = f"it computed for {one.computing_s:.0f} s, longer than UNFOG_DEADLINE_S allows"
                one.failure = Failure(code="deadline", detail=detail)
                self._engine.remove(one.key)

    def _deadline_s(self, one: LiveJob) -> float:
        return self._settings.deadline_s + one.meta.total * self._settings.deadline_per_evaluation_s

    def _require_progress(self) -> None:
        """The watchdog: an engine that says nothing is killed, and `take_left` then tells that it died."""
        if self._engine.silent_s > self._settings.engine_hang_s:
            log.error("the engine hangs; killing it", silent_s=round(self._engine.silent_s))
            self._engine.kill()

    def _beat(self) -> None:
        """Heartbeats of the worker and all its executions, their progress, and who has lost us a job."""
        self._beat_at = time.monotonic()
        live = list(self._live.values())
        done, ttl_s = self._engine.completed(), self._settings.heartbeat_ttl_s
        breath = breathe(self, live, ttl_s)
        self._suspended = breath.suspended
        for one in breath.lost:
            one.stopped = True
            self._engine.remove(one.key)
        announce(self.connection, self.name, self._serving.cards, ttl_s)
        self._write_progress([one for one in live if not one.ended], done)
        self._isolation.keep()
        self._isolation.begin_if_needed()
        if self.pubsub_thread is None or not self.pubsub_thread.is_alive():
            self.subscribe()

    def _write_progress(self, live: list[LiveJob], done: Any) -> None:
        with self.connection.pipeline(transaction=False) as pipe:
            for one in live:
                one.write_progress(pipe, done.get(one.key, 0))
            pipe.execute()

    # The end

    def _hand_back(self, *, crashed: bool) -> None:
        """Commit what has ended and queue the rest again, once Redis answers; told to stop, wait for nothing."""
        while self._live:
            try:
                self._commit()
                live = list(self._live.values())
                if live:
                    log.warning("giving jobs back", jobs=len(live), crashed=crashed)
                    self._forget(live, not_ours=give_back(self.connection, self.name, live, crashed=crashed))
            except REDIS_DOWN as error:
                log.warning("redis does not answer", error=str(error), jobs_held=len(self._live))
                if self._stop_signals:
                    log.warning("leaving; other workers will take the jobs back", jobs=len(self._live))
                    return
                time.sleep(0.5)

    def _say_goodbye(self) -> None:
        try:
            withdraw(self.connection, self.name, self._cards)
            self.connection.delete(alive_key(self.name))
            self._isolation.end()
            self.teardown()
        except REDIS_DOWN:
            log.warning("redis does not answer; the worker's record will expire by itself")


def unique_name() -> str:
    """The name of a worker that starts now in this process."""
    return worker_name(os.uname().nodename, os.getpid(), time.time_ns())
