"""`GET /v1/jobs/{job_id}` and what the job has made: its pictures and its animation."""

from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from app.answers import NEVER_CHANGES, tagged_answer
from app.dependencies import OnlookerDep, ReaderDep, services_of
from app.described import ANIMATION, ETAG, PICTURE, PICTURE_LINK, RETRY_AFTER, SIGNED, answer, described
from app.direct import DirectRoute, name_of
from app.job_answers import animation_answer, job_answer, outcome_answer
from app.negotiation import APNG, PNG, preferred_type
from app.reach import job_of
from app.schemas import JobView
from jobs.errors import JobNotFound

# No part of it is left to `include_router`; see `app.main`.
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=DirectRoute, generate_unique_id_function=name_of)

NOT_YET = answer("It has not ended; when to ask again.", RETRY_AFTER, model=JobView)
UNCHANGED = answer("The caller has it already, by `If-None-Match`.", ETAG)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={
        200: answer("The job, or its pictures.", ETAG, content=PICTURE, links=PICTURE_LINK),
        202: NOT_YET,
        304: UNCHANGED,
        **described("job_not_found", "not_acceptable", "job_failed", "job_canceled", "job_gone"),
    },
)
async def read_job(job_id: str, request: Request, caller: ReaderDep) -> Response:
    """The job as JSON; with `Accept: image/png` its pictures, several as a grid."""
    services = services_of(request)
    answer_type = preferred_type(request)
    record = await job_of(services, caller, job_id)
    headers = {"Vary": "Accept"}
    if answer_type != PNG:
        return await job_answer(services, request, record, HTTPStatus.OK, headers)
    return await outcome_answer(services, request, record, answer_type, headers)


@router.get(
    "/{job_id}/images/{index}.png",
    response_class=Response,
    responses={
        200: answer("The picture.", ETAG, content=PICTURE),
        304: UNCHANGED,
        **described("job_not_found", "job_gone", *SIGNED),
    },
)
async def read_image(job_id: str, index: str, request: Request, caller: OnlookerDep) -> Response:
    """One picture of a job. It never changes."""
    services = services_of(request)
    record = await job_of(services, caller, job_id)
    picture = next((p for p in record.meta.pictures if str(p.index) == index), None)
    if picture is None:
        raise JobNotFound(f"job {job_id} has no picture {index}; it has {len(record.meta.pictures)} so far")
    png = partial(services.store.picture, picture)
    return await tagged_answer(request, f'"{picture.sha256}"', PNG, png, NEVER_CHANGES)


@router.get(
    "/{job_id}/animation",
    response_class=Response,
    responses={
        200: answer("The animated PNG, all pictures as one.", ETAG, content=ANIMATION),
        202: NOT_YET,
        304: UNCHANGED,
        **described(
            "job_not_found", "no_animation", "not_acceptable", "job_failed", "job_canceled", "job_gone", *SIGNED
        ),
    },
)
async def read_animation(job_id: str, request: Request, caller: OnlookerDep) -> Response:
    """The denoising of a job as an animated PNG, if `animation` was asked for at submit."""
    services = services_of(request)
    answer_type = preferred_type(request, (APNG, PNG))
    record = await job_of(services, caller, job_id)
    return await animation_answer(services, request, record, answer_type, {"Vary": "Accept"})
