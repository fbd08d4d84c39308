"""An id for every request, one line in the log when it is over, and a count in the metrics."""

import re
import secrets
import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, unbind_contextvars

from app.metrics import Metrics

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
QUIET = ("/health/live", "/health/ready", "/metrics")
"""Asked every few seconds by machines; logged at debug only."""

log = structlog.get_logger()


def request_id_of(scope: Scope) -> str:
    """The caller's X-Request-ID if it is harmless, else one of ours."""
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return sent if SANE_ID.fullmatch(sent) else f"req_{secrets.token_hex(12)}"


class RequestLog:
    """Names each request and tells of its end. What it tells holds no query, no body and no header."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = request_id_of(scope), time.perf_counter()
        scope.setdefault("state", {})["request_id"] = request_id
        answer: Message | None = None

        async def named(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                answer = message
            await send(message)

        bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, named)
        finally:
            self._tell(scope, answer, time.perf_counter() - started)
            unbind_contextvars("request_id")

    def _tell(self, scope: Scope, answer: Message | None, seconds: float) -> None:
        """`answer` is its beginning; without one the caller hung up before."""
        route = getattr(scope.get("route"), "path", None)
        status = None if answer is None else int(answer["status"])
        streams = answer is not None and _is_stream(answer)
        self._metrics.count(scope["method"], route, status, None if streams else seconds)
        told: dict[str, Any] = {"method": scope["method"], "route": route, "status": status}
        told["ms"] = round(1000 * seconds, 1)
        job_id = scope["state"].get("job_id") or scope.get("path_params", {}).get("job_id")
        if job_id is not None:
            told["job"] = job_id[:64]
        if status is not None and status >= 500:
            log.warning("request", **told)
        elif route in QUIET:
            log.debug("request", **told)
        else:
            log.info("request", **told)


def _is_stream(answer: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in answer["headers"]
    )
