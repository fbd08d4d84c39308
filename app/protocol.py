"""HTTP as uvicorn speaks it, with an end to the patience: heads must arrive in time, and answers must be read."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.problems import Problem

HEAD_S = 15.0
"""Seconds that the request line and the headers may take, from the connection or from the first byte."""
MAX_HEAD_BYTES = 65_536
UNREAD_S = 60.0
"""Seconds that a caller may leave an answer without taking a byte of it."""
UNSENT_BYTES = 131_072
"""What the kernel keeps of an answer that its caller does not take; by itself it would keep megabytes."""


class HeadTooLarge(Exception):
    """The request line and the headers are longer than the limit."""


class PatientHttp(HttpToolsProtocol):
    """uvicorn's protocol over httptools, which by itself waits for ever and keeps headers of any size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = self._unparsed_bytes = self._unread_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._under_way: RequestResponseCycle | None = None
        self._refusal = Problem(HTTPStatus.BAD_REQUEST, "http_error", "this is no HTTP request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has come."""
        super().connection_made(transport)
        with contextlib.suppress(OSError):  # a kernel that cannot has its own bound
            own = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone."""
        self._head_is_here()
        self.resume_writing()
        # uvicorn tells the request that came last, which may wait behind the one that is being answered.
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    # The head of a request

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_is_here()
        self._head_bytes = self._unparsed_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The whole head."""
        self._head_is_here()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes of the caller. Those of a header that never ends reach no other hook, so they count here."""
        super().data_received(data)
        if self._in_head and self._head_timer is None:
            self._await_head()  # most heads come in one piece and need no timer
        if self._head_timer is not None and not self.transport.is_closing():
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEAD_BYTES:
                self._note_large_head()
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request for us, as a problem, and close."""
        answer = self._refusal.response()
        lines = [f"HTTP/1.1 {answer.status_code} {self._refusal.status.phrase}\r\n".encode()]
        lines += [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", bytes(answer.body)]))
        self.transport.close()

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._note_large_head()
            raise HeadTooLarge  # uvicorn has it refused

    def _note_large_head(self) -> None:
        detail = f"the request line and the headers may have {MAX_HEAD_BYTES} bytes at most"
        self._refusal = Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_is_here(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # The answer to it

    def pause_writing(self) -> None:
        """The caller reads more slowly than we write."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The caller has read."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def _await_reader(self) -> None:
        self._unread_bytes = self._pending_bytes()
        self._unread_timer = self.loop.call_later(UNREAD_S, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self._pending_bytes() < self._unread_bytes:
            self._await_reader()
        else:
            self.transport.abort()

    def _pending_bytes(self) -> int:
        """What the caller has not taken, the kernel's buffer included: ours stands still while that empties."""
        pending = struct.pack("i", 0)
        with contextlib.suppress(OSError):
            pending = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, pending)
        return self.transport.get_write_buffer_size() + int(struct.unpack("i", pending)[0])
