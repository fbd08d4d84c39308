"""What every error must be."""

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, after seeing that it is a proper one (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"] and body["detail"]
    assert body["code"] == code
    return body


def errors(answer: httpx.Response) -> dict[str, tuple[str, str]]:
    """Of a 422: pointer to code and detail."""
    body = problem(answer, 422, "invalid_request")
    found = {error["pointer"]: (error["code"], error["detail"]) for error in body["errors"]}
    assert len(found) == len(body["errors"]), "a pointer is named once"
    return found
