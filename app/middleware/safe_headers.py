"""Headers that every answer has: what browsers must not do with it, and that nobody keeps it unless it says so."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULTS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class SafeHeaders:
    """Adds the defaults to an answer that does not say otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                added = [default for default in DEFAULTS if default[0] not in said]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, safe)
