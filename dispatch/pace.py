"""How long a dispatcher waits, for what, and how much it does at once."""

import random
from dataclasses import dataclass

from jobs.settings import Settings

JITTER = 0.25
"""A delay is stretched by up to this share, so that what failed together is not tried together again."""


@dataclass(frozen=True)
class Pace:
    """The times of a dispatcher, in seconds."""

    retries_s: tuple[float, ...]
    """Before the second try, the third, and so on."""
    connect_s: float = 5.0
    try_s: float = 15.0
    """A whole try: lookup, connection, request and the status of the answer."""
    lease_s: float = 10.0
    """What a dispatcher holds and does not speak of for so long is another's to claim."""
    crowded_s: float = 5.0
    """What there was no room for waits so long; that is no try."""
    redis_pause_s: float = 1.0
    stop_s: float = 5.0
    """On SIGTERM, the time that tries under way may take. What they leave behind is claimed and tried again."""

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        """The pace that the settings ask for."""
        return cls(settings.webhook_retries_s)

    def delay_s(self, tries: int) -> float | None:
        """The wait after so many failed tries; None when there is to be no other."""
        if tries > len(self.retries_s):
            return None
        return self.retries_s[tries - 1] * (1 + JITTER * random.random())  # noqa: S311 - nothing secret in it


@dataclass(frozen=True)
class Limits:
    """How many tries run at once, and how many webhooks a dispatcher holds, in all and of one caller or host.

    No host and no caller gets everything, so one that hangs does not hold up the others.
    """

    running: int = 64
    running_of_caller: int = 48
    running_to_host: int = 8
    held: int = 2048
    held_of_caller: int = 1536
    held_to_host: int = 1024
