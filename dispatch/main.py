"""The process of one dispatcher."""

import asyncio
import os
import secrets
import signal
import sys

import structlog

from dispatch.dispatcher import Dispatcher
from dispatch.lookup import Resolver
from dispatch.pace import Limits, Pace
from dispatch.sender import Sender
from jobs.connection import connect_async
from jobs.logs import configure_logging
from jobs.outbox import Outbox
from jobs.settings import Settings, SettingsError, load_settings

log = structlog.get_logger()

EXIT_REFUSED = 2
"""The dispatcher cannot start as it is set up; starting it again would not help."""


def main() -> int:
    """Run a dispatcher until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    if not settings.webhook_secret.get_secret_value():
        print(
            "UNFOG_WEBHOOK_SECRET is empty, so webhooks cannot be signed. Set the one that the API has; "
            "`openssl rand -hex 32` makes one.",
            file=sys.stderr,
        )
        return EXIT_REFUSED
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(serve(settings, Pace.of(settings)))
    return 0


async def serve(settings: Settings, pace: Pace) -> None:
    """Deliver until a signal says to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    limits = Limits()
    resolver = Resolver(limits.running)
    sender = Sender(
        settings.webhook_secret.get_secret_value(),
        resolver,
        pace,
        allow_private=settings.webhook_allow_private,
        public_url=settings.public_url,
    )
    redis = connect_async(settings)
    # No start has had this name: what one that is dead has read must never look as if it were ours.
    name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
    dispatcher = Dispatcher(
        Outbox(redis, name), sender, pace, allow_private=settings.webhook_allow_private, limits=limits
    )
    log.info("dispatcher ready", name=name, allow_private=settings.webhook_allow_private)
    try:
        await dispatcher.run(stop)
    finally:
        resolver.close()
        await redis.aclose()
    log.info("dispatcher ended", name=name)
