"""`/health/live` and `/health/ready`: for whoever starts, watches and balances the service."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.dependencies import Services, ServicesDep
from jobs.connection import REDIS_DOWN, require_no_eviction
from jobs.errors import StoreUnsuitable

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/ready", responses={503: {"description": "Not ready; `reason` says why"}})
async def ready(services: ServicesDep) -> Response:
    """Redis is there, keeps what it is given, and the models are known. Workers are counted in the body."""
    try:
        body, reason = await _readiness(services)
    except REDIS_DOWN:
        body = {"redis": False, "workers": 0, "models": [], "refusals": []}
        reason = "redis does not answer"
    status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
    name = "ready" if reason is None else "not_ready"
    return JSONResponse({"status": name, "reason": reason, **body}, int(status))


async def _readiness(services: Services) -> tuple[dict[str, Any], str | None]:
    health = await services.store.health()
    catalogue = await services.store.catalogue()
    workers = max(catalogue.workers.values(), default=0)
    refusals = await services.store.refusals()
    body = {"redis": True, "workers": workers, "models": list(catalogue.models), "refusals": list(refusals)}
    try:
        require_no_eviction(str(health["maxmemory_policy"]))
    except StoreUnsuitable as error:
        return body, str(error)
    if not catalogue.models:
        return body, refusals[0] if refusals else "no worker has announced a model yet"
    if services.settings.ready_needs_worker and not workers:
        return body, refusals[0] if refusals else "no worker is running"
    return body, None
