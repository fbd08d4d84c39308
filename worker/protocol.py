"""What the two processes of a worker say to each other: JSON headers and raw pixels, never a pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from worker.row import RowDone, RowFailed, RowRequest

Message = dict[str, Any]


class Channel:
    """One end of the pipe between the book-keeping process and the engine process.

    Raises `EOFError` or `OSError` when the other end is gone.
    """

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def send(self, message: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send one message, with bytes that JSON would only blow up."""
        self._connection.send_bytes(json.dumps({**message, "payload": bool(payload)}).encode())
        if payload:
            self._connection.send_bytes(payload)

    def receive(self) -> tuple[Message, bytes]:
        """The next message; waits for it."""
        message: Message = json.loads(self._connection.recv_bytes())
        return message, self._connection.recv_bytes() if message.pop("payload") else b""

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Whether a message is there, after at most `timeout_s`."""
        return self._connection.poll(timeout_s)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


def add(rows: list[RowRequest]) -> Message:
    """To the engine: compute these rows."""
    return {"op": "add", "rows": [asdict(row) for row in rows]}


def remove(key: str) -> Message:
    """To the engine: forget the rows of this execution."""
    return {"op": "remove", "key": key}


def stop() -> Message:
    """To the engine: end."""
    return {"op": "stop"}


def rows_of(message: Message) -> list[RowRequest]:
    """The rows of an `add` message."""
    return [RowRequest(**row) for row in message["rows"]]


def left(row: RowDone | RowFailed) -> tuple[Message, bytes]:
    """From the engine: a row has left, finished or failed."""
    if isinstance(row, RowDone):
        return {"op": "done", "key": row.key, "index": row.index}, row.pixels
    return {"op": "failed", **asdict(row)}, b""


def row_left(message: Message, payload: bytes) -> RowDone | RowFailed:
    """The row of a `done` or `failed` message."""
    if message["op"] == "done":
        return RowDone(message["key"], message["index"], payload)
    return RowFailed(message["key"], message["index"], message["code"], message["detail"])
