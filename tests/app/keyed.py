"""The API behind keys, as its callers see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.api_keys import make_key
from jobs.settings import Settings
from tests import cards

URL_SECRET = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Calling:
    """Sends requests with a key, or without one."""

    client: TestClient
    token: str | None = None

    def __call__(self, method: str, path: str, **rest: Any) -> Any:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return self.client.request(method, path, headers={**headers, **rest.pop("headers", {})}, **rest)

    def submit(self, **body: Any) -> dict[str, Any]:
        """A job that was accepted."""
        answer = self("POST", "/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job


@dataclass(frozen=True)
class Door:
    """An API with two models and no worker, and the Redis in which its keys are made."""

    client: TestClient
    redis: Redis

    @property
    def nobody(self) -> Calling:
        """A caller without a key."""
        return Calling(self.client)

    def caller(self, name: str, *scopes: str) -> Calling:
        """A caller with a new key."""
        return Calling(self.client, make_key(self.redis, name, scopes or ("submit", "read"))[1])


@contextmanager
def opened(redis: Redis, redis_url: str, address: str = "127.0.0.1", **settings: Any) -> Iterator[Door]:
    """An API with these settings; everybody calls it from `address`."""
    cards.announce_both(redis)
    app = create_app(Settings(redis_url=redis_url, **settings))
    with TestClient(app, client=(address, 50_000)) as client:
        yield Door(client, redis)
