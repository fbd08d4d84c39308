"""One worker: an engine process and the process that keeps its books."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from jobs.catalogue import report_refusal
from jobs.connection import REDIS_DOWN, connect, require_no_eviction
from jobs.errors import ResultsAway, StoreUnsuitable
from jobs.logs import configure_logging
from jobs.results.places import writer_of
from jobs.results.store import ResultWriter
from jobs.settings import Settings, SettingsError, load_settings
from worker.consumer.batch_worker import BatchWorker, unique_name
from worker.engine_client import EngineClient, EngineDied, EngineRefused
from worker.metrics import MetricsPortTaken, WorkerMetrics, serving

log = structlog.get_logger()

EXIT_REFUSED = 2
"""The worker cannot start as it is set up; starting it again would not help."""
EXIT_ENGINE_DIED = 3

ENGINE_TRIES = 10
ENGINE_LIVED_S = 60.0
"""An engine that lived so long was not stillborn: the count of deaths in a row begins anew."""
LONGEST_PAUSE_S = 5.0
REDIS_PAUSE_S = 1.0
COMPLAIN_EVERY = 30
"""Tries to reach Redis between two complaints that it does not answer."""


StartEngine = Callable[[], EngineClient]


def main(start_engine: StartEngine = EngineClient) -> int:
    """Run a worker until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    configure_logging(settings.log_level, settings.log_format)
    _leave_when_asked()
    metrics = WorkerMetrics()
    try:
        with serving(metrics, settings.worker_metrics_host, settings.worker_metrics_port):
            return work_through_deaths(settings, connect(settings), start_engine, metrics)
    except (StoreUnsuitable, MetricsPortTaken) as error:
        log.error("cannot work as it is set up", reason=str(error))
        return EXIT_REFUSED


def work_through_deaths(settings: Settings, redis: Redis, start_engine: StartEngine, metrics: WorkerMetrics) -> int:
    """Work, with a new engine whenever one dies; give up when they die again and again without having lived.

    Raises `StoreUnsuitable`.
    """
    deaths = 0
    while wait_for_redis(redis):
        started_at = time.monotonic()
        try:
            work(settings, redis, start_engine, metrics)
        except EngineRefused as error:
            log.error("cannot serve", reason=str(error))
            with contextlib.suppress(RedisError):
                report_refusal(redis, unique_name(), str(error))
            return EXIT_REFUSED
        except EngineDied as error:
            deaths = 1 if time.monotonic() - started_at > ENGINE_LIVED_S else deaths + 1
            log.error("the engine died", reason=str(error), in_a_row=deaths)
        except REDIS_DOWN as error:
            log.warning("redis does not answer; starting again", reason=str(error))
            continue
        else:
            return 0
        if deaths >= ENGINE_TRIES:
            log.error("giving up", engine_deaths_in_a_row=deaths)
            return EXIT_ENGINE_DIED
        time.sleep(min(LONGEST_PAUSE_S, 0.1 * 2 ** (deaths - 1)))
    return 0


def wait_for_redis(redis: Redis) -> bool:
    """Return once Redis answers and is fit for jobs; False when asked to stop before.

    Raises `StoreUnsuitable` when it answers and will not do, however long one waits.
    """
    tries = 0
    with _asked_to_stop() as stop:
        while not stop.is_set():
            try:
                policy = str(redis.info("memory")["maxmemory_policy"])
            except (AuthenticationError, ResponseError) as error:
                raise StoreUnsuitable(
                    f"Redis refuses this worker: {error}; look at the user and the password in UNFOG_REDIS_URL"
                ) from None
            except REDIS_DOWN as error:
                if tries % COMPLAIN_EVERY == 0:
                    log.warning(
                        "redis does not answer, waiting for it; is UNFOG_REDIS_URL right?", reason=str(error)
                    )
                tries += 1
                stop.wait(REDIS_PAUSE_S)
            else:
                require_no_eviction(policy)
                if tries:
                    log.info("redis answers", tries=tries)
                return not stop.is_set()
    log.info("asked to stop while redis was away")
    return False


def work(settings: Settings, redis: Redis, start_engine: StartEngine, metrics: WorkerMetrics) -> None:
    """Work with one engine until asked to stop. Raises `EngineRefused`, `EngineDied` and `StoreUnsuitable`."""
    writer = required_writer(settings, redis)
    engine = start_engine()
    try:
        serves = engine.start(settings.engine_start_s)
        metrics.engine_starts.inc()
        worker = BatchWorker(settings, redis, engine, serves, unique_name(), metrics, writer)
        log.info("worker ready", name=worker.name, models=[card.id for card in serves.cards])
        with metrics.engine.following(engine):
            worker.work()
        log.info("worker ended", name=worker.name)
    finally:
        engine.close()
        # The worker's handlers only take note, and there is nobody left who would look.
        _leave_when_asked()


def _leave_when_asked() -> None:
    """End at once at SIGTERM or SIGINT: nothing is held yet, or no longer.

    The system's own way would do too, but not for the first process of a container, which it spares.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def required_writer(settings: Settings, redis: Redis) -> ResultWriter:
    """The way to the store of the pictures. Raises `StoreUnsuitable` if it can never take any.

    One that does not answer may do so by the time there is a picture.
    """
    writer = writer_of(settings, redis)
    try:
        writer.require()
    except ResultsAway as error:
        log.warning("the store of the pictures does not answer yet", reason=str(error))
    return writer


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set for as long as the context is open."""
    stop = threading.Event()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in handlers:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
