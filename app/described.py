"""What OpenAPI tells of answers: the errors of each call with their codes, and the headers they come with."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from app.negotiation import APNG, PNG
from app.problems import DESCRIBED, MEDIA_TYPE, REFERENCE

CODES: dict[str, tuple[HTTPStatus, str]] = {
    "not_json": (HTTPStatus.BAD_REQUEST, "The body is not JSON."),
    "duplicate_key": (HTTPStatus.BAD_REQUEST, "The body has a name twice in one object."),
    "body_incomplete": (HTTPStatus.BAD_REQUEST, "The connection ended inside the body."),
    "key_required": (HTTPStatus.UNAUTHORIZED, "Callers need a key, and none was sent."),
    "authorization_malformed": (HTTPStatus.UNAUTHORIZED, "The Authorization header is not one `Bearer unfog_…`."),
    "key_unknown": (HTTPStatus.UNAUTHORIZED, "What was sent is no key of this service."),
    "key_expired": (HTTPStatus.UNAUTHORIZED, "The key has expired."),
    "key_revoked": (HTTPStatus.UNAUTHORIZED, "The key was revoked."),
    "signature_expired": (HTTPStatus.UNAUTHORIZED, "The signed link has expired."),
    "scope_missing": (HTTPStatus.FORBIDDEN, "The key lacks the scope that this call takes."),
    "host_refused": (HTTPStatus.FORBIDDEN, "A service without keys was called by a public name."),
    "signature_invalid": (HTTPStatus.FORBIDDEN, "The signed link was changed."),
    "job_not_found": (HTTPStatus.NOT_FOUND, "There is no such job of the caller, or no such picture of it."),
    "no_animation": (HTTPStatus.NOT_FOUND, "The job was submitted without `animation`."),
    "model_not_found": (HTTPStatus.NOT_FOUND, "No worker has announced this model."),
    "not_acceptable": (HTTPStatus.NOT_ACCEPTABLE, "`Accept` takes nothing that this call answers with."),
    "body_too_slow": (HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive in time."),
    "job_failed": (HTTPStatus.CONFLICT, "A picture was asked for and the job failed."),
    "job_canceled": (HTTPStatus.CONFLICT, "A picture was asked for and the job was canceled."),
    "job_unfinished": (HTTPStatus.CONFLICT, "The job runs again and cannot be erased now."),
    "job_gone": (HTTPStatus.GONE, "The job was the caller's, and has expired or was erased."),
    "body_too_large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than the service reads."),
    "unsupported_media_type": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is not `application/json` in UTF-8, or is compressed.",
    ),
    "invalid_request": (HTTPStatus.UNPROCESSABLE_ENTITY, "A field is wrong; `errors` names every one that is."),
    "idempotency_conflict": (HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another body."),
    "bad_idempotency_key": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key is empty, too long or not printable ASCII.",
    ),
    "rate_limited": (HTTPStatus.TOO_MANY_REQUESTS, "The caller has submitted too often."),
    "queue_full": (HTTPStatus.TOO_MANY_REQUESTS, "More evaluations would wait than the service allows."),
    "caller_queue_full": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "More evaluations of the caller would wait than the service allows.",
    ),
    "internal_error": (HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the service."),
    "store_unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Redis does not answer or takes no writes."),
    "store_full": (HTTPStatus.SERVICE_UNAVAILABLE, "Redis is nearly full."),
    "no_models": (HTTPStatus.SERVICE_UNAVAILABLE, "No worker has announced a model yet."),
    "too_many_listeners": (HTTPStatus.SERVICE_UNAVAILABLE, "Too many event streams are open."),
}
"""Every code that a call of ours can answer with, and when it does."""

ANYWHERE = (
    "key_required",
    "authorization_malformed",
    "key_unknown",
    "key_expired",
    "key_revoked",
    "scope_missing",
    "host_refused",
    "internal_error",
    "store_unavailable",
)
SIGNED = ("signature_expired", "signature_invalid")
"""Errors of the calls that a signed link opens."""

_TEXT, _SECONDS = {"type": "string"}, {"type": "integer", "minimum": 1}
REQUEST_ID = {"X-Request-ID": {"description": "The request's id: the caller's if it was sane.", "schema": _TEXT}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds until it makes sense to ask again.", "schema": _SECONDS}}
ETAG = {"ETag": {"description": "For `If-None-Match`.", "schema": _TEXT}}
LOCATION = {"Location": {"description": "Where the job is.", "schema": _TEXT}}
APPLIED = {"Preference-Applied": {"description": "`wait=N`, if it was asked for.", "schema": _TEXT}}
_JOB = {"job_id": "$response.body#/id"}
LINKS: dict[str, Any] = {
    name: {"operationId": operation, "parameters": _JOB, "description": description}
    for name, operation, description in (
        ("read", "read_job", "The job as it is now."),
        ("events", "events", "What happens to it."),
        ("cancel", "cancel_job", "The end of it."),
        ("delete", "delete_job", "Its end, or its erasure once it has ended."),
    )
}
"""What can be done with a job that an answer tells of."""
PICTURE_LINK: dict[str, Any] = {
    "picture": {"operationId": "read_image", "parameters": {**_JOB, "index": "$response.body#/images/0/index"}}
}
PAGE_LINKS = {"next": {"operationId": "list_jobs", "parameters": {"cursor": "$response.body#/next_cursor"}}}
CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`, and what is wrong with the key.", "schema": _TEXT}}
COME_BACK = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def described(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The errors of a call by status, with an example of each code; what may befall any call comes by itself."""
    by_status: dict[HTTPStatus, list[str]] = defaultdict(list)
    for code in (*codes, *ANYWHERE):
        by_status[CODES[code][0]].append(code)
    known: dict[int | str, dict[str, Any]] = {
        int(status): _described(status, found) for status, found in sorted(by_status.items())
    }
    return {**known, "default": {"description": "Any other error.", **DESCRIBED}}


def _described(status: HTTPStatus, codes: list[str]) -> dict[str, Any]:
    sentences = " ".join(f"`{code}`: {CODES[code][1]}" for code in codes)
    content = {"schema": REFERENCE, "examples": {code: {"value": _example(status, code)} for code in codes}}
    headers = {**REQUEST_ID, **(RETRY_AFTER if status in COME_BACK else {})}
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        headers |= CHALLENGE
    return {"description": sentences, "content": {MEDIA_TYPE: content}, "headers": headers}


def _example(status: HTTPStatus, code: str) -> dict[str, Any]:
    example = {"type": "about:blank", "title": status.phrase, "status": int(status), "code": code}
    if code == "invalid_request":
        wrong = {"pointer": "/steps", "code": "out_of_range", "detail": "must be a whole number from 1 to 1000"}
        return {**example, "detail": f"/steps: {wrong['detail']}", "errors": [wrong]}
    return {**example, "detail": CODES[code][1]}


def answer(description: str, *headers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """An answer that is no error: when it is given, and with which headers."""
    together = {name: told for each in (REQUEST_ID, *headers) for name, told in each.items()}
    return {"description": description, "headers": together, **rest}


def reference(kind: type[BaseModel]) -> dict[str, str]:
    """The schema of a body, by the name that generated clients give to it; `app.application` puts it there."""
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


_BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURE: dict[str, Any] = {PNG: _BINARY}
ANIMATION: dict[str, Any] = {APNG: _BINARY, PNG: _BINARY}
