"""A receiver of webhooks: a real HTTP server in a thread, which notes what it gets and answers as it is told."""

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook as Verifier


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The body, once the signature has been checked as any receiver would; raises if it is wrong."""
        return Verifier(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers `status`, or what `answer` says to the n-th request (from 1) of an id."""

    port: int = 0
    status: int = 204
    answer: Callable[[Got, int], int] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reply: bytes = b""
    hang: threading.Event | None = None
    """While it is there and not set, no request is answered."""
    got: list[Got] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names that TLS clients asked for."""
    answered: int = 0
    """Answers that were sent to their end."""

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def times(self) -> Counter[str]:
        """How often each webhook came."""
        return Counter(got.id for got in list(self.got))


@contextlib.contextmanager
def receiving(
    receiver: Receiver, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """The receiver, listening."""
    lock = threading.Lock()
    times: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) < int(self.headers["Content-Length"]):
                return  # its sender was killed
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            with lock:
                receiver.got.append(got)
                times[got.id] += 1
                time_ = times[got.id]
            if receiver.hang is not None:
                receiver.hang.wait(30)
            status = receiver.answer(got, time_) if receiver.answer else receiver.status
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(receiver.reply)))
                self.end_headers()
                self.wfile.write(receiver.reply)
                receiver.answered += 1

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients hang up on purpose here

        def finish_request(self, request: Any, client_address: Any) -> None:
            if tls is not None:
                request = tls.wrap_socket(request, server_side=True)
            try:
                super().finish_request(request, client_address)
            finally:
                if tls is not None:
                    request.close()

    if tls is not None:
        tls.sni_callback = lambda sock, name, context: receiver.names.append(name)
    with Server((host, port), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            if receiver.hang is not None:
                receiver.hang.set()
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def eventually(claim: Callable[[], bool], within_s: float = 30.0) -> bool:
    """Whether the claim comes true in time."""
    deadline = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
