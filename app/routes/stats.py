"""`/v1/stats` and `/metrics`: how much work there is, for who scales and who watches the service."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.answers import json_answer
from app.dependencies import AdministratorDep, ServicesDep
from app.described import ETAG, answer, described
from app.routes.read import UNCHANGED
from jobs.connection import REDIS_DOWN
from jobs.stats import Stats

router = APIRouter(tags=["operation"])

_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}


class StatsView(Stats):
    """The load of the service, and of each model by its id."""

    object: Literal["stats"] = "stats"


@router.get(
    "/v1/stats",
    response_model=StatsView,
    responses={200: answer("The load.", ETAG), 304: UNCHANGED, **described()},
)
async def read_stats(request: Request, services: ServicesDep, caller: AdministratorDep) -> Response:
    """Queued and running jobs and evaluations, live workers and their rates, in all and by model."""
    stats = await services.store.stats()
    return json_answer(request, StatsView(**stats.model_dump()))


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: answer("Prometheus' text format, version 0.0.4.", content=_TEXT), **described()},
)
async def read_metrics(services: ServicesDep, caller: AdministratorDep) -> Response:
    """What this process counts, and the load of the service; without Redis `unfog_redis_up` is 0 and there is no
    load."""
    try:
        stats = await services.store.stats()
    except REDIS_DOWN:
        stats = None
    return Response(services.metrics.exposition(stats), media_type=CONTENT_TYPE_PLAIN_0_0_4)
