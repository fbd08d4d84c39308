"""The book-keeping side's hold on the engine process: start it, feed it, hear what has left."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.catalogue import ModelCard
from worker import protocol
from worker.protocol import Channel
from worker.row import RowDone, RowFailed, RowRequest


class EngineRefused(Exception):
    """The engine could not be built; the message says why and what to do."""


class EngineDied(Exception):
    """The engine process has ended without being told to."""


@dataclass(frozen=True)
class Serving:
    """What a started engine serves: the cards of its models and, by model, the engine's fingerprint."""

    cards: tuple[ModelCard, ...]
    engines: Mapping[str, str]


class EngineClient:
    """An engine process and the thread that reads from it, so that the engine never waits for Redis."""

    def __init__(self, module: str = "worker.engine_process") -> None:
        """`module` is run with Python; its argument is the descriptor of its end of the pipe."""
        ours, theirs = multiprocessing.Pipe()
        self._channel = Channel(ours)
        # Threads that spin while they wait starve each other as soon as anything else wants the cores.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])  # noqa: S603  # a module of ours
        theirs.close()
        self._left: deque[RowDone | RowFailed] = deque()
        self._completed: dict[str, int] = {}
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
        threading.Thread(target=self._read, name="engine-reader", daemon=True).start()
        cards = tuple(ModelCard.model_validate(card) for card in message["cards"])
        return Serving(cards, message["engines"])

    def add(self, rows: list[RowRequest]) -> None:
        """Let rows join the batch. Raises `EngineDied`."""
        self._send(protocol.add(rows))

    def remove(self, key: str) -> None:
        """Drop the rows of one execution. Raises `EngineDied`."""
        self._send(protocol.remove(key))

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
            else:
                self._left.append(protocol.row_left(message, payload))
                self._news.set()
