"""A fault of ours as a problem like any other: the caller learns nothing inner, the log has all of it."""

from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import Problem

log = structlog.get_logger()


class Faults:
    """Answers 500 for what nobody else caught. An answer that has begun is broken off instead."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            log.exception("a request met a fault")
            detail = "a fault of this service, not of the request; its log has the reason"
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)
            await problem.response()(scope, receive, send)
