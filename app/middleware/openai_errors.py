"""Errors of the call that OpenAI's clients make, in the form that OpenAI's clients read.

Every error of this service is made as a problem; on this path it is rewritten on its way out, whoever made it.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import MEDIA_TYPE

PATH = "/v1/images/generations"

_TEXT, _TEXT_OR_NULL = {"type": "string"}, {"type": ["string", "null"]}
_ERROR = {"message": _TEXT, "type": _TEXT, "param": _TEXT_OR_NULL, "code": _TEXT}
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "object", "required": list(_ERROR), "properties": _ERROR}},
}

_KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_OWN_NAMES = {"num_images": "n", "class_label": "prompt", "scale": "size", "num_inference_steps": "steps"}
"""What OpenAI calls the fields that have another name in `POST /v1/jobs`."""


class OpenAIErrors:
    """Rewrites the problems that leave `PATH`. A request that does not fit is 400 there, not 422."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        begun: Message | None = None
        body = b""

        async def rewriting(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and _is_problem(message):
                begun = message
            elif begun is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    for each in _rewritten(begun, json.loads(body)):
                        await send(each)

        await self._app(scope, receive, rewriting)


def envelope(problem: Mapping[str, Any]) -> dict[str, Any]:
    """A problem as OpenAI's clients have errors: a message for people, a type, the parameter, our stable code."""
    status = problem["status"]
    kind = _KINDS.get(
        status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    )
    errors = problem.get("errors") or [{"pointer": ""}]
    named = errors[0]["pointer"].removeprefix("/").partition("/")[0]
    code = errors[0].get("code", problem["code"])
    message = problem["detail"]
    if named in _OWN_NAMES:
        message = message.replace(f"/{named}", f"/{_OWN_NAMES[named]}")
    return {
        "error": {"message": message, "type": kind, "param": _OWN_NAMES.get(named, named) or None, "code": code}
    }


def _is_problem(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type") == MEDIA_TYPE


def _rewritten(begun: Message, problem: dict[str, Any]) -> list[Message]:
    content = json.dumps(envelope(problem)).encode()
    status = begun["status"]
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = int(HTTPStatus.BAD_REQUEST)
    start = {**begun, "status": status}
    headers = MutableHeaders(scope=start)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(content))
    return [start, {"type": "http.response.body", "body": content}]
