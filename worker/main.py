"""One worker: an engine process and the process that keeps its books."""

import signal
import sys
import time
from collections.abc import Callable

import structlog
from redis import Redis

from jobs.catalogue import report_refusal
from jobs.connection import REDIS_DOWN, connect, require_no_eviction
from jobs.errors import StoreUnsuitable
from jobs.settings import Settings, SettingsError, load_settings
from worker.consumer.batch_worker import BatchWorker, unique_name
from worker.engine_client import EngineClient, EngineDied, EngineRefused
from worker.logs import configure_logging

log = structlog.get_logger()

EXIT_REFUSED = 2
"""The worker cannot start as it is set up; starting it again would not help."""
EXIT_ENGINE_DIED = 3

ENGINE_TRIES = 10
ENGINE_LIVED_S = 60.0
"""An engine that lived so long was not stillborn: the count of deaths in a row begins anew."""
LONGEST_PAUSE_S = 5.0
REDIS_PAUSE_S = 1.0


StartEngine = Callable[[], EngineClient]


def main(start_engine: StartEngine = EngineClient) -> int:
    """Run a worker until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    configure_logging(settings.log_level)
    redis = connect(settings)
    try:
        require_no_eviction(str(redis.info("memory")["maxmemory_policy"]))
    except REDIS_DOWN as error:
        log.error("redis does not answer; is UNFOG_REDIS_URL right?", reason=str(error))
        return EXIT_REFUSED
    except StoreUnsuitable as error:
        log.error("cannot use this redis", reason=str(error))
        return EXIT_REFUSED
    return work_through_deaths(settings, redis, start_engine)


def work_through_deaths(settings: Settings, redis: Redis, start_engine: StartEngine) -> int:
    """Work, with a new engine whenever one dies; give up when they die again and again without having lived."""
    deaths = 0
    while True:
        started_at = time.monotonic()
        try:
            work(settings, redis, start_engine)
        except EngineRefused as error:
            log.error("cannot serve", reason=str(error))
            report_refusal(redis, unique_name(), str(error))
            return EXIT_REFUSED
        except EngineDied as error:
            deaths = 1 if time.monotonic() - started_at > ENGINE_LIVED_S else deaths + 1
            log.error("the engine died", reason=str(error), in_a_row=deaths)
        except REDIS_DOWN as error:
            log.warning("redis does not answer; starting again", reason=str(error))
            time.sleep(REDIS_PAUSE_S)
            continue
        else:
            return 0
        if deaths >= ENGINE_TRIES:
            log.error("giving up", engine_deaths_in_a_row=deaths)
            return EXIT_ENGINE_DIED
        time.sleep(min(LONGEST_PAUSE_S, 0.1 * 2 ** (deaths - 1)))


def work(settings: Settings, redis: Redis, start_engine: StartEngine) -> None:
    """Work with one engine until asked to stop. Raises `EngineRefused` and `EngineDied`."""
    engine = start_engine()
    try:
        serving = engine.start(settings.engine_start_s)
        worker = BatchWorker(settings, redis, engine, serving, unique_name())
        log.info("worker ready", name=worker.name, models=[card.id for card in serving.cards])
        worker.work()
        log.info("worker ended", name=worker.name)
    finally:
        engine.close()
        # The worker's handlers only take note, and there is nobody left who would look.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
