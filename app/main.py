"""The application: routes over the job store. Nothing happens on import; `create_app` makes one."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from app import problems
from app.dependencies import Services
from app.routes import health, jobs, models
from jobs.connection import connect, connect_async
from jobs.events import EventReader
from jobs.settings import Settings, load_settings
from jobs.store import JobStore


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API, set up by `settings` or by the environment. Raises `SettingsError` for a bad environment."""
    settings = settings or load_settings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect_async(settings)
        store = JobStore(redis, connect(settings), settings.max_queued_evaluations)
        events = EventReader(redis)
        app.state.services = Services(settings, store, events)
        async with events.running():
            yield
        await store.close()

    app = FastAPI(
        title="Unfog",
        summary="Diffusion models as a job service.",
        lifespan=lifespan,
        # FastAPI's pages load scripts from elsewhere; /openapi.json is served from here.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for routes in (jobs, models, health):
        app.include_router(routes.router)
    return app
