"""The application: routes over the job store. Nothing happens on import; `create_app` makes one."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from app import middleware, problems
from app.access import Access, signer_of
from app.application import Application
from app.dependencies import Services
from app.direct import name_of
from app.links import Links
from app.listeners import Listeners
from app.metrics import Metrics
from app.rate_limit import RateLimit, parsed
from app.routes import docs, end, events, health, listing, models, openai, playground, read, stats, submit
from jobs.api_keys import Keyring
from jobs.connection import connect, connect_async
from jobs.events import EventReader
from jobs.results.places import Results, opened_places
from jobs.results.sweeping import sweeping
from jobs.settings import Settings, load_settings
from jobs.store import JobStore
from jobs.watch import Watcher

DESCRIPTION = """\
Denoising diffusion as a job service: name a sampler and a step count, get a PNG.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Times are RFC 3339 in UTC, what is not known
is null, and fields of answers are only ever added. HEAD works wherever GET does. Every answer has `X-Request-ID`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API, set up by `settings` or by the environment. Raises `SettingsError` and `StoreUnsuitable`."""
    settings = settings or load_settings()
    limit, metrics, signer = parsed(settings.rate_limit), Metrics(), signer_of(settings)
    places = opened_places(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect_async(settings)
        results = Results(redis, places)
        store = JobStore(
            redis,
            connect(settings),
            settings.max_queued_evaluations,
            settings.max_caller_queued_evaluations,
            results,
        )
        services = Services(
            settings=settings,
            store=store,
            events=EventReader(redis),
            watcher=Watcher(redis),
            rate_limit=RateLimit(limit, redis),
            listeners=Listeners(settings.max_listeners, metrics),
            metrics=metrics,
            links=Links(settings.public_url, signer),
            access=Access(settings, Keyring(redis), signer),
        )
        app.state.services = services
        async with services.events.running(), services.watcher.running(), sweeping(results, redis):
            yield
        await store.close()

    app = Application(
        title="Unfog",
        summary="Diffusion models as a job service.",
        description=DESCRIPTION,
        servers=[{"url": settings.public_url.rstrip("/")}] if settings.public_url else None,
        middleware=middleware.layers(settings, metrics),
        lifespan=lifespan,
        # FastAPI's pages load scripts from elsewhere; /docs is served from here.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=name_of,
    )
    problems.install(app)
    app.router.routes.extend(read.router.routes)  # what is in an included router FastAPI looks up twice
    for routes in (submit, listing, events, end, models, openai, stats, health, docs, playground):
        app.include_router(routes.router)
    return app
