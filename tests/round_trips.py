"""Counting how often a process asks Redis and waits: a pipeline is one trip, however many commands it holds."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

BACKGROUND = ("XREAD", "SUBSCRIBE", "UNSUBSCRIBE", "PING", "AUTH", "HELLO", "CLIENT", "SELECT")
"""What connections begin with, and what readers in the background wait for."""

_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")


class Trips(list[str]):
    """The trips so far, each by the names of its commands."""

    def note(self, sent: Any) -> None:
        """One was made."""
        data = sent if isinstance(sent, bytes) else b"".join(sent)
        commands = [name.decode().upper() for name in _COMMAND.findall(data)]
        if commands and commands[0] not in BACKGROUND:
            self.append(" ".join(commands))


@contextlib.contextmanager
def counting() -> Iterator[Trips]:
    """The trips of this process, over synchronous and asynchronous clients."""
    trips = Trips()
    send, send_async = AbstractConnection.send_packed_command, AsyncConnection.send_packed_command

    def sending(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        trips.note(command)
        return send(self, command, *args, **kwargs)

    async def sending_async(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        trips.note(command)
        return await send_async(self, command, *args, **kwargs)

    with (
        patch.object(AbstractConnection, "send_packed_command", sending),
        patch.object(AsyncConnection, "send_packed_command", sending_async),
    ):
        yield trips
