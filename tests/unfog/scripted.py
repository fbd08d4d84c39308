"""A service that answers as it is told, for the client: over httpx's own transport, and over a real socket."""

import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

PNG = b"\x89PNG\r\n\x1a\nnot decoded by anybody here"


def job(status: str = "queued", **fields: Any) -> dict[str, Any]:
    """A job as the service answers it."""
    done = {"succeeded": 50, "running": 10}.get(status, 0)
    images = [
        {
            "index": 0,
            "url": "/v1/jobs/job_1/images/0.png",
            "seed": 7,
            "class_label": "black",
            "width": 32,
            "height": 32,
            "sha256": hashlib.sha256(PNG).hexdigest(),
        }
    ]
    return {
        "id": "job_1",
        "object": "job",
        "status": status,
        "model": "cats-32",
        "model_fingerprint": "f" * 8,
        "engine": None,
        "request": {"sampler": "ddim", "steps": 50},
        "seed": 7,
        "attempt": 1,
        "progress": {"completed": done, "total": 50, "fraction": done / 50},
        "queue_position": 3 if status == "queued" else None,
        "eta_s": 1.5,
        "created_at": "2026-01-02T03:04:05.678Z",
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "images": images if status == "succeeded" else [],
        "metadata": {"mine": "yes"},
        "error": {"code": "not_finite", "detail": "it came out as NaN"} if status == "failed" else None,
        "urls": {"self": "/v1/jobs/job_1", "animation": None},
        **fields,
    }


def problem(code: str, detail: str = "a reason", **fields: Any) -> dict[str, Any]:
    """The body of an error."""
    return {"type": "about:blank", "title": "x", "status": 0, "code": code, "detail": detail, **fields}


def event(name: str, data: Any) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; an exception among them is raised where it stands. closed: whether it was let go of."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces, self.closed = pieces, False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


@dataclass
class Told:
    """What is answered, as often as one likes."""

    status: int
    body: Any
    headers: dict[str, str]

    def response(self) -> httpx.Response:
        """The answer, new each time: httpx changes what it is given."""
        kind = {Pieces: "stream", bytes: "content"}.get(type(self.body), "json")
        return httpx.Response(self.status, headers=self.headers, **{kind: self.body})


def answer(status: int = 200, body: Any = None, **headers: str) -> Told:
    """An answer: JSON, bytes, or `Pieces`."""
    return Told(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def stream(*pieces: bytes | Exception) -> Told:
    """An answer that is a stream of events."""
    return answer(200, Pieces(*pieces), content_type="text/event-stream")


class Script(httpx.MockTransport):
    """Answers one after the other; an exception is raised instead. asked: the requests that came."""

    def __init__(self, *answers: Told | Exception) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)
        super().__init__(self._next)

    def _next(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        assert self._answers, f"nobody expected {request.method} {request.url}"
        following = self._answers.pop(0)
        if isinstance(following, Exception):
            raise following
        return following.response()

    @property
    def lines(self) -> list[str]:
        """Method and path of each request."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.asked]

    @property
    def used_up(self) -> bool:
        return not self._answers


@dataclass
class Asked:
    """A request that came over a socket."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answering = Callable[[Asked], tuple[int, dict[str, str], bytes]]


@dataclass
class Listening:
    """A service on a socket. asked: what came so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def listening(answering: Answering) -> Iterator[Listening]:
    """Serve over a real socket while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Asked(self.command, self.path, headers, body)
            service.asked.append(request)
            status, headers, body = answering(request)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server looks for these

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Listening(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
