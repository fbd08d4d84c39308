"""The book-keeping side's hold on the engine process: start it, feed it, hear what has left."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass

from jobs.catalogue import ModelCard
from worker import protocol
from worker.meter import EngineMetrics
from worker.protocol import Channel
from worker.row import Preview, RowDone, RowFailed, RowRequest


class EngineRefused(Exception):
    """The engine could not be built; the message says why and what to do."""


class EngineDied(Exception):
    """The engine process has ended without being told to."""


@dataclass(frozen=True)
class Serving:
    """What a started engine serves: the cards of its models and, by model, the engine's fingerprint."""

    cards: tuple[ModelCard, ...]
    engines: Mapping[str, str]


class PreviewShelf:
    """The newest preview of each watched row, filled by one thread and emptied by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._newest: dict[tuple[str, int], Preview] = {}

    def want(self, keys: Set[str]) -> bool:
        """Keep previews of these executions only; whether that is a change."""
        with self._lock:
            changed = keys != self._wanted
            self._wanted = frozenset(keys)
            self._newest = {name: shown for name, shown in self._newest.items() if name[0] in keys}
        return changed

    def put(self, shown: Preview) -> None:
        """Put a preview in the place of the one before."""
        with self._lock:
            if shown.key in self._wanted:
                self._newest[shown.key, shown.index] = shown

    def drop(self, key: str, index: int) -> None:
        """Forget the preview of a row that has left."""
        with self._lock:
            self._newest.pop((key, index), None)

    def take(self) -> list[Preview]:
        """All of them, once."""
        with self._lock:
            taken, self._newest = list(self._newest.values()), {}
        return taken


class EngineClient:
    """An engine process and the thread that reads from it, so that the engine never waits for Redis."""

    def __init__(self, module: str = "worker.engine_process") -> None:
        """`module` is run with Python; its argument is the descriptor of its end of the pipe."""
        ours, theirs = multiprocessing.Pipe()
        self._listen_on(Channel(ours))
        # Threads that spin while they wait starve each other as soon as anything else wants the cores.
        # Bars that draw themselves do not belong in a log.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **os.environ}
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])  # noqa: S603  # a module of ours
        theirs.close()

    def _listen_on(self, channel: Channel) -> None:
        self._channel = channel
        self._left: deque[RowDone | RowFailed] = deque()
        self._completed: dict[str, int] = {}
        self._metrics = EngineMetrics({})
        self._previews = PreviewShelf()
        self._news = threading.Event()
        self._dead = False
        self._heard_at = time.monotonic()

    def start(self, timeout_s: float) -> Serving:
        """Wait until the engine is ready. Raises `EngineRefused`, or `EngineDied`."""
        try:
            if not self._channel.poll(timeout_s):
                raise EngineRefused(f"the engine did not start within {timeout_s:g} s (UNFOG_ENGINE_START_S)")
            message, _ = self._channel.receive()
        except (EOFError, OSError):
            raise EngineDied(f"the engine ended while it started, exit code {self._process.wait()}") from None
        if message["op"] == "refused":
            raise EngineRefused(message["reason"])
        self._heard_at = time.monotonic()
        self._metrics = EngineMetrics(protocol.metrics_of(message))
        threading.Thread(target=self._read, name="engine-reader", daemon=True).start()
        cards = tuple(ModelCard.model_validate(card) for card in message["cards"])
        return Serving(cards, message["engines"])

    def add(self, rows: list[RowRequest]) -> None:
        """Let rows join the batch. Raises `EngineDied`."""
        self._send(protocol.add(rows))

    def remove(self, key: str) -> None:
        """Drop the rows of one execution. Raises `EngineDied`."""
        self._send(protocol.remove(key))

    def watch(self, keys: Set[str]) -> None:
        """From now on want previews of these executions and of no others. Raises `EngineDied`."""
        if self._previews.want(keys):
            self._send(protocol.watch(keys))

    def take_previews(self) -> list[Preview]:
        """The newest preview of each watched row, if there is one that was not taken before."""
        return self._previews.take()

    def wait(self, timeout_s: float) -> None:
        """Sleep until something has left, or for `timeout_s`."""
        self._news.wait(timeout_s)
        self._news.clear()

    def take_left(self) -> list[RowDone | RowFailed]:
        """The rows that have left since the last call. Raises `EngineDied` once all of them are taken."""
        rows = [self._left.popleft() for _ in range(len(self._left))]
        if self._dead and not rows:
            raise EngineDied(f"the engine process ended, exit code {self._process.wait()}")
        return rows

    def completed(self) -> Mapping[str, int]:
        """Evaluations done by the rows that are in the pool, by execution, a moment ago."""
        return self._completed

    def metrics(self) -> EngineMetrics:
        """What the engine has done since it started, and how fast it is, a moment ago."""
        return self._metrics

    def close(self) -> None:
        """Tell the engine to end; kill it if it does not."""
        try:
            self._channel.send(protocol.stop())
            self._process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """Kill the engine; `take_left` will raise `EngineDied`."""
        self._process.kill()

    @property
    def silent_s(self) -> float:
        """Seconds since the engine was heard; an idle one speaks too."""
        return time.monotonic() - self._heard_at

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def _send(self, message: protocol.Message) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise EngineDied("the engine process ended") from None

    def _read(self) -> None:
        while True:
            try:
                message, payload = self._channel.receive()
            except (EOFError, OSError):
                self._dead = True
                self._news.set()
                return
            self._heard_at = time.monotonic()
            if message["op"] == "progress":
                self._completed = message["completed"]
                self._metrics = EngineMetrics(protocol.metrics_of(message))
            elif message["op"] == "preview":
                self._previews.put(protocol.preview_of(message, payload))
            else:
                row = protocol.row_left(message, payload)
                self._previews.drop(row.key, row.index)
                self._left.append(row)
                self._news.set()
