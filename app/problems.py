"""Every error as `application/problem+json` (RFC 9457), with a stable `code` and a sentence that helps."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from redis.exceptions import ResponseError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.allowed import allowed_methods
from jobs.connection import REDIS_DOWN, takes_no_writes
from jobs.errors import (
    CallerQueueFull,
    CursorUnknown,
    IdempotencyConflict,
    JobGone,
    JobNotFound,
    JobUnfinished,
    ModelUnknown,
    Refusal,
    RequestRefused,
    ResultsAway,
    StoreNearlyFull,
    TooMuchQueued,
)

MEDIA_TYPE = "application/problem+json"

_TEXT = {"type": "string"}
_ERROR = {"type": "object", "properties": {"pointer": _TEXT, "code": _TEXT, "detail": _TEXT}}
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        **dict.fromkeys(("type", "title", "code", "detail"), _TEXT),
        "status": {"type": "integer"},
        "errors": {"type": "array", "items": _ERROR},
    },
}
REFERENCE = {"$ref": "#/components/schemas/Problem"}
DESCRIBED: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": REFERENCE}}}
"""What OpenAPI says of an error."""

MAX_ERRORS = 20
"""A body of 1 MiB has room for a hundred thousand wrong fields; the answer must not be many times as long."""

MAX_NAME = 256
"""Characters of a field's name that an answer repeats."""


class Problem(Exception):
    """An answer that is an error: raised anywhere below a route, rendered in one place."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: Sequence[Refusal] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in self.errors]
        return JSONResponse(body, int(self.status), self.headers, media_type=MEDIA_TYPE)


def invalid(errors: Sequence[Refusal]) -> Problem:
    """422 for a body that was read but does not fit; names every field that is wrong."""
    told = errors[:MAX_ERRORS]
    detail = "; ".join(f"{error.pointer or 'the body'}: {error.detail}" for error in told)
    if len(errors) > len(told):
        detail += f"; and {len(errors) - len(told)} more"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=told)


_CODES = {
    "enum": "unknown_value",
    "extra_forbidden": "unknown_field",
    "finite_number": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "string_too_long": "out_of_range",
    "string_too_short": "out_of_range",
    "too_long": "out_of_range",
    "literal_error": "unknown_value",
}


def refusals_of(error: ValidationError, schema: Mapping[str, Any]) -> list[Refusal]:
    """What pydantic found, with JSON pointers and with what is allowed, as `schema` (the model's) has it."""
    refusals: dict[str, Refusal] = {}
    for found in error.errors(include_url=False):
        pointer, detail = _told(found["loc"], schema)
        code = _CODES.get(found["type"], "wrong_type")
        refusals.setdefault(pointer, Refusal(pointer, code, detail))
    return list(refusals.values())


def _told(location: Sequence[str | int], schema: Mapping[str, Any]) -> tuple[str, str]:
    """The JSON pointer of a pydantic location, and the sentence that says what is allowed there."""
    if not location:
        return "", "must be a JSON object, for example {}"
    pointer, node, names = "", schema, None
    for part in map(str, location):
        if len(_options(node)) > 1:
            continue  # the branch of a union that was tried; the caller's body has no such key
        if names is not None:
            # Below a value of a map there is only pydantic's word that its key is meant.
            return pointer, f"its key must be {describe({'type': 'string', **names})}"
        if len(part) > MAX_NAME:
            return pointer, f"has a name of {len(part)} characters; no name may have more than {MAX_NAME}"
        pointer += "/" + part.replace("~", "~0").replace("/", "~1")
        if "properties" not in node:
            node, names = node["additionalProperties"], node["propertyNames"]
        elif part in node["properties"]:
            node = node["properties"][part]
        else:
            return pointer, f"there is no such field; the fields are {', '.join(node['properties'])}"
    return pointer, f"must be {describe(node)}"


def _options(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a schema lets one choose from, null aside."""
    return [option for option in field.get("anyOf", ()) if option.get("type") != "null"]


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "object": "an object",
    "boolean": "true or false",
}


def describe(field: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words: 'a whole number from 1 to 1000'."""
    if "anyOf" in field:
        return " or ".join(describe(option) for option in _options(field))
    if "enum" in field:
        return "one of " + ", ".join(str(value) for value in field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    kind = _KINDS[field["type"]]
    if "minimum" in field and "maximum" in field:
        return f"{kind} from {field['minimum']:g} to {field['maximum']:.10g}"
    if "minLength" in field:
        return f"{kind} of {field['minLength']} to {field['maxLength']} characters"
    if "maxLength" in field:
        return f"{kind} of at most {field['maxLength']} characters"
    if "maxProperties" in field:
        key = describe({"type": "string", **field["propertyNames"]})
        value = describe(field["additionalProperties"])
        return f"{kind} with at most {field['maxProperties']} entries, each key {key}, each value {value}"
    return kind


def _store_unavailable(detail: str) -> Problem:
    headers = {"Retry-After": "2"}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", detail, headers=headers)


def _model_unknown(error: ModelUnknown) -> Problem:
    if not error.known:
        detail = "no worker has announced a model yet; try again when one has started"
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no_models", detail, headers={"Retry-After": "5"})
    wrong = Refusal("/model", "unknown_model", str(error))
    return Problem(HTTPStatus.NOT_FOUND, "model_not_found", str(error), errors=[wrong])


def _too_much(error: TooMuchQueued) -> Problem:
    headers = {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, CallerQueueFull):
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, "caller_queue_full", str(error), headers=headers)
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", str(error), headers=headers)


def _nearly_full(error: StoreNearlyFull) -> Problem:
    headers = {"Retry-After": "30"}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_full", str(error), headers=headers)


def _redis_refuses(error: ResponseError) -> Problem:
    if not takes_no_writes(error):
        raise error
    return _store_unavailable("the job store takes nothing now, it is full or read-only; try again later")


def _bad_query(error: RequestValidationError) -> Problem:
    refusals = []
    for found in error.errors():
        name = str(found["loc"][1]) if len(found["loc"]) > 1 else ""
        detail = found["msg"].removeprefix("Input ").removeprefix("Value error, ")
        code = _CODES.get(found["type"], "wrong_type")
        if code == "unknown_field":
            detail = "there is no such parameter"
        refusals.append(Refusal(f"?{name[:64]}", code, detail))
    return invalid(refusals)


def _of_framework(error: HTTPException) -> Problem:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    detail = "there is nothing at this path; /openapi.json lists what there is"
    if error.status_code != HTTPStatus.NOT_FOUND:
        detail = str(error.detail)
    return Problem(HTTPStatus(error.status_code), code, detail, headers=error.headers)


_PROBLEMS: dict[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda problem: problem,
    JobNotFound: lambda error: Problem(HTTPStatus.NOT_FOUND, "job_not_found", str(error)),
    JobGone: lambda error: Problem(HTTPStatus.GONE, "job_gone", str(error)),
    JobUnfinished: lambda error: Problem(HTTPStatus.CONFLICT, "job_unfinished", str(error)),
    CursorUnknown: lambda error: invalid([Refusal("?cursor", "unknown_value", str(error))]),
    ModelUnknown: _model_unknown,
    RequestRefused: lambda error: invalid(error.refusals),
    RequestValidationError: _bad_query,
    TooMuchQueued: _too_much,
    IdempotencyConflict: lambda error: Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_conflict", str(error)),
    StoreNearlyFull: _nearly_full,
    ResultsAway: lambda _: _store_unavailable("the store of the pictures does not answer; try again"),
    HTTPException: _of_framework,
    ResponseError: _redis_refuses,
    **dict.fromkeys(REDIS_DOWN, lambda _: _store_unavailable("the job store does not answer; try again")),
}
"""What becomes of each error that can come up from below a route."""


def install(app: FastAPI) -> None:
    """Render every error of `app` as a problem; what is not known here is left to `app.middleware.faults`."""
    for kind, problem_of in _PROBLEMS.items():
        app.add_exception_handler(kind, _handler(problem_of))


def _handler(problem_of: Callable[[Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        answer = problem_of(error).response()
        if answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = allowed_methods(request)
        return answer

    return handle
