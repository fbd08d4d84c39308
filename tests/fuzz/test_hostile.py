"""Callers who mean harm, over raw sockets: a clear answer or a closed connection, and nobody else has to wait."""

import base64
import contextlib
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

from service.redis_server import RedisServer
from tests.cards import png
from tests.fuzz.fuzzed import Fuzzed, fuzzed

PATIENCE_S = 30.0
MEBIBYTE = 1 << 20
MAY_GROW_BYTES = 96 * MEBIBYTE
"""A picture of 4 megapixels is 16 MiB as RGBA and a body 8; two at once are decoded, and allocators keep some."""
A_LONG_LIFE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """One for all that is tried here: what an attack leaves behind is the next one's start."""
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    with fuzzed(redis_server.url, tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture(autouse=True)
def _others_are_served_and_memory_stays(service: Fuzzed) -> Iterator[None]:
    _submit_and_wait(service)
    before = service.memory_bytes
    yield
    assert service.api.poll() is None, service.log.read_text()[-2000:]
    _submit_and_wait(service)
    assert service.memory_bytes - before < MAY_GROW_BYTES
    assert not service.faults()


def _submit_and_wait(service: Fuzzed) -> None:
    answer = httpx.post(
        f"{service.url}/v1/jobs", json={"seed": 7}, headers={"Prefer": "wait=20"}, timeout=PATIENCE_S
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


def connected(service: Fuzzed) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def said(service: Fuzzed, *pieces: bytes) -> bytes:
    """What comes back until the service closes."""
    with connected(service) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def statuses(raw: bytes) -> list[int]:
    """The statuses of one answer or of several in a row."""
    return [int(piece.split(b" ", 1)[0]) for piece in raw.split(b"HTTP/1.1 ")[1:]]


def problem(raw: bytes) -> dict[str, object]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, raw[:300]
    found: dict[str, object] = json.loads(body)
    return found


def post(body: bytes, *headers: str, close: bool = True) -> bytes:
    lines = ["POST /v1/jobs HTTP/1.1", "Host: a", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# Bodies


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 4_000_000, 400),
        (b'{"a":' * 1_000_000, 422),
        (b'{"metadata":' * 1_000, 400),
        (b'{"steps": 1' + b"0" * 1_000_000 + b"}", 400),
        (b'{"steps": -' + b"9" * 4_000 + b"}", 422),
        (b'{"eta": 1e' + b"9" * 4_000 + b"}", 422),
        (b'{"eta": 2.' + b"1" * 1_000_000 + b"}", 422),
        (b'{"eta": -0.0, "guidance_scale": -1e-300}', 422),
        (b'{"seed": NaN}', 422),
        (b'{"eta": Infinity}', 422),
        (b'{"steps": 5, "steps": 5}', 400),
        (b'{"metadata": {"a": "1", "\\u0061": "2"}}', 400),
        ('{"steps": 5}'.encode("utf-16"), 400),
        ('{"steps": 5}'.encode("utf-32"), 400),
        (b'\xef\xbb\xbf{"steps": 5}', 400),
        (b'{"model": "\xc3"}', 400),
        (b'{"model": "\xed\xa0\x80"}', 400),
        (b'{"model": "\xf4\x90\x80\x80"}', 400),
        (b'{"model": "\xc0\xaf"}', 400),
        (b'{"metadata": {"a": "\\ud800"}}', 400),
        (b'{"model": "\\u0000"}', 404),
        (b"\x00" * 1000, 400),
        (b"{}" + b" " * 8_000_000 + b"{}", 400),
        (b'{"' + b"a" * 7_000_000 + b'": 1}', 422),
        (b'{"metadata": {"' + b"a" * 7_000_000 + b'": 1}}', 422),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
def test_a_hostile_body_gets_a_problem(service: Fuzzed, body: bytes, status: int) -> None:
    raw = said(service, post(body))
    assert statuses(raw) == [status], raw[:500]
    found = problem(raw)
    assert found["status"] == status
    assert len(raw) < 20_000 + len(body) // 4, "an answer is not many times its question"


def test_many_bodies_of_eight_megabytes_leave_nothing_behind(service: Fuzzed) -> None:
    body = post(b'{"metadata": {"a": "' + b"x" * 8_000_000 + b'"}}')
    for _ in range(20):
        assert statuses(said(service, body)) == [422]


# Pictures


def _uri(raw: bytes) -> bytes:
    return json.dumps({"init_image": "data:image/png;base64," + base64.b64encode(raw).decode()}).encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _saved(kind: str, size: tuple[int, int], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (1, 2, 3)).save(buffer, kind, **options)
    return buffer.getvalue()


def _frames() -> bytes:
    buffer = io.BytesIO()
    first, *more = (Image.new("RGB", (1000, 1000), (k, 0, 0)) for k in range(60))
    first.save(buffer, "PNG", save_all=True, append_images=more)
    return buffer.getvalue()


BOMBS = {
    "a zip bomb as PNG": _png(50_000, 50_000, pixels=zlib.compress(b"\0" * 20_000_000)),
    "the largest size a PNG can say": _png(2**31 - 1, 2**31 - 1),
    "no size": _png(0, 0),
    "a text that unpacks to 200 MB": _png(
        8, 8, _chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 200_000_000)), pixels=zlib.compress(b"\0" * 200)
    ),
    "a profile that unpacks to 200 MB": _png(
        8, 8, _chunk(b"iCCP", b"a\0\0" + zlib.compress(b"a" * 200_000_000)), pixels=zlib.compress(b"\0" * 200)
    ),
    "a chunk longer than the file": _png(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT",
    "a JPEG that is too large": _saved("JPEG", (9000, 9000), quality=1),
    "a WebP that is too large": _saved("WEBP", (9000, 9000), lossless=True, quality=0),
    "half a PNG": png((1, 2, 3), (500, 500))[:60],
    "half a JPEG": _saved("JPEG", (500, 500))[:700],
    "a head alone": b"\x89PNG\r\n\x1a\n",
    "a TIFF": _saved("TIFF", (8, 8)),
    "a GIF": _saved("GIF", (8, 8)),
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_picture_that_is_a_trap_is_refused(service: Fuzzed, kind: str) -> None:
    raw = said(service, post(_uri(BOMBS[kind])))
    found = problem(raw)
    assert found["status"] == 422, raw[:500]
    (error,) = found["errors"]  # type: ignore[misc]
    assert error["pointer"] == "/init_image"
    assert error["code"] in ("too_many_pixels", "broken_image", "not_an_image"), error


def test_ten_traps_at_once_cost_little_memory(service: Fuzzed) -> None:
    largest = _saved("JPEG", (2048, 2048), quality=95)
    answers: list[list[int]] = []
    callers = [
        threading.Thread(target=lambda: answers.append(statuses(said(service, post(_uri(largest))))))
        for _ in range(10)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_S)
    assert answers == [[202]] * 10


def test_what_a_picture_has_beyond_its_first_frame_is_not_decoded(service: Fuzzed) -> None:
    for raw in (_frames(), _png(8, 8, pixels=zlib.compress(b"\0" * 50_000_000))):
        assert statuses(said(service, post(_uri(raw)))) == [202]


# Lengths and chunks


@pytest.mark.parametrize(
    "length", ["10737418240", "9" * 18, "9" * 19, "9" * 40, "-1", "+5", "0x10", "1e3", "", "5,5", "5, 6", "\u00b2"]
)
def test_a_length_that_cannot_be_is_refused_at_once(service: Fuzzed, length: str) -> None:
    raw = said(service, post(b"{}", f"Content-Length: {length}"))
    assert statuses(raw)[:1] in ([413], [400]), raw[:300]
    problem(raw)


def test_two_lengths_are_no_request(service: Fuzzed) -> None:
    raw = said(service, post(b"{}", "Content-Length: 2", "Content-Length: 3"))
    assert statuses(raw) == [400], raw[:300]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 2"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: identity, chunked, identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\x0bchunked",),
    ],
    ids=repr,
)
def test_what_two_servers_could_read_in_two_ways_smuggles_nothing(
    service: Fuzzed, headers: tuple[str, ...]
) -> None:
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    raw = said(service, post(b"0\r\n\r\n" + hidden, *headers))
    assert statuses(raw) == [400], raw[:500]
    assert b"smuggled" not in raw


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
        b"5\r\n{}\r\n0\r\n\r\n" + b"\r\n" * 10,
        b"1\r\n{}\r\n0\r\n\r\n",
        b"\r\n\r\n",
    ],
    ids=repr,
)
def test_a_lie_about_a_chunk_is_refused(service: Fuzzed, body: bytes) -> None:
    raw = said(service, post(body, "Transfer-Encoding: chunked"))
    assert statuses(raw) == [400], raw[:300]


def test_chunks_without_end_are_not_read_for_ever(service: Fuzzed) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    raw = said(service, post(b"", "Transfer-Encoding: chunked"), *([chunk] * 400))
    assert statuses(raw)[:1] in ([413], []), raw[:300]


def test_chunks_with_endless_extensions_are_not_kept(service: Fuzzed) -> None:
    piece = b";" + b"a" * 65_535
    raw = said(service, post(b"", "Transfer-Encoding: chunked"), b"2", *([piece] * 1000), b"\r\n{}\r\n0\r\n\r\n")
    assert statuses(raw)[:1] in ([202], [400], [413]), raw[:300]


def test_endless_trailers_are_not_kept(service: Fuzzed) -> None:
    trailer = b"X-T: " + b"a" * 60_000 + b"\r\n"
    raw = said(service, post(b"2\r\n{}\r\n0\r\n", "Transfer-Encoding: chunked"), *([trailer] * 1000))
    assert set(statuses(raw)) <= {202, 400, 413, 431}, raw[:300]


# Heads


@pytest.mark.parametrize(
    "header",
    [
        "X-Request-ID: a\rX-Evil: 1",
        "X-Request-ID: a\nX-Evil: 1",
        "X-Request-ID: a\r\n X-Evil: 1",
        "X-Request-ID: a%0d%0aX-Evil: 1",
        "X-Request-ID: a\x00b",
        "Idempotency-Key: a\nX-Evil: 1",
        "Idempotency-Key: a\x00",
        "Prefer: wait=1\nX-Evil: 1",
        "X-Request-ID: \u00e5\u0153".encode().decode("latin-1"),
    ],
    ids=repr,
)
def test_nothing_that_is_echoed_makes_a_header(service: Fuzzed, header: str) -> None:
    raw = said(service, post(b"{}", header))
    head = raw.partition(b"\r\n\r\n")[0].lower()
    assert statuses(raw)[:1] in ([400], [202], [422]), raw[:300]
    assert b"x-evil" not in head
    assert head.count(b"x-request-id") <= 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/../../etc/passwd",
        "/v1/jobs/%2e%2e/%2e%2e/etc/passwd",
        "/v1/jobs/..%2f..%2fetc%2fpasswd",
        "/playground/..%2f..%2fapp%2fmain.py",
        "/playground/../main.py",
        "/playground/%2e%2e/main.py",
        "/playground/..%5cmain.py",
        "/playground/%00index.html",
        "/docs/..%2fopenapi.json",
        "/docs/../../../../etc/passwd",
        "/docs/%2fetc%2fpasswd",
        "//etc/passwd",
        "//v1//models",
        "/v1/models/%00",
        "/v1/models/..",
        "/v1/models/%ff%fe",
        "/v1/models/%0d%0aX-Evil:1",
        "/v1/jobs/%0d%0aSet-Cookie:a=b",
        "/v1/jobs/job_000000000000000000000000/images/%2e%2e.png",
        "/v1/jobs/job_000000000000000000000000/images/-1.png",
        "/v1/jobs/" + "a" * 60_000,
        "/" + "%41" * 20_000,
        "/" + "a/" * 20_000,
        "/%",
        "/%zz",
        "/v1/models/\u00e9",
        "http://evil.example/v1/models/none",
        "*",
        "evil.example:80",
    ],
    ids=lambda path: path[:50],
)
def test_a_trick_in_the_path_finds_nothing(service: Fuzzed, path: str) -> None:
    raw = said(service, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert statuses(raw)[:1] in ([404], [400], [422]), raw[:300]
    head, _, body = raw.partition(b"\r\n\r\n")
    assert json.loads(body)["code"] in ("not_found", "job_not_found", "model_not_found", "http_error")
    assert b"root:" not in raw
    assert b"import" not in raw
    assert b"x-evil" not in head.lower()
    assert b"set-cookie" not in head.lower()
    assert len(body) < 20_000 + len(path)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=" + "9" * 5000, 422),
        ("cursor=" + "a" * 50_000, 422),
        ("cursor=%00", 422),
        ("cursor=%ff", 422),
        ("&".join(f"a{k}=1" for k in range(6000)), 422),
        ("limit=1&limit=2", 200),
        ("status=%0d%0aX-Evil:1", 422),
        ("limit", 422),
        ("&&&&", 200),
        ("%00=1", 422),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_hostile_query_gets_an_answer(service: Fuzzed, query: str, status: int) -> None:
    raw = said(service, f"GET /v1/jobs?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert statuses(raw)[:1] == [status], raw[:300]
    if status != 200:
        assert len(raw) < 10_000


@pytest.mark.parametrize(
    "head",
    [
        A_LONG_LIFE + b"X-Many: a\r\n" * 4_000 + b"Connection: close\r\n\r\n",
        A_LONG_LIFE + b"Cookie: " + b"a=b; " * 10_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"Accept: " + b"a/b;q=0.1," * 5_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"If-None-Match: " + b'"' * 50_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"Prefer: " + b"wait=,;" * 7_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"Accept-Encoding: " + b"gzip;q=" * 7_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"Range: bytes=" + b"0-," * 10_000 + b"\r\nConnection: close\r\n\r\n",
        A_LONG_LIFE + b"Upgrade: websocket\r\nConnection: close, upgrade\r\n\r\n",
        A_LONG_LIFE + b"Expect: 100-continue\r\nConnection: close\r\n\r\n",
        b"GET /health/live HTTP/1.0\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: a\nConnection: close\n\n",
        b"\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda head: repr(head[-60:]),
)
def test_an_odd_head_is_served_or_refused(service: Fuzzed, head: bytes) -> None:
    raw = said(service, head)
    assert statuses(raw.replace(b"HTTP/1.0", b"HTTP/1.1"))[:1] in ([200], [400], [431]), raw[:300]


def test_hundreds_of_requests_in_one_breath_are_answered_in_order(service: Fuzzed) -> None:
    many = b"".join(f"GET /v1/models/{k} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for k in range(300))
    raw = said(service, many + A_LONG_LIFE + b"Connection: close\r\n\r\n")
    assert statuses(raw) == [404] * 300 + [200]
    places = [raw.index(f"'{k}'".encode()) for k in range(300)]
    assert places == sorted(places)


def test_a_refused_body_is_not_taken_for_the_next_request(service: Fuzzed) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    raw = said(service, post(inner, "X-A: b", close=False) + A_LONG_LIFE + b"Connection: close\r\n\r\n")
    assert statuses(raw) == [400, 200]


# Slow ones


def test_a_hundred_slow_callers_keep_nobody_waiting_and_are_sent_away(service: Fuzzed) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(100)]
        beginnings = [b"", b"G", A_LONG_LIFE + b"X-Slow: a", post(b"", "Content-Length: 100", close=False) + b"{"]
        for k, connection in enumerate(slow):
            connection.sendall(beginnings[k % len(beginnings)])
        for _ in range(3):
            for k, connection in enumerate(slow):
                if k % len(beginnings) == 2:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"a")
            _submit_and_wait(service)
        for k, connection in enumerate(slow):
            if k % len(beginnings) != 3:  # a body may take a minute, a head a quarter of it
                assert rest(connection) == b""


def test_callers_who_hang_up_in_the_middle_leave_nothing_behind(service: Fuzzed) -> None:
    whole = post(_uri(png((1, 2, 3), (64, 64))), "Prefer: wait=5", close=False)
    opened = len(_open_files(service))
    for k in range(200):
        with connected(service) as connection:
            connection.sendall(whole[: k * len(whole) // 200])
            if k % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    _submit_and_wait(service)
    deadline = time.monotonic() + PATIENCE_S
    while len(_open_files(service)) > opened + 5:
        assert time.monotonic() < deadline, "connections stay open"
        time.sleep(0.05)


def _open_files(service: Fuzzed) -> list[Path]:
    return list(Path(f"/proc/{service.api.pid}/fd").iterdir())
