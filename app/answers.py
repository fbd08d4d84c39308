"""Answers with an entity tag, so that a caller who asks again is told when there is nothing new."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from fastapi import Request, Response
from pydantic import BaseModel

from app.negotiation import JSON, has_already

NEVER_CHANGES = {"Cache-Control": "private, max-age=31536000, immutable"}
ASK_EACH_TIME = {"Cache-Control": "private, no-cache"}


@dataclass(frozen=True)
class Written:
    """A body of JSON."""

    body: bytes

    @cached_property
    def tag(self) -> str:
        """Its entity tag; weak, since compression keeps it."""
        return f'W/"{hashlib.sha256(self.body).hexdigest()[:32]}"'


def written(view: BaseModel) -> Written:
    """A view as JSON."""
    return Written(view.model_dump_json().encode())


def json_answer(
    request: Request,
    view: BaseModel | Written,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A view as JSON; 304 for a reader who has it already."""
    if isinstance(view, BaseModel):
        view = written(view)
    if request.method != "GET" or status != HTTPStatus.OK:
        return Response(view.body, int(status), headers, JSON)
    headers = {**(headers or {}), "ETag": view.tag}
    if has_already(request, view.tag):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(view.body, headers=headers, media_type=JSON)


async def tagged_answer(
    request: Request,
    tag: str,
    media_type: str,
    body: Callable[[], Awaitable[bytes]],
    headers: Mapping[str, str],
) -> Response:
    """Bytes that `tag` stands for; 304, and `body` never asked, for a reader who has them."""
    headers = {**headers, "ETag": tag}
    if request.method == "GET" and has_already(request, tag):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(await body(), headers=headers, media_type=media_type)
