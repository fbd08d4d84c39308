"""Reading a request body: right type, bounded, in time, JSON, an object that fits. Of a bad one nothing goes on."""

import asyncio
import functools
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from app.problems import Problem, invalid, refusals_of
from jobs.errors import Refusal

PATIENCE_S = 60.0
"""Seconds that a body may take to arrive."""
MAX_MARKS = 12_000
"""Quotation marks and commas, of which any metadata that is allowed has fewer. To tell all that is wrong with
millions of fields would keep everybody waiting."""

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, kind: type[Body], limit_bytes: int) -> Body:
    """The body as `kind`.

    Raises `Problem`: 415 wrong type, 408 too slow, 413 too large, 400 not JSON, 422 does not fit.
    """
    _require_json(request)
    try:
        async with asyncio.timeout(PATIENCE_S):
            raw = await _read(request, limit_bytes)
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "body_incomplete", "the body did not arrive") from None
    except TimeoutError:
        detail = f"the body did not arrive within {PATIENCE_S:g} s"
        headers = {"Connection": "close"}  # the rest of it would be taken for the next request
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", detail, headers=headers) from None
    return parsed(raw, kind)


def parsed(raw: bytes, kind: type[Body]) -> Body:
    """JSON as `kind`. Raises `Problem`: 400 not JSON or a name twice, 422 does not fit."""
    if raw.count(b'"') + raw.count(b",") > MAX_MARKS:
        detail = "has more fields and values than any request; it is not looked at more closely"
        raise invalid([Refusal("", "out_of_range", detail)])
    try:
        body = kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = first["msg"].removeprefix("Invalid JSON: ")
            raise Problem(HTTPStatus.BAD_REQUEST, "not_json", f"the body is not JSON: {reason}") from None
        _require_unique_names(raw)
        raise invalid(refusals_of(error, _schema_of(kind))) from None
    _require_unique_names(raw)
    return body


@functools.cache
def _schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema()


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = media_type.strip().lower()
    if media_type != "application/json":
        detail = f"send application/json, not {media_type or 'a body without a type'}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    name, _, charset = parameters.partition("=")
    if name.strip().lower() == "charset" and charset.strip().strip('"').lower() not in ("utf-8", "us-ascii"):
        detail = f"send JSON in UTF-8, not in {charset.strip()}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        detail = f"send the body as it is, without content-encoding {encoding}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)


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


def _require_unique_names(raw: bytes) -> None:
    """Raise `Problem` where an object names a field twice: pydantic takes the last, others the first."""
    json.loads(raw, object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)


def _unique(pairs: Sequence[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) == len(pairs):
        return
    seen: set[str] = set()
    twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise Problem(HTTPStatus.BAD_REQUEST, "duplicate_key", f"the body has {twice[:64]!r} twice in one object")
