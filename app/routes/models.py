"""`/v1/models` and `/v1/samplers`: what is served, as the workers announce it."""

from fastapi import APIRouter, Request, Response

from app.answers import json_answer
from app.dependencies import ReaderDep, ServicesDep
from app.described import ETAG, answer, described
from app.model_views import ModelList, ModelView, SamplerList, model_view, sampler_view
from app.routes.read import UNCHANGED

router = APIRouter(prefix="/v1", tags=["models"])


@router.get(
    "/models",
    response_model=ModelList,
    responses={200: answer("The models.", ETAG), 304: UNCHANGED, **described()},
)
async def list_models(request: Request, services: ServicesDep, caller: ReaderDep) -> Response:
    """The known models, the default first; `workers` says how many serve each now."""
    catalogue = await services.store.catalogue()
    data = [model_view(card, catalogue, services.settings) for card in catalogue.models.values()]
    return json_answer(request, ModelList(data=data))


@router.get(
    "/models/{model_id}",
    response_model=ModelView,
    responses={
        200: answer("The model.", ETAG),
        304: UNCHANGED,
        **described("model_not_found", "no_models"),
    },
)
async def read_model(model_id: str, request: Request, services: ServicesDep, caller: ReaderDep) -> Response:
    """One model: its classes, samplers, defaults and limits, and what was measured of it."""
    catalogue = await services.store.catalogue()
    return json_answer(request, model_view(catalogue.find(model_id), catalogue, services.settings))


@router.get(
    "/samplers",
    response_model=SamplerList,
    responses={200: answer("The samplers.", ETAG), 304: UNCHANGED, **described()},
)
async def list_samplers(request: Request, services: ServicesDep, caller: ReaderDep) -> Response:
    """The samplers that any of the models can be run with, and their parameters."""
    catalogue = await services.store.catalogue()
    cards = {card.name: card for model in catalogue.models.values() for card in model.samplers}
    return json_answer(request, SamplerList(data=[sampler_view(card) for card in cards.values()]))
