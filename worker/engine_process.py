"""The process that computes: `python -m worker.engine_process FD`, started by `worker.engine_client`.

Reads requests from a pipe between two ticks, writes what has left. Does no network and no PNG work.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import structlog

from jobs.settings import SettingsError, load_settings
from models.errors import ModelError
from worker import protocol
from worker.build import Served, build
from worker.engine import Engine
from worker.logs import configure_logging
from worker.protocol import Channel

PROGRESS_EVERY_S = 0.2
IDLE_S = 1.0
"""An idle engine also speaks this often, so that silence always means that it hangs."""

log = structlog.get_logger()


def ready_message(served: Mapping[str, Served]) -> protocol.Message:
    """What the engine says once it can compute."""
    return {
        "op": "ready",
        "cards": [one.card.model_dump(mode="json") for one in served.values()],
        "engines": {model_id: one.fingerprint for model_id, one in served.items()},
    }


def run(channel: Channel, served: Mapping[str, Served]) -> None:
    """Compute until told to stop: models take turns tick by tick, requests come in between."""
    engines = {model_id: one.engine for model_id, one in served.items()}
    progress_at = 0.0
    while True:
        idle = all(engine.idle for engine in engines.values())
        while channel.poll(IDLE_S if idle else 0.0):
            message, _ = channel.receive()
            if message["op"] == "stop":
                return
            _apply(message, engines)
            idle = False
        for engine in engines.values():
            if not engine.idle:
                for row in engine.tick().left:
                    channel.send(*protocol.left(row))
        now = time.monotonic()
        if now - progress_at >= PROGRESS_EVERY_S:
            progress_at = now
            done = {key: count for engine in engines.values() for key, count in engine.completed().items()}
            channel.send({"op": "progress", "completed": done})


def _apply(message: protocol.Message, engines: Mapping[str, Engine]) -> None:
    if message["op"] == "add":
        for row in protocol.rows_of(message):
            engines[row.model].add([row])
    else:
        assert message["op"] == "remove"
        for engine in engines.values():
            engine.remove(message["key"])


def main() -> int:
    """Serve the pipe whose descriptor is the first argument, until it closes."""
    # A terminal's Ctrl-C goes to the whole group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(Connection(int(sys.argv[1])))
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        served = build(settings)
    except (ModelError, SettingsError, ValueError) as error:
        channel.send({"op": "refused", "reason": str(error)})
        return 1
    channel.send(ready_message(served))
    try:
        run(channel, served)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        log.warning("the book-keeping process is gone", parent=os.getppid())
    return 0


if __name__ == "__main__":
    sys.exit(main())
