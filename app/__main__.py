"""`python -m app`: the API, set up by the environment."""

import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from app.access import is_loopback
from app.main import create_app
from app.protocol import PatientHttp
from jobs.api_keys import any_usable_key
from jobs.connection import REDIS_DOWN, connect
from jobs.errors import StoreUnsuitable
from jobs.logs import configure_logging
from jobs.settings import Settings, SettingsError, load_settings

SHUTDOWN_S = 5
KEEP_ALIVE_S = 75
"""Longer than the minute for which proxies commonly keep a connection, so that it is they who close it."""
EXIT_REFUSED = 2
"""The API cannot start as it is set up; starting it again would not help."""


class Server(uvicorn.Server):
    """uvicorn, which lets go of those who wait or stream before it waits for their connections to close."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections, and an end to the old ones."""
        self._app.state.services.closing.set()
        await super().shutdown(sockets)


def server_of(app: FastAPI, settings: Settings) -> Server:
    """A server of the application, as the settings have it."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=PatientHttp,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return Server(config, app)


def nobody_may_call(settings: Settings) -> bool:
    """Whether others could reach the service and no key would let them in."""
    if is_loopback(settings.host) or settings.allow_anonymous:
        return False
    with connect(settings) as redis:
        try:
            return not any_usable_key(redis)
        except REDIS_DOWN:
            return False  # it may come up later; until then, and without a key, callers are refused


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
        app = create_app(settings)
    except (SettingsError, StoreUnsuitable) as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    if nobody_may_call(settings):
        print(
            f"Not listening on {settings.host}: others reach it, and there is no key yet. Make one with "
            "`unfog keys create NAME`, or let everybody in with UNFOG_ALLOW_ANONYMOUS=true.",
            file=sys.stderr,
        )
        return EXIT_REFUSED
    configure_logging(settings.log_level, settings.log_format)
    # uvicorn raises the signal again when it has shut down; a planned stop should end with exit code 0.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    server_of(app, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
