"""`GET /v1/jobs/{job_id}/events`: what happens to a job, as it happens."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.dependencies import OnlookerDep, ServicesDep
from app.described import SIGNED, answer, described
from app.middleware.head import ASKED
from app.negotiation import EVENTS, preferred_type
from app.reach import job_of
from app.stream import JobStream
from app.waiting import cancel_if_left

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

ERRORS = described("job_not_found", "job_gone", "not_acceptable", "too_many_listeners", *SIGNED)


async def stream_of(
    job_id: str, request: Request, services: ServicesDep, caller: OnlookerDep
) -> AsyncIterator[JobStream | None]:
    """The stream, if there is a place for one; None for who wants its headers alone.

    What is wrong comes up here, before the answer has begun.
    """
    preferred_type(request, (EVENTS,))
    record = await job_of(services, caller, job_id)
    if ASKED in request.scope:
        yield None
        return
    with services.listeners.stream(job_id):
        async with JobStream.opened(services, record) as stream:
            yield stream
    if not stream.over:
        await cancel_if_left(services, record)


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={200: answer("The stream; the data of each event is JSON."), **ERRORS},
)
async def events(stream: Annotated[JobStream | None, Depends(stream_of)]) -> AsyncIterator[ServerSentEvent]:
    """What happens to a job, as server-sent events: `snapshot` with the job, `progress` and `preview`, and `done`
    with the job, after which the stream ends. A new connection begins with a snapshot, whatever came before."""
    if stream is not None:
        async for event in stream.events():
            yield event
