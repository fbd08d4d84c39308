"""What a route needs: what was made once when the application started, and who calls."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security.base import SecurityBase

from app.access import BEARER, Access, Caller
from app.init_image import PictureFitter
from app.links import Links
from app.listeners import Listeners
from app.metrics import Metrics
from app.rate_limit import RateLimit
from jobs.api_keys import Scope
from jobs.events import EventReader
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.watch import Watcher

LOOKS_AT_ONCE = 16
"""Streams that may read their jobs at one moment, of the connections to Redis that there are for all."""


@dataclass(frozen=True)
class Services:
    """The settings, the ways to Redis, and what is counted of one running application."""

    settings: Settings
    store: JobStore
    events: EventReader
    watcher: Watcher
    rate_limit: RateLimit
    listeners: Listeners
    metrics: Metrics
    links: Links
    access: Access
    fitter: PictureFitter = field(default_factory=PictureFitter)
    looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKS_AT_ONCE))
    """Hundreds of streams that are woken together must not keep other callers from Redis."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server is asked to stop: who waits or streams is let go, so that it can."""


def services_of(request: Request) -> Services:
    """The services of the application that got this request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


async def services(request: Request) -> Services:
    """The same as a dependency, for all but the route that is called most: FastAPI takes its time."""
    return services_of(request)


class Door(SecurityBase):
    """Lets those in who have a scope. All of it in one dependency, since FastAPI takes its time over each.

    To OpenAPI it is the scheme of the key.
    """

    model = BEARER.model
    scheme_name = BEARER.scheme_name

    def __init__(self, scope: Scope, who: Callable[[Access, Request], Awaitable[Caller]]) -> None:
        self._scope, self._who = scope, who

    async def __call__(self, request: Request) -> Caller:
        """Who calls. Raises `Problem` 401 and 403."""
        caller = await self._who(services_of(request).access, request)
        caller.require(self._scope)
        return caller


ServicesDep = Annotated[Services, Depends(services)]
SubmitterDep = Annotated[Caller, Security(Door("submit", Access.caller))]
"""One who may submit, cancel and erase."""
ReaderDep = Annotated[Caller, Security(Door("read", Access.caller))]
"""One who may read."""
OnlookerDep = Annotated[Caller, Security(Door("read", Access.viewer))]
"""One who may read, also by a signed URL."""
AdministratorDep = Annotated[Caller, Security(Door("admin", Access.overseer))]
"""One who may see how the service does, also while Redis is away."""
