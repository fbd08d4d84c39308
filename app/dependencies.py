"""What a route needs, made once when the application starts."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from jobs.events import EventReader
from jobs.settings import Settings
from jobs.store import JobStore


@dataclass(frozen=True)
class Services:
    """The settings and the ways to Redis of one running application."""

    settings: Settings
    store: JobStore
    events: EventReader


def services(request: Request) -> Services:
    """The services of the application that got this request."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


ServicesDep = Annotated[Services, Depends(services)]
