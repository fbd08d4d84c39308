"""A body that stops half way leaves no trace and no traceback."""

from typing import Any

from fastapi.testclient import TestClient
from redis import Redis

from tests import cards


def test_a_caller_who_hangs_up_in_the_middle_of_the_body_leaves_nothing(client: TestClient, redis: Redis) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"steps"', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/jobs",
        "raw_path": b"/v1/jobs",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)  # in the loop that its connections belong to
    assert sent[0]["status"] == 400
    assert {key.decode() for key in redis.scan_iter()} == cards.CATALOGUE_KEYS
