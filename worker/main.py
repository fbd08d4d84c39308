"""One worker: an engine process and the process that keeps its books."""

import sys

import structlog

from jobs.connection import REDIS_DOWN, connect, require_no_eviction
from jobs.errors import StoreUnsuitable
from jobs.settings import SettingsError, load_settings
from worker.consumer.batch_worker import BatchWorker, unique_name
from worker.engine_client import EngineClient, EngineDied, EngineRefused
from worker.logs import configure_logging

log = structlog.get_logger()

EXIT_REFUSED = 2
"""The worker cannot start as it is set up; starting it again would not help."""
EXIT_ENGINE_DIED = 3


def main() -> int:
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
    engine = EngineClient()
    try:
        serving = engine.start(settings.engine_start_s)
        worker = BatchWorker(settings, redis, engine, serving, unique_name())
        log.info("worker ready", name=worker.name, models=[card.id for card in serving.cards])
        worker.work()
    except EngineRefused as error:
        log.error("cannot serve", reason=str(error))
        return EXIT_REFUSED
    except EngineDied as error:
        log.error("engine died", reason=str(error))
        return EXIT_ENGINE_DIED
    finally:
        engine.close()
    log.info("worker ended", name=worker.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
