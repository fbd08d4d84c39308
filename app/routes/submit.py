"""`POST /v1/jobs`: submit a job."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.answers import json_answer
from app.body import read_json
from app.dependencies import ServicesDep, SubmitterDep
from app.described import APPLIED, LINKS, LOCATION, PICTURE, RETRY_AFTER, answer, described, reference
from app.examples import REQUESTS
from app.job_answers import outcome_answer
from app.negotiation import JSON, preferred_type, preferred_wait_s
from app.schemas import CostView, JobView, request_of
from app.submitting import order_of, promise_of, submit
from app.waiting import wait_for_end
from jobs.request import JobRequest

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": reference(JobRequest), "examples": REQUESTS}},
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Within 24 hours the same key and body give the same job.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        },
        {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=N`: the answer waits up to N seconds, at most 60, for the job's end.",
            "schema": {"type": "string"},
            "example": "wait=10",
        },
    ],
}


class SubmitQuery(BaseModel):
    """What may stand behind the question mark."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Whether only the cost is told, and no job is made.")


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobView,
    openapi_extra=BODY,
    responses={
        200: answer(
            "The job or its picture, if it ended within `Prefer: wait`; with `dry_run` the cost.",
            LOCATION,
            APPLIED,
            model=JobView | CostView,
            content={JSON: {}, **PICTURE},  # many generated clients take the first
        ),
        202: answer(
            "The job is accepted and has not ended.", LOCATION, APPLIED, RETRY_AFTER, model=JobView, links=LINKS
        ),
        **described(
            "not_json",
            "duplicate_key",
            "body_incomplete",
            "model_not_found",
            "not_acceptable",
            "body_too_slow",
            "job_failed",
            "job_canceled",
            "job_gone",
            "body_too_large",
            "unsupported_media_type",
            "invalid_request",
            "idempotency_conflict",
            "bad_idempotency_key",
            "rate_limited",
            "queue_full",
            "caller_queue_full",
            "store_full",
            "no_models",
        ),
    },
)
async def submit_job(
    request: Request,
    services: ServicesDep,
    caller: SubmitterDep,
    query: Annotated[SubmitQuery, Query()],
) -> Response:
    """Submit a job. With `Prefer: wait=N` the answer waits up to N seconds for its end."""
    answer_type = preferred_type(request)
    await services.rate_limit.take(caller.rate_key)
    body = await read_json(request, JobRequest, services.settings.max_body_bytes)
    promise = promise_of(request, body)
    order = await order_of(services, caller, body, request.state.request_id)
    if query.dry_run:
        estimate = await services.store.estimate_new(order.spec, order.evaluations)
        cost = CostView(
            model=order.spec.model,
            evaluations=order.evaluations,
            queue_position=estimate.queue_position,
            eta_s=estimate.eta_s,
            request=request_of(order.spec),
        )
        return json_answer(request, cost)
    record = await submit(services, request, order, promise)
    headers = {"Vary": "Prefer, Accept", "Location": services.links.job(record)}
    wait_s = preferred_wait_s(request)
    if wait_s:
        record = await wait_for_end(services, request, record, wait_s)
        headers["Preference-Applied"] = f"wait={wait_s}"
    return await outcome_answer(services, request, record, answer_type, headers)
