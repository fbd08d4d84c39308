"""`POST /v1/jobs/{job_id}/cancel` and `DELETE /v1/jobs/{job_id}`: a job that is not wanted any more."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from app.dependencies import ServicesDep, SubmitterDep
from app.described import RETRY_AFTER, answer, described
from app.job_answers import job_answer
from app.reach import job_of
from app.schemas import JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

STOPPING = answer("It runs and stops at its next tick.", RETRY_AFTER, model=JobView)


@router.post(
    "/{job_id}/cancel",
    response_model=JobView,
    responses={
        200: answer("It has ended, by this or before."),
        202: STOPPING,
        **described("job_not_found", "job_gone"),
    },
)
async def cancel_job(job_id: str, request: Request, services: ServicesDep, caller: SubmitterDep) -> Response:
    """Cancel a job: a queued one at once, a running one at its next tick; one that has ended stays as it is."""
    record = await services.store.cancel((await job_of(services, caller, job_id)).id)
    status = HTTPStatus.OK if record.status.ended else HTTPStatus.ACCEPTED
    return await job_answer(services, request, record, status, {})


@router.delete(
    "/{job_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={
        202: answer("It had not ended and is canceled; then it can be erased.", RETRY_AFTER, model=JobView),
        204: answer("It had ended and is erased, with its pictures."),
        **described("job_not_found", "job_gone", "job_unfinished"),
    },
)
async def delete_job(job_id: str, request: Request, services: ServicesDep, caller: SubmitterDep) -> Response:
    """Cancel an unfinished job; erase one that has ended, after which it is 410."""
    record = await job_of(services, caller, job_id)
    if not record.status.ended:
        record = await services.store.cancel(record.id)
        return await job_answer(services, request, record, HTTPStatus.ACCEPTED, {})
    await services.store.erase(record.id)
    return Response(status_code=int(HTTPStatus.NO_CONTENT))
