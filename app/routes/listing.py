"""`GET /v1/jobs`: the caller's jobs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.answers import json_answer
from app.dependencies import ReaderDep, ServicesDep
from app.described import ETAG, PAGE_LINKS, answer, described
from app.routes.read import UNCHANGED
from app.schemas import JobList, view_of
from jobs.record import Status

MAX_LIMIT = 100
MAX_CURSOR = 256

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class ListQuery(BaseModel):
    """What may stand behind the question mark."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = Field(None, description="Only jobs that are so.")
    limit: int = Field(20, ge=1, le=MAX_LIMIT, description="The most jobs of a page.")
    cursor: str | None = Field(None, max_length=MAX_CURSOR, description="`next_cursor` of the page before.")


@router.get(
    "",
    response_model=JobList,
    responses={
        200: answer("A page of jobs.", ETAG, links=PAGE_LINKS),
        304: UNCHANGED,
        **described("invalid_request"),
    },
)
async def list_jobs(
    request: Request, services: ServicesDep, caller: ReaderDep, query: Annotated[ListQuery, Query()]
) -> Response:
    """The caller's jobs, newest first, those of the last seven days that have not expired."""
    page = await services.store.jobs_of(caller.name, query.status, query.cursor, query.limit)
    estimates = await services.store.estimates(page.records)
    data = [
        view_of(record, services.links, estimate) for record, estimate in zip(page.records, estimates, strict=True)
    ]
    return json_answer(request, JobList(data=data, next_cursor=page.next_cursor))
