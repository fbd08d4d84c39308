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
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.command import parse_payload
from rq.job import Job
from rq.timeouts import TimerDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from jobs.catalogue import announce, withdraw
from jobs.connection import comes_back
from jobs.queue import ServiceJob, ServiceQueue
from jobs.recovery import alive_key, worker_name
from jobs.results.in_redis import RedisWriter
from jobs.results.store import ResultWriter
from jobs.settings import Settings
from worker.consumer.batch import Batch
from worker.consumer.claim import Claimed, Popped, claim
from worker.consumer.commit import commit, give_back
from worker.consumer.execution import LiveJob
from worker.consumer.heartbeat import breathe
from worker.consumer.intake import Intake
from worker.consumer.isolation import Isolation
from worker.consumer.storing import Storing
from worker.consumer.upkeep import Upkeep
from worker.consumer.watching import Watching
from worker.engine_client import EngineClient, EngineDied, Serving
from worker.metrics import WorkerMetrics

POLL_S = 0.02
SCAN_S = 0.05
"""How often a worker whose batch has not changed, and which found nothing, looks for more."""
IDLE_BLOCK_S = 1
MAINTENANCE_S = 3
COMPLAIN_EVERY_S = 10
log = structlog.get_logger()


class BatchWorker(SimpleWorker):
    """Takes jobs for an engine, many at a time, and commits what comes back.

    One thread, one loop; the engine is another process. `request_stop` may be called from a signal handler.
    """

    death_penalty_class = TimerDeathPenalty  # RQ's default needs SIGALRM in the main thread
    job_class = ServiceJob
    queue_class = ServiceQueue  # type: ignore[assignment]  # RQ declares it too narrowly

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        engine: EngineClient,
        serving: Serving,
        name: str,
        metrics: WorkerMetrics,
        writer: ResultWriter | None = None,
    ) -> None:
        self._settings, self._engine, self._serving = settings, engine, serving
        self._batch = Batch(settings, engine, serving, metrics)
        self._models = [card.id for card in serving.cards]
        self._intake = Intake(redis, self._models, settings.max_batch_places)
        self._stops: deque[str] = deque()
        self._stop_signals = 0
        self._drain_until: float | None = None
        self._beat_at = self._scan_at = 0.0
        self._complained_at = float("-inf")
        self._more = True
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
        self._watching = Watching(redis, engine)
        self._storing = Storing(writer or RedisWriter(redis))

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
                except RedisError as error:
                    if not comes_back(error):
                        raise
                    self._wait_for_redis(error)
        except EngineDied:
            self._hand_back(crashed=True)
            raise
        finally:
            self._batch.close()
            self._storing.close()
            self._say_goodbye()
        return True

    def _turn(self) -> None:
        self._notice_standstill()
        self._batch.collect()
        self._commit()
        self._obey_stops()
        self._batch.fail_overdue()
        self._watching.look(self._batch.live, self._engine.completed())
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
        # The engine computes on meanwhile. What it finishes is limited: nothing is claimed before all that has
        # ended is committed, a job has at most 16 rows, and what is encoded stops at some bytes.
        self._complain(error)
        self._engine.wait(0.5)
        self._batch.collect()
        self._beat_at = 0.0
        self._no_taking_back_until = time.monotonic() + self._settings.heartbeat_ttl_s

    def _complain(self, error: Exception) -> None:
        """Say that Redis is away, now and then."""
        if time.monotonic() - self._complained_at > COMPLAIN_EVERY_S:
            self._complained_at = time.monotonic()
            log.warning("waiting for redis", error=str(error), jobs_held=len(self._batch))

    def _done(self) -> bool:
        if not self._stop_signals:
            return False
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._settings.drain_s
            log.info("draining", jobs=len(self._batch), at_most_s=self._settings.drain_s)
        if self._batch and self._stop_signals == 1 and time.monotonic() < self._drain_until:
            return False
        self._hand_back(crashed=False)
        return True

    # Claim

    def _claim(self) -> bool:
        """Take jobs if there is room; False when there was nothing to take."""
        idle = not self._batch
        if not idle and not self._more and time.monotonic() - self._scan_at < SCAN_S:
            return False
        self._scan_at = time.monotonic()
        if self._isolation.active:
            return idle and self._claim_suspects()
        popped = self._intake.take(self._batch.rows)
        self._more = bool(popped)
        if popped:
            self._begin_all(popped)
        elif idle and not self._isolation.begin_if_needed():
            self._intake.wait_for_bell(IDLE_BLOCK_S)
        return bool(popped)

    def _begin_all(self, popped: list[Popped]) -> list[Claimed]:
        if not popped:
            return []
        claimed = claim(self.connection, popped, self.name, self._settings.heartbeat_ttl_s)
        self._intake.rest({queue.name for queue, _ in popped} - {one.queue.name for one in claimed})
        if claimed:
            self.executions.update({one.execution.id: one.execution for one in claimed})
            self._intake.learn([one.record.spec.num_images for one in claimed])
            self._watching.begin(self._batch.begin(claimed))
            if self.get_state() != WorkerStatus.BUSY:
                self.set_state(WorkerStatus.BUSY)
        return claimed

    def _claim_suspects(self) -> bool:
        first = self._begin_all(self._intake.take_suspect())
        if not first:
            self._isolation.end()
            return False
        company = first[0].record.meta.group
        while company > 1 and (popped := self._intake.take_suspect()):
            self._begin_all(popped)
            company -= 1
        log.warning("running suspects", jobs=len(self._batch))
        return True

    # Commit

    def _commit(self) -> None:
        ended = self._storing.stored(self._batch.ended)
        if ended:
            not_ours = commit(self.connection, self.name, ended)
            self._batch.report_ends(one for one in ended if one not in not_ours)
            self._forget(ended, not_ours)

    def _forget(self, gone: list[LiveJob], not_ours: list[LiveJob]) -> None:
        self._batch.forget(gone)
        self._more = True
        for one in gone:
            self.executions.pop(one.execution.id, None)
        for one in not_ours:
            one.log.info("execution dropped, the job was cancelled or taken over")
        if not self._batch:
            self.set_state(WorkerStatus.IDLE)

    # Stops and heartbeats

    def _obey_stops(self) -> None:
        while self._stops:
            job_id = self._stops.popleft()
            self._batch.stop(one for one in self._batch.live if one.id == job_id)

    def _require_progress(self) -> None:
        """The watchdog: an engine that says nothing is killed, and `take_left` then tells that it died."""
        if self._engine.silent_s > self._settings.engine_hang_s:
            log.error("the engine hangs; killing it", silent_s=round(self._engine.silent_s))
            self._engine.kill()

    def _beat(self) -> None:
        """Heartbeats of the worker and all its executions, their progress, and who has lost us a job."""
        self._beat_at = time.monotonic()
        live = self._batch.live
        done, ttl_s = self._engine.completed(), self._settings.heartbeat_ttl_s
        breath = breathe(self, live, ttl_s)
        self._suspended = breath.suspended
        self._batch.stop((*breath.lost, *breath.canceled))
        speed = self._engine.metrics()
        announce(self.connection, self.name, self._serving.cards, ttl_s, speed.rates, speed.tick_s)
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
        self._batch.finish_encoding(self._settings.heartbeat_ttl_s / 2)
        while self._batch:
            try:
                self._storing.finish(self._batch.ended, self._settings.heartbeat_ttl_s / 4)
                self._commit()
                self._give_back([one for one in self._batch.live if not one.ended], crashed=crashed)
                self._give_back(self._batch.live, crashed=False)  # they are done, and only the store is away
            except RedisError as error:
                if not comes_back(error):
                    raise
                self._complain(error)
                if self._stop_signals:
                    log.warning("leaving; other workers will take the jobs back", jobs=len(self._batch))
                    return
                time.sleep(0.5)

    def _give_back(self, live: list[LiveJob], *, crashed: bool) -> None:
        if live:
            not_ours = give_back(self.connection, self.name, live, crashed=crashed)
            self._batch.report_given_back([one for one in live if one not in not_ours], crashed=crashed)
            self._forget(live, not_ours)

    def _say_goodbye(self) -> None:
        try:
            withdraw(self.connection, self.name, self._models)
            self.connection.delete(alive_key(self.name))
            self._isolation.end()
            self.teardown()
        except RedisError as error:
            if not comes_back(error):
                raise
            log.warning("redis does not answer; the worker's record will expire by itself", error=str(error))


def unique_name() -> str:
    """The name of a worker that starts now in this process."""
    return worker_name(os.uname().nodename, os.getpid(), time.time_ns())
