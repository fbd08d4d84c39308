"""Text is compressed for those who take it; pictures and event streams never are."""

import zlib

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.negotiation import quality

LEAST_BYTES = 1400
"""What fits into one packet anyway."""
MANY_BYTES = 131_072
"""From here on a thread compresses, so that nobody waits for it."""
LEVEL = 5
COMPRESSED = ("application/json", "application/problem+json", "text/html", "text/css", "text/javascript")


class Compression:
    """gzip for answers of one piece that are text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and _is_text(message):
                begun = message
                return
            start, begun = begun, None
            if start is not None:
                body = message.get("body", b"")
                if not message.get("more_body", False) and len(body) >= LEAST_BYTES:
                    start["headers"] = _varied(start["headers"])
                    if takes_gzip(scope):
                        message = {**message, "body": await _compressed(start, body)}
                await send(start)
            await send(message)

        await self._app(scope, receive, compressing)


def takes_gzip(scope: Scope) -> bool:
    """Whether `Accept-Encoding` names gzip and does not refuse it."""
    taken = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-encoding"]
    return bool(taken) and quality(",".join(taken), "gzip") > 0


def _varied(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    said = [value for name, value in headers if name == b"vary"]
    others = [header for header in headers if header[0] != b"vary"]
    return [*others, (b"vary", b", ".join([*said, b"Accept-Encoding"]))]


def _is_text(start: Message) -> bool:
    for name, value in start["headers"]:
        if name == b"content-type":
            return value.partition(b";")[0].decode("latin-1") in COMPRESSED
    return False


async def _compressed(start: Message, body: bytes) -> bytes:
    """The body compressed, and its head made to fit."""
    small = _gzip(body) if len(body) < MANY_BYTES else await run_in_threadpool(_gzip, body)
    headers = MutableHeaders(scope=start)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(small))
    return small


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()
