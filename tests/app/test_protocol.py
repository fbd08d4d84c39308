"""A caller who is slow, endless or no speaker of HTTP is sent away, and keeps nobody else waiting."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from app import body, protocol
from jobs.settings import Settings
from tests import cards
from tests.app.serving import PATIENCE_S, Served, serving, until


@pytest.fixture
def api(settings: Settings, redis: Redis) -> Iterator[Served]:
    """The API as it is served, with two models known."""
    cards.announce_both(redis)
    with serving(settings) as served:
        yield served


def connected(api: Served) -> socket.socket:
    url = httpx.URL(api.url)
    return socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_S)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def answer_of(raw: bytes) -> tuple[int, dict[str, object]]:
    head, _, content = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(content)


def test_a_connection_that_says_nothing_is_closed(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    with connected(api) as connection:
        assert all_of(connection) == b""


def test_a_head_that_comes_too_slowly_is_not_waited_for(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    with connected(api) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert all_of(connection) == b""


@pytest.mark.parametrize("together", [True, False], ids=["in the same piece", "after the answer"])
def test_the_next_head_of_a_connection_is_not_waited_for_either(
    api: Served, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    first, second = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
    with connected(api) as connection:
        connection.sendall(first + second if together else first)
        answer = b"" if together else connection.recv(65_536)
        if not together:
            connection.sendall(second)
        assert (answer + all_of(connection)).count(b"HTTP/1.1 200") == 1


def test_a_connection_that_rests_between_two_requests_is_kept(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    with connected(api) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert all_of(connection).count(b"HTTP/1.1 200") == 2


def test_a_head_in_pieces_that_comes_in_time_is_served(api: Served) -> None:
    with connected(api) as connection:
        for byte in b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert all_of(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Large: " + b"a" * 200_000,
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Large: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + b"X-Many: a\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["never ends", "one header", "many headers", "path"],
)
def test_a_head_that_is_too_large_is_a_431(api: Served, head: bytes) -> None:
    with connected(api) as connection:
        connection.sendall(head)
        status, problem = answer_of(all_of(connection))
    assert (status, problem["code"]) == (431, "head_too_large")


def test_a_head_of_half_that_size_is_read(api: Served) -> None:
    headers = {f"X-{k}": "a" * 1000 for k in range(30)}
    assert httpx.get(f"{api.url}/health/live", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"hello\r\n\r\n", b"GET / SPDY/9\r\n\r\n"]
)
def test_what_is_no_http_is_a_problem(api: Served, said: bytes) -> None:
    with connected(api) as connection:
        connection.sendall(said)
        status, problem = answer_of(all_of(connection))
    assert (status, problem["code"]) == (400, "http_error")


def test_a_body_that_comes_too_slowly_is_a_408_and_leaves_nothing(
    api: Served, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "PATIENCE_S", 0.05)
    with connected(api) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
        )
        raw = all_of(connection)
    status, problem = answer_of(raw)
    assert (status, problem["code"]) == (408, "body_too_slow")
    assert b"connection: close" in raw.lower()
    assert {key.decode() for key in redis.scan_iter()} == cards.CATALOGUE_KEYS


def test_a_caller_who_never_reads_is_hung_up_on(api: Served, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_S", 0.2)
    with connected(api) as connection:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        for _ in range(400):
            try:
                connection.sendall(request)
            except OSError:
                break
        until(lambda: len(api.server.server_state.connections) == 0)


def test_a_caller_who_reads_slowly_is_served(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_S", 0.3)
    with connected(api) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        many = 12
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n" * (many - 1))
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        read, last = 0, b""
        while piece := connection.recv(65_536):
            read, last = read + len(piece), (last + piece)[-200:]
            time.sleep(0.01)
    assert read > (many - 1) * 1_000_000
    assert b'{"status":"live"}' in last
