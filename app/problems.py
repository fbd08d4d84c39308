"""Every error as `application/problem+json` (RFC 9457), with a stable `code` and a sentence that helps."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from jobs.connection import REDIS_DOWN
from jobs.errors import JobNotFound, ModelUnknown, Refusal, RequestRefused

MEDIA_TYPE = "application/problem+json"


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
    detail = "; ".join(f"{error.pointer or 'the body'}: {error.detail}" for error in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=errors)


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
        field = str(found["loc"][0]) if found["loc"] else ""
        pointer = _pointer(found)
        code = _CODES.get(found["type"], "wrong_type")
        refusals.setdefault(pointer, Refusal(pointer, code, _detail(found, field, schema)))
    return list(refusals.values())


def _pointer(found: ErrorDetails) -> str:
    # A union adds the branch it tried to the location; the caller's body has no such key.
    branches = {"constrained-str", "str", "int", "[key]"}
    parts = [str(part) for part in found["loc"] if part not in branches]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _detail(found: ErrorDetails, field: str, schema: Mapping[str, Any]) -> str:
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    if found["type"] == "extra_forbidden":
        return f"there is no such field; the fields are {', '.join(properties)}"
    if field not in properties:
        return "must be a JSON object, for example {}"
    return f"must be {describe(properties[field])}"


def describe(field: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words: 'a whole number from 1 to 1000'."""
    if "anyOf" in field:
        options = [describe(option) for option in field["anyOf"] if option.get("type") != "null"]
        return " or ".join(options)
    if "enum" in field:
        return "one of " + ", ".join(str(value) for value in field["enum"])
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "string": "a text",
        "object": "an object of texts",
        "boolean": "true or false",
    }[field["type"]]
    if "minimum" in field and "maximum" in field:
        return f"{kind} from {field['minimum']:g} to {field['maximum']:.10g}"
    if "maxLength" in field:
        return f"{kind} of at most {field['maxLength']} characters"
    if "maxProperties" in field:
        return f"{kind} with at most {field['maxProperties']} entries (keys to 64, values to 512 characters)"
    return kind


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

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return Problem(status, code, str(error.detail), headers=error.headers).response()

    async def _redis_down(_: Request, error: Exception) -> Response:
        detail = "the job store does not answer; nothing was accepted, try again"
        headers = {"Retry-After": "2"}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", detail, headers=headers).response()

    for kind in REDIS_DOWN:
        app.add_exception_handler(kind, _redis_down)
