"""Who may send now: so many tries in all, so many of one caller, so many to one host. First come, first served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dispatch.pace import Limits


class Slots:
    """The slots of one dispatcher. They are taken from the narrowest on, so nobody sits on what others wait for."""

    def __init__(self, limits: Limits) -> None:
        self._in_all = asyncio.Semaphore(limits.running)
        self._callers = _Named(limits.running_of_caller)
        self._hosts = _Named(limits.running_to_host)

    @contextlib.asynccontextmanager
    async def one(self, caller: str, host: str) -> AsyncIterator[None]:
        """Hold a slot for a webhook of this caller to this host; waits for it."""
        async with self._hosts.one(host), self._callers.one(caller), self._in_all:
            yield


class _Named:
    """A semaphore a name, there while somebody holds it or waits for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        semaphore = self._semaphores.setdefault(name, asyncio.Semaphore(self._limit))
        self._users[name] = self._users.get(name, 0) + 1
        try:
            async with semaphore:
                yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._semaphores[name]
