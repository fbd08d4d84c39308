"""A direct route takes parts of its path, the request and a caller; anything else is a mistake found at start."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Request, Response

from app.dependencies import ReaderDep, ServicesDep
from app.direct import DirectRoute


async def with_a_query(job_id: str, verbose: bool, request: Request, caller: ReaderDep) -> Response: ...


async def with_a_number_in_the_path(job_id: int, request: Request, caller: ReaderDep) -> Response: ...


async def with_another_dependency(
    job_id: str, request: Request, services: ServicesDep, caller: ReaderDep
) -> Response: ...


async def open_to_everybody(job_id: str, request: Request) -> Response: ...


async def with_other_names(job_id: str, asked: Request, who: ReaderDep) -> Response: ...


@pytest.mark.parametrize(
    "endpoint",
    [with_a_query, with_a_number_in_the_path, with_another_dependency, open_to_everybody, with_other_names],
)
def test_an_endpoint_that_it_cannot_call_is_refused(endpoint: Callable[..., Any]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        APIRouter(route_class=DirectRoute).get("/jobs/{job_id}")(endpoint)


def test_one_that_it_can_call_is_taken() -> None:
    async def read(job_id: str, request: Request, caller: ReaderDep) -> Response: ...

    router = APIRouter(route_class=DirectRoute)
    router.get("/jobs/{job_id}")(read)
    assert len(router.routes) == 1
