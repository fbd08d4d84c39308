"""The process that computes: `python -m worker.engine_process FD`, started by `worker.engine_client`.

Reads requests from a pipe between two ticks, writes what has left. Does no network and no PNG work.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Set
from multiprocessing.connection import Connection

import structlog

from jobs.logs import configure_logging
from jobs.settings import SettingsError, load_settings
from models.errors import ModelError
from worker import protocol
from worker.build import Served, build
from worker.engine import Engine
from worker.meter import ModelMetrics
from worker.protocol import Channel

PROGRESS_EVERY_S = 0.2
PREVIEWS_EVERY_S = 0.2
IDLE_S = 1.0
"""An idle engine also speaks this often, so that silence always means that it hangs."""

log = structlog.get_logger()


def ready_message(served: Mapping[str, Served]) -> protocol.Message:
    """What the engine says once it can compute."""
    return {
        **protocol.progress({}, _metrics(served)),
        "op": "ready",
        "cards": [one.card.model_dump(mode="json") for one in served.values()],
        "engines": {model_id: one.fingerprint for model_id, one in served.items()},
    }


def run(channel: Channel, served: Mapping[str, Served]) -> None:
    """Compute until told to stop: models take turns tick by tick, requests come in between."""
    engines = {model_id: one.engine for model_id, one in served.items()}
    watched: frozenset[str] = frozenset()
    progress_at = previews_at = 0.0
    while True:
        idle = all(engine.idle for engine in engines.values())
        while channel.poll(IDLE_S if idle else 0.0):
            message, _ = channel.receive()
            if message["op"] == "stop":
                return
            if message["op"] == "watch":
                watched = frozenset(message["keys"])
            else:
                _apply(message, engines)
            idle = False
        for one in served.values():
            if not one.engine.idle:
                _tick(channel, one)
        now = time.monotonic()
        if watched and now - previews_at >= PREVIEWS_EVERY_S:
            previews_at = now
            _show(channel, engines.values(), watched)
        if now - progress_at >= PROGRESS_EVERY_S:
            progress_at = now
            done = {key: count for engine in engines.values() for key, count in engine.completed().items()}
            channel.send(protocol.progress(done, _metrics(served)))


def _apply(message: protocol.Message, engines: Mapping[str, Engine]) -> None:
    if message["op"] == "add":
        for row in protocol.rows_of(message):
            engines[row.model].add([row])
    else:
        assert message["op"] == "remove"
        for engine in engines.values():
            engine.remove(message["key"])


def _tick(channel: Channel, one: Served) -> None:
    started_at = time.perf_counter()
    report = one.engine.tick()
    if report.rows:
        one.meter.count(report.rows, report.places, time.perf_counter() - started_at)
    if log.is_enabled_for(logging.DEBUG):
        executions = {*one.engine.completed(), *(row.key for row in report.left)}
        log.debug("tick", model=one.card.id, places=report.places, executions=sorted(executions))
    for row in report.left:
        channel.send(*protocol.left(row))


def _show(channel: Channel, engines: Iterable[Engine], watched: Set[str]) -> None:
    """Send previews. They are for looking at: none is worth waiting for, and none may break a tick."""
    for engine in engines:
        try:
            previews = engine.previews(watched)
        except RuntimeError as error:
            log.warning("no previews", reason=str(error))
            continue
        for preview in previews:
            if not channel.writable():
                return
            channel.send(*protocol.preview(preview))


def _metrics(served: Mapping[str, Served]) -> dict[str, ModelMetrics]:
    return {model_id: one.meter.read() for model_id, one in served.items()}


def main() -> int:
    """Serve the pipe whose descriptor is the first argument, until it closes."""
    # A terminal's Ctrl-C goes to the whole group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(Connection(int(sys.argv[1])))
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
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
