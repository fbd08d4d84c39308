"""`/v1/models` and `/v1/samplers`: what is served, as the workers announce it."""

from typing import Any

from fastapi import APIRouter

from app.dependencies import ServicesDep
from app.problems import DESCRIBED
from jobs.catalogue import Catalogue, ModelCard

router = APIRouter(prefix="/v1", tags=["models"], responses={"default": DESCRIBED})


def _view(card: ModelCard, catalogue: Catalogue) -> dict[str, Any]:
    shown = card.model_dump(mode="json", exclude={"samplers"})
    samplers = [sampler.name for sampler in card.samplers]
    return {**shown, "object": "model", "samplers": samplers, "workers": catalogue.workers[card.id]}


@router.get("/models")
async def models(services: ServicesDep) -> dict[str, Any]:
    """The known models; `workers` says how many serve each now."""
    catalogue = await services.store.catalogue()
    data = [_view(card, catalogue) for card in catalogue.models.values()]
    return {"object": "list", "data": data, "next_cursor": None}


@router.get("/models/{model_id}", responses={404: DESCRIBED})
async def model(model_id: str, services: ServicesDep) -> dict[str, Any]:
    """One model."""
    catalogue = await services.store.catalogue()
    return _view(catalogue.find(model_id), catalogue)


@router.get("/samplers")
async def samplers(services: ServicesDep) -> dict[str, Any]:
    """The samplers that any of the models can be run with."""
    catalogue = await services.store.catalogue()
    cards = {card.name: card for model in catalogue.models.values() for card in model.samplers}
    data = [{"object": "sampler", **card.model_dump()} for card in cards.values()]
    return {"object": "list", "data": data, "next_cursor": None}
