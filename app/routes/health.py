"""`/health/live` and `/health/ready`: for whoever starts, watches and balances the service."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.answers import json_answer
from app.dependencies import Services, ServicesDep
from app.described import answer
from jobs.connection import REDIS_DOWN, require_no_eviction
from jobs.errors import StoreUnsuitable

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Readiness(BaseModel):
    """Whether jobs can be taken, and what is missing if not. `workers` is that of the model with the most."""

    status: Literal["ready", "not_ready"]
    reason: str | None
    redis: bool
    workers: int
    models: list[str]
    refusals: list[str]


@router.get("/live", response_model=Live, responses={200: answer("The process answers.")})
async def live(request: Request) -> Response:
    """The process answers."""
    return json_answer(request, Live())


@router.get(
    "/ready",
    response_model=Readiness,
    responses={
        200: answer("Jobs can be taken."),
        503: answer("They cannot; `reason` says why.", model=Readiness),
    },
)
async def ready(request: Request, services: ServicesDep) -> Response:
    """Redis is there, keeps what it is given, and the models are known. Workers are counted in the body."""
    try:
        readiness = await _readiness(services)
    except REDIS_DOWN:
        readiness = Readiness(
            status="not_ready", reason="redis does not answer", redis=False, workers=0, models=[], refusals=[]
        )
    status = HTTPStatus.OK if readiness.status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return json_answer(request, readiness, status)


async def _readiness(services: Services) -> Readiness:
    health = await services.store.health()
    catalogue = await services.store.catalogue()
    workers = max(catalogue.workers.values(), default=0)
    refusals = list(await services.store.refusals())
    reason = None
    try:
        require_no_eviction(str(health["maxmemory_policy"]))
    except StoreUnsuitable as error:
        reason = str(error)
    if reason is None and not catalogue.models:
        reason = refusals[0] if refusals else "no worker has announced a model yet"
    if reason is None and services.settings.ready_needs_worker and not workers:
        reason = refusals[0] if refusals else "no worker is running"
    return Readiness(
        status="ready" if reason is None else "not_ready",
        reason=reason,
        redis=True,
        workers=workers,
        models=list(catalogue.models),
        refusals=refusals,
    )
