"""What every error must be."""

from typing import Any


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, after seeing that it is a proper one (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    assert body["code"] == code
    return body


def errors(answer: Any) -> dict[str, tuple[str, str]]:
    """Of a 422: pointer to code and detail."""
    body = problem(answer, 422, "invalid_request")
    found = {error["pointer"]: (error["code"], error["detail"]) for error in body["errors"]}
    assert len(found) == len(body["errors"]), "a pointer is named once"
    return found
