"""The API as it is served, in a thread of the tests, and a listener to its events."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.__main__ import Server, server_of
from app.main import create_app
from jobs.settings import Settings

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Served:
    """A running API: where it is, and its insides."""

    url: str
    server: Server

    @property
    def services(self) -> Any:
        """What its routes have."""
        return self.server.config.app.state.services  # type: ignore[union-attr]


@contextlib.contextmanager
def serving(settings: Settings, port: int = 0) -> Iterator[Served]:
    """The API on a port, a free one if it is 0, for as long as the context is open."""
    settings = settings.model_copy(update={"port": port})
    server = server_of(create_app(settings), settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server does not stop"


def until(true: Any) -> None:
    """Return when it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


@dataclass
class Listener:
    """Reads server-sent events of one answer (WHATWG HTML, section 9.2.6)."""

    answer: httpx.Response

    def __post_init__(self) -> None:
        self._lines = self.answer.iter_lines()

    def next(self) -> tuple[str, Any] | None:
        """The next event, its name and its data; None at the end of the stream."""
        name, data = "message", ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data += line.removeprefix("data: ")
            elif not line and data:
                return name, json.loads(data)
        return None

    def comment(self) -> str:
        """The next comment; events are passed over."""
        return next(line for line in self._lines if line.startswith(":"))

    def until(self, wanted: str) -> Any:
        """The data of the next event of that name; others are passed over."""
        while (event := self.next()) is not None:
            if event[0] == wanted:
                return event[1]
        raise AssertionError(f"the stream ended without {wanted}")

    def rest(self) -> list[tuple[str, Any]]:
        """All events to the end of the stream."""
        found = []
        while (event := self.next()) is not None:
            found.append(event)
        return found


@contextlib.contextmanager
def listening(url: str, **headers: str) -> Iterator[Listener]:
    """A listener, who leaves with the context."""
    with httpx.Client(timeout=PATIENCE_S) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        yield Listener(answer)
