"""Five hundred event streams on one process, half of them unread: memory has a bound, nobody misses the end."""

import base64
import contextlib
import socket
from pathlib import Path

import httpx
from redis import Redis

from jobs.catalogue import announce
from jobs.watch import Preview, Progress, count_listeners, tell
from tests import cards
from tests.app.serving import until
from tests.fuzz.fuzzed import fuzzed
from tests.fuzz.test_hostile import PATIENCE_S, rest

LISTENERS, JOBS = 500, 5
ROUNDS = 40
PREVIEW_BYTES = 12_000
"""More than a picture of 32 × 32 pixels has."""
PER_LISTENER_BYTES = 256 * 1024
"""64 KiB that the server has yet to send, a few events on their way there, and the connection."""
KEPT_BYTES = 512 * 1024
"""The same, and 128 KiB in the kernel."""
LEFT_OPEN = cards.PEBBLE.model_copy(update={"id": "pebble-9"})
"""A model that no worker serves: its jobs are started and ended by the test."""


def opened(port: int, path: str) -> socket.socket:
    """A stream that is asked for. Little of it fits into the receiver's buffer, until it is `widened`."""
    connection = socket.socket()
    connection.settimeout(PATIENCE_S)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return connection


def widened(stream: socket.socket) -> socket.socket:
    """The stream with a buffer of the usual size: what goes through a tiny one comes in crumbs, five a second."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    return stream


def begun(stream: socket.socket) -> None:
    """Wait for its first event."""
    said = b""
    while b"event: snapshot" not in said:
        piece = stream.recv(65_536)
        assert piece, said
        said += piece


def test_five_hundred_listeners_of_whom_half_never_read_cost_little_memory(redis_url: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(Redis.from_url(redis_url))
        service = stack.enter_context(fuzzed(redis_url, tmp_path))
        client = stack.enter_context(httpx.Client(base_url=service.url, timeout=PATIENCE_S))
        announce(redis, "nobody", (LEFT_OPEN,), 3600)
        body = {"model": LEFT_OPEN.id, "steps": 1000, "preview": True}
        jobs = [client.post("/v1/jobs", json=body).json() for _ in range(JOBS)]
        for job in jobs:
            cards.start(redis, job["id"])
        before = service.memory_bytes
        streams = [opened(service.port, jobs[n % JOBS]["urls"]["events"]) for n in range(LISTENERS)]
        for stream in streams:
            stack.callback(stream.close)
        for stream in streams:
            begun(stream)
        assert f"unfog_listeners {LISTENERS}.0" in client.get("/metrics").text
        until(lambda: len(count_listeners(redis, [job["id"] for job in jobs])) == JOBS)
        reading, idle = [widened(stream) for stream in streams[::2]], streams[1::2]
        picture = base64.b64encode(bytes(PREVIEW_BYTES)).decode()
        most = 0
        for n in range(1, ROUNDS + 1):
            progress = Progress(completed=n, total=1000, attempt=1)
            preview = Preview(index=0, completed=n, png=picture)
            tell(redis, [(job["id"], word) for job in jobs for word in (progress, preview)])
            for stream in reading:
                assert stream.recv(65_536)
            most = max(most, service.memory_bytes)
        assert most - before < LISTENERS * PER_LISTENER_BYTES
        for job in jobs:
            cards.succeed(redis, job["id"], [cards.png((1, 2, 3), (8, 8))])
        for stream in reading:
            assert rest(stream).count(b"event: done\n") == 1
        for stream in idle:
            said = rest(widened(stream))
            assert said.count(b"event: done\n") == 1
            assert len(said) < KEPT_BYTES < ROUNDS * len(picture), "it lost previews, and nobody kept them"
        until(lambda: "unfog_listeners 0.0" in client.get("/metrics").text)
        assert not service.faults()
