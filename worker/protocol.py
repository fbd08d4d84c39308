"""What the two processes of a worker say to each other: JSON headers and raw pixels, never a pickle."""

import json
import select
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from worker.meter import ModelMetrics
from worker.row import Preview, RowDone, RowFailed, RowRequest

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

    def writable(self) -> bool:
        """Whether the other end reads as fast as this one writes: a small message would not have to wait."""
        return bool(select.select([], [self._connection], [], 0)[1])

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


def add(rows: list[RowRequest]) -> Message:
    """To the engine: compute these rows. A picture that several of them start from goes along once."""
    pictures = list(dict.fromkeys(row.init_image for row in rows))
    number = {picture: n for n, picture in enumerate(pictures)}
    plain = [{**vars(row), "init_image": number[row.init_image]} for row in rows]
    return {"op": "add", "rows": plain, "pictures": pictures}


def rows_of(message: Message) -> list[RowRequest]:
    """The rows of an `add` message."""
    pictures = message["pictures"]
    return [RowRequest(**{**row, "init_image": pictures[row["init_image"]]}) for row in message["rows"]]


def remove(key: str) -> Message:
    """To the engine: forget the rows of this execution."""
    return {"op": "remove", "key": key}


def watch(keys: Iterable[str]) -> Message:
    """To the engine: from now on, send previews of the rows of these executions and of no others."""
    return {"op": "watch", "keys": sorted(keys)}


def stop() -> Message:
    """To the engine: end."""
    return {"op": "stop"}


def left(row: RowDone | RowFailed) -> tuple[Message, bytes]:
    """From the engine: a row has left, finished or failed."""
    if isinstance(row, RowDone):
        header = {"op": "done", "key": row.key, "index": row.index, "pixel_bytes": len(row.pixels)}
        return header, row.pixels + row.frames
    return {"op": "failed", **asdict(row)}, b""


def row_left(message: Message, payload: bytes) -> RowDone | RowFailed:
    """The row of a `done` or `failed` message."""
    if message["op"] == "done":
        size = message["pixel_bytes"]
        return RowDone(message["key"], message["index"], payload[:size], payload[size:])
    return RowFailed(message["key"], message["index"], message["code"], message["detail"])


def preview(shown: Preview) -> tuple[Message, bytes]:
    """From the engine: what a watched row looks like."""
    header = {"op": "preview", "key": shown.key, "index": shown.index, "completed": shown.completed}
    return header, shown.pixels


def preview_of(message: Message, payload: bytes) -> Preview:
    """The preview of a `preview` message."""
    return Preview(message["key"], message["index"], payload, message["completed"])


def progress(completed: Mapping[str, int], metrics: Mapping[str, ModelMetrics]) -> Message:
    """From the engine: evaluations done by the rows in the pool, by execution, and the metrics of each model."""
    by_model = {model: asdict(one) for model, one in metrics.items()}
    return {"op": "progress", "completed": completed, "metrics": by_model}


def metrics_of(message: Message) -> dict[str, ModelMetrics]:
    """The metrics in a message, by model; none if it holds none."""
    return {model: ModelMetrics.of(values) for model, values in message.get("metrics", {}).items()}
