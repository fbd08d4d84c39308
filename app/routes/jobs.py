"""`/v1/jobs`: submit a job, see how it goes, get its pictures."""

import asyncio
import contextlib
import hashlib
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.body import read_json
from app.dependencies import Services, ServicesDep
from app.negotiation import PNG, preferred_type, preferred_wait_s
from app.pictures import picture_response
from app.problems import DESCRIBED, Problem
from app.schemas import JobView, job_url, view_of
from jobs.connection import REDIS_DOWN
from jobs.errors import JobNotFound
from jobs.record import JobRecord, Status
from jobs.request import JobRequest, evaluations, resolve
from jobs.submit import Idempotency

RETRY_AFTER_S = "1"
MAX_IDEMPOTENCY_KEY = 255
CHECK_EVERY_S = 2.0
"""How often one who waits looks unasked: RQ's own tools end jobs without a word to us."""

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses={"default": DESCRIBED})

_PICTURE: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
_SUBMIT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": JobRequest.model_json_schema()}},
    }
}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobView,
    openapi_extra=_SUBMIT_BODY,
    responses={
        200: {"description": "It ended within `Prefer: wait`.", "model": JobView, "content": _PICTURE},
        **dict.fromkeys((400, 404, 406, 409, 413, 415, 422, 429, 503), DESCRIBED),
    },
)
async def submit(request: Request, services: ServicesDep) -> Response:
    """Submit a job. With `Prefer: wait=N` the answer waits up to N seconds for its end."""
    answer_type = preferred_type(request)
    wait_s = preferred_wait_s(request)
    body = await read_json(request, JobRequest, services.settings.max_body_bytes)
    catalogue = await services.store.catalogue()
    spec = resolve(body, catalogue, services.settings.max_job_evaluations)
    sampler = catalogue.find(spec.model).sampler(spec.sampler)
    assert sampler is not None
    promise = _idempotency(request, body)
    record = await services.store.submit(spec, evaluations(spec, sampler), promise)
    headers = {"Vary": "Prefer, Accept", "Location": job_url(record, services.settings.public_url)}
    if wait_s:
        record = await _wait(services, record, wait_s)
        headers["Preference-Applied"] = f"wait={wait_s}"
    return await _answer(services, record, answer_type, headers)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={
        200: {"content": _PICTURE},
        202: {"description": "A picture was asked for and is not there yet.", "model": JobView},
        **dict.fromkeys((404, 406, 409, 503), DESCRIBED),
    },
)
async def read(job_id: str, request: Request, services: ServicesDep) -> Response:
    """The job as JSON; with `Accept: image/png` its pictures, several as a grid."""
    answer_type = preferred_type(request)
    record = await services.store.get(job_id)
    if answer_type != PNG:
        return _job(services, record, HTTPStatus.OK, {"Vary": "Accept"})
    return await _answer(services, record, answer_type, {"Vary": "Accept"})


@router.get(
    "/{job_id}/images/{index}.png",
    response_class=Response,
    responses={200: {"content": _PICTURE}, 404: DESCRIBED, 503: DESCRIBED},
)
async def image(job_id: str, index: str, services: ServicesDep) -> Response:
    """One picture of a job. It never changes."""
    record = await services.store.get(job_id)
    picture = next((p for p in record.meta.pictures if str(p.index) == index), None)
    if picture is None:
        raise JobNotFound(f"job {job_id} has no picture {index}; it has {len(record.meta.pictures)} so far")
    headers = {"ETag": f'"{picture.sha256}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return Response(await services.store.picture(picture), media_type=PNG, headers=headers)


def _idempotency(request: Request, body: JobRequest) -> Idempotency | None:
    """The caller's promise, if there is one; the body is hashed before a seed is drawn for it."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable():
        detail = f"an Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_idempotency_key", detail)
    return Idempotency(key, hashlib.sha256(body.model_dump_json().encode()).hexdigest())


async def _wait(services: Services, record: JobRecord, wait_s: float) -> JobRecord:
    """The job when it has ended, or as it is after `wait_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    with services.events.listen(record.id) as woken:
        while True:
            try:
                record = await services.store.get(record.id)
            except REDIS_DOWN:
                return record  # it is accepted, and the caller must learn its id
            left_s = deadline - loop.time()
            if record.status.ended or left_s <= 0:
                return record
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), min(left_s, CHECK_EVERY_S))
            woken.clear()


async def _answer(services: Services, record: JobRecord, answer_type: str, headers: dict[str, str]) -> Response:
    """The answer to who may want a picture: 200 when it is there, 202 while it is not, 409 when it never will."""
    if not record.status.ended:
        return _job(services, record, HTTPStatus.ACCEPTED, {**headers, "Retry-After": RETRY_AFTER_S})
    if answer_type != PNG:
        return _job(services, record, HTTPStatus.OK, headers)
    if record.status is Status.SUCCEEDED:
        response = await picture_response(services.store, record)
        response.headers.update(headers)
        return response
    reason = record.failure.detail if record.failure else "it was canceled"
    detail = f"job {record.id} has no picture: {reason}"
    raise Problem(HTTPStatus.CONFLICT, f"job_{record.status}", detail, headers=headers)


def _job(services: Services, record: JobRecord, status: HTTPStatus, headers: dict[str, str]) -> Response:
    view = view_of(record, services.settings.public_url)
    return JSONResponse(view.model_dump(mode="json"), int(status), headers)
