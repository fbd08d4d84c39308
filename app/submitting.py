"""From a request body to a job, for every call that submits one."""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request

from app.access import Caller
from app.dependencies import Services
from app.init_image import Size
from app.problems import Problem
from app.webhook_url import require_callable
from jobs.record import JobRecord
from jobs.request import JobRequest, evaluations, resolve
from jobs.spec import JobSpec
from jobs.submit import Idempotency

MAX_IDEMPOTENCY_KEY = 255


@dataclass(frozen=True)
class Order:
    """A request with every choice made, and what it costs in evaluations."""

    spec: JobSpec
    evaluations: int


async def order_of(services: Services, caller: Caller, body: JobRequest, request_id: str | None) -> Order:
    """What a body asks for. Raises `ModelUnknown` and `RequestRefused`; nothing is kept."""
    catalogue = await services.store.models()
    limit = services.settings.max_job_evaluations
    spec = resolve(body, catalogue, limit, caller=caller.name, request_id=request_id)
    require_callable(spec.webhook_url, services.settings)
    card = catalogue.find(spec.model)
    if spec.init_image is not None:
        # Last, as it costs most.
        fitted = await services.fitter.fit(spec.init_image, Size(card.width, card.height))
        spec = spec.model_copy(update={"init_image": fitted})
    sampler = card.sampler(spec.sampler)
    assert sampler is not None
    return Order(spec, evaluations(spec, sampler))


async def submit(services: Services, request: Request, order: Order, promise: Idempotency | None) -> JobRecord:
    """The accepted job. Raises what `JobStore.submit` does."""
    record = await services.store.submit(order.spec, order.evaluations, promise)
    request.state.job_id = record.id
    return record


def promise_of(request: Request, body: JobRequest) -> Idempotency | None:
    """The caller's Idempotency-Key, if there is one; the body is hashed before a seed is drawn for it."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable():
        detail = f"an Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_idempotency_key", detail)
    return Idempotency(key, hashlib.sha256(body.model_dump_json().encode()).hexdigest())
