"""Every error as `application/problem+json` (RFC 9457), with a stable `code` and a sentence that helps."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from redis.exceptions import ResponseError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from jobs.connection import REDIS_DOWN, takes_no_writes
from jobs.errors import (
    IdempotencyConflict,
    JobNotFound,
    ModelUnknown,
    Refusal,
    RequestRefused,
    StoreNearlyFull,
    TooMuchQueued,
)

MEDIA_TYPE = "application/problem+json"

_TEXT = {"type": "string"}
_ERROR = {"type": "object", "properties": {"pointer": _TEXT, "code": _TEXT, "detail": _TEXT}}
_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        **dict.fromkeys(("type", "title", "code", "detail"), _TEXT),
        "status": {"type": "integer"},
        "errors": {"type": "array", "items": _ERROR},
    },
}
DESCRIBED: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
"""What OpenAPI says of an error."""

MAX_ERRORS = 20
"""A body of 1 MiB has room for a hundred thousand wrong fields; the answer must not be many times as long."""


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


def _store_unavailable(detail: str) -> Response:
    headers = {"Retry-After": "2"}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", detail, headers=headers).response()


def install(app: FastAPI) -> None:
    """Render every error of `app` as a problem."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(JobNotFound)
    async def _not_found(_: Request, error: JobNotFound) -> Response:
        return Problem(HTTPStatus.NOT_FOUND, "job_not_found", str(error)).response()

    @app.exception_handler(ModelUnknown)
    async def _model_unknown(_: Request, error: ModelUnknown) -> Response:
        if not error.known:
            detail = "no worker has announced a model yet; try again when one has started"
            headers = {"Retry-After": "5"}
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no_models", detail, headers=headers).response()
        wrong = Refusal("/model", "unknown_model", str(error))
        return Problem(HTTPStatus.NOT_FOUND, "model_not_found", str(error), errors=[wrong]).response()

    @app.exception_handler(RequestRefused)
    async def _refused(_: Request, error: RequestRefused) -> Response:
        return invalid(error.refusals).response()

    @app.exception_handler(TooMuchQueued)
    async def _too_much(_: Request, error: TooMuchQueued) -> Response:
        headers = {"Retry-After": "10"}
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", str(error), headers=headers).response()

    @app.exception_handler(IdempotencyConflict)
    async def _idempotency(_: Request, error: IdempotencyConflict) -> Response:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_conflict", str(error)).response()

    @app.exception_handler(StoreNearlyFull)
    async def _nearly_full(_: Request, error: StoreNearlyFull) -> Response:
        headers = {"Retry-After": "30"}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_full", str(error), headers=headers).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        detail = "there is nothing at this path; /openapi.json lists what there is"
        if error.status_code != HTTPStatus.NOT_FOUND:
            detail = str(error.detail)
        return Problem(status, code, detail, headers=error.headers).response()

    async def _redis_down(_: Request, error: Exception) -> Response:
        return _store_unavailable("the job store does not answer; try again")

    for kind in REDIS_DOWN:
        app.add_exception_handler(kind, _redis_down)

    @app.exception_handler(ResponseError)
    async def _redis_refuses(_: Request, error: ResponseError) -> Response:
        if not takes_no_writes(error):
            raise error
        return _store_unavailable("the job store takes nothing now, it is full or read-only; try again later")

    @app.exception_handler(Exception)
    async def _internal(_: Request, error: Exception) -> Response:
        detail = "a fault of this service, not of the request; its log has the reason"
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail).response()
