"""Reading a request body: right type, bounded, JSON, an object that fits. Nothing of a bad one goes further."""

from http import HTTPStatus
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from app.problems import Problem, invalid, refusals_of

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, kind: type[Body], limit_bytes: int) -> Body:
    """The body as `kind`. Raises `Problem`: 415 wrong type, 413 too large, 400 not JSON, 422 does not fit."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        detail = f"send application/json, not {media_type or 'a body without a type'}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        detail = f"send the body as it is, without content-encoding {encoding}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    try:
        raw = await _read(request, limit_bytes)
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "body_incomplete", "the body did not arrive") from None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            reason = error.errors()[0]["msg"].removeprefix("Invalid JSON: ")
            raise Problem(HTTPStatus.BAD_REQUEST, "not_json", f"the body is not JSON: {reason}") from None
        raise invalid(refusals_of(error, kind.model_json_schema())) from None


async def _read(request: Request, limit_bytes: int) -> bytes:
    too_large = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body may have {limit_bytes} bytes at most"
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_large
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit_bytes:
            raise too_large
    return bytes(raw)
