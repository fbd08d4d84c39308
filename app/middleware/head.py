"""HEAD wherever GET is: the same answer without its body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKED = "unfog.head"
"""In the scope of a request that asked for headers alone."""


class Head:
    """Asks for what a GET would get, and sends the headers of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET", ASKED: True}

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # The answer is complete with this; what streams after it sees a caller who has hung up.
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(asked, receive, headers_only)
        for name in ("route", "path_params"):
            if name in asked:
                scope[name] = asked[name]
