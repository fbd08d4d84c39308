"""Server-sent events: bytes in, messages out, as WHATWG's HTML standard reads a stream (section 9.2.6).

The last event id and the reconnection time are left out: this service has no use for them.
"""

import codecs
import re
from dataclasses import dataclass

from unfog.errors import UnexpectedAnswer

MAX_MESSAGE = 32 * 2**20
"""Characters. A job's snapshot holds the picture that it started from, at most 7 million of them."""

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Message:
    """One event of a stream."""

    event: str
    data: str


class SseParser:
    """Takes a stream in pieces of any size, cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._after_cr = False
        self._line: list[str] = []
        self._event = ""
        self._data: list[str] = []
        self._length = 0

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that this piece completes. Raises `UnexpectedAnswer` for one that is far too long."""
        text = self._decoder.decode(piece)
        if not text:
            return []
        if self._after_cr:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = text.endswith("\r")
        *ends, rest = _LINE_END.split(text)
        messages = []
        for end in ends:
            line, self._line = "".join([*self._line, end]), []
            self._length += len(end)
            if message := self._take(line):
                messages.append(message)
        self._line.append(rest)
        self._length += len(rest)
        if self._length > MAX_MESSAGE:
            raise UnexpectedAnswer(f"the stream of events has one of more than {MAX_MESSAGE} characters")
        return messages

    def _take(self, line: str) -> Message | None:
        """Take a whole line; an empty one ends the message."""
        if not line:
            message = Message(self._event or "message", "\n".join(self._data)) if self._data else None
            self._event, self._data, self._length = "", [], 0
            return message
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        return None
