"""A job as an answer: as JSON, or as the pictures that it has made, will make or never will."""

import contextlib
import math
from collections.abc import Mapping
from functools import lru_cache, partial
from http import HTTPStatus

from fastapi import Request, Response

from app.answers import ASK_EACH_TIME, NEVER_CHANGES, Written, json_answer, tagged_answer, written
from app.dependencies import Services
from app.links import Links
from app.negotiation import PNG
from app.pictures import sheet_of, sheet_tag
from app.problems import Problem
from app.schemas import view_of
from jobs.connection import REDIS_DOWN
from jobs.estimate import NOTHING
from jobs.record import JobRecord, Status

MAX_RETRY_AFTER_S = 30
KEPT = 512
"""Answers of ended jobs that one process keeps."""


async def job_answer(
    services: Services, request: Request, record: JobRecord, status: HTTPStatus, headers: Mapping[str, str]
) -> Response:
    """The job as JSON; with 202 also when to ask again."""
    if status == HTTPStatus.OK and _lasts(record, services.links):
        return json_answer(request, _kept(record, services.links), status, headers)
    estimate = NOTHING
    with contextlib.suppress(*REDIS_DOWN):  # a caller whose job was accepted must learn its id
        estimate = await services.store.estimate(record)
    if status == HTTPStatus.ACCEPTED:
        again_s = min(MAX_RETRY_AFTER_S, max(1, math.ceil(estimate.eta_s or 1)))
        headers = {**headers, "Retry-After": str(again_s)}
    return json_answer(request, view_of(record, services.links, estimate), status, headers)


def _lasts(record: JobRecord, links: Links) -> bool:
    """Whether the answer follows from the record alone, and is short enough to be kept.

    The job is read from Redis each time; what is kept is only how it was written down.
    """
    return record.status.ended and links.signer is None and record.spec.init_image is None


@lru_cache(maxsize=KEPT)
def _kept(record: JobRecord, links: Links) -> Written:
    return written(view_of(record, links))


async def outcome_answer(
    services: Services, request: Request, record: JobRecord, answer_type: str, headers: Mapping[str, str]
) -> Response:
    """What has come of a job, as `answer_type`: 202 while nothing has, 409 when there will be no picture."""
    if not record.status.ended:
        return await job_answer(services, request, record, HTTPStatus.ACCEPTED, headers)
    if answer_type != PNG:
        return await job_answer(services, request, record, HTTPStatus.OK, headers)
    _require_success(record, headers)
    pictures = record.meta.pictures
    sheet = partial(sheet_of, services.store, pictures)
    return await tagged_answer(request, sheet_tag(pictures), PNG, sheet, {**headers, **ASK_EACH_TIME})


async def animation_answer(
    services: Services, request: Request, record: JobRecord, answer_type: str, headers: Mapping[str, str]
) -> Response:
    """The denoising of a job: 404 if nobody asked for it, else as its pictures are answered."""
    if not record.spec.animation:
        detail = f"job {record.id} was submitted without animation; submit it again with animation true"
        raise Problem(HTTPStatus.NOT_FOUND, "no_animation", detail)
    if not record.status.ended:
        return await job_answer(services, request, record, HTTPStatus.ACCEPTED, headers)
    _require_success(record, headers)
    animation = partial(services.store.animation, record)
    if record.meta.animation is None:
        await animation()  # says what has become of it
    assert record.meta.animation is not None
    tag = f'"{record.meta.animation.sha256}"'
    return await tagged_answer(request, tag, answer_type, animation, {**headers, **NEVER_CHANGES})


def _require_success(record: JobRecord, headers: Mapping[str, str]) -> None:
    """Raise `Problem` 409 for a job that has ended without what it was to make."""
    if record.status is Status.SUCCEEDED:
        return
    reason = record.failure.detail if record.failure else "it was canceled"
    detail = f"job {record.id} has no picture: {reason}"
    raise Problem(HTTPStatus.CONFLICT, f"job_{record.status}", detail, headers=headers)
