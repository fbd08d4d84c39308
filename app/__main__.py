"""`python -m app`: the API, set up by the environment."""

import ipaddress
import signal
import sys

import uvicorn

from app.main import create_app
from jobs.settings import SettingsError, load_settings

SHUTDOWN_S = 5
EXIT_REFUSED = 2
"""The API cannot start as it is set up; starting it again would not help."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    if not is_loopback(settings.host) and not settings.allow_anonymous:
        print(
            f"Not listening on {settings.host}: anybody who reaches it could submit jobs. "
            "Set UNFOG_ALLOW_ANONYMOUS=true if that is what you want.",
            file=sys.stderr,
        )
        return EXIT_REFUSED
    # uvicorn raises the signal again when it has shut down; a planned stop should end with exit code 0.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
