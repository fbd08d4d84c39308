"""Answers with an entity tag, so that a caller who asks again is told when there is nothing new."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import Request, Response
from pydantic import BaseModel

from app.negotiation import JSON, has_already

NEVER_CHANGES = {"Cache-Control": "private, max-age=31536000, immutable"}
ASK_EACH_TIME = {"Cache-Control": "private, no-cache"}


def json_answer(
    request: Request,
    view: BaseModel,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A view as JSON; 304 for a reader who has it already. The tag is weak, since compression keeps it."""
    body, headers = view.model_dump_json().encode(), dict(headers or {})
    if request.method != "GET" or status != HTTPStatus.OK:
        return Response(body, int(status), headers, JSON)
    headers["ETag"] = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    if has_already(request, headers["ETag"]):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(body, headers=headers, media_type=JSON)


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
