"""A webhook's URL is looked at when the job is submitted, and refused when nothing would be sent to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.record import spec_of
from jobs.settings import Settings
from tests import cards
from tests.app.answers import errors

SECRET = "s" * 32


@pytest.fixture
def calling(redis: Redis, redis_url: str) -> Iterator[TestClient]:
    """An API with webhooks."""
    cards.announce_both(redis)
    with TestClient(create_app(Settings(redis_url=redis_url, webhook_secret=SECRET))) as client:
        yield client


def refusal(client: TestClient, url: Any) -> tuple[str, str]:
    found = errors(client.post("/v1/jobs", json={"webhook_url": url}))
    assert list(found) == ["/webhook_url"]
    return found["/webhook_url"]


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "https://example.com:8443/a?b=c", "https://xn--bcher-kva.example/%C3%A9"]
)
def test_a_public_url_goes_with_the_job(calling: TestClient, redis: Redis, url: str) -> None:
    answer = calling.post("/v1/jobs", json={"webhook_url": url})
    assert answer.status_code == 202, answer.text
    assert answer.json()["request"]["webhook_url"] == url
    assert spec_of(cards.fetch(redis, answer.json()["id"])).webhook_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no URL"),
        ("example.com/hook", "no URL"),
        ("https://", "no URL"),
        ("https:///hook", "names no host"),
        ("http://example.com/hook", "https:// only"),
        ("ftp://example.com/hook", "no URL|https:// only"),
        ("https://user:secret@example.com/", "user name or a password"),
        ("https://user@example.com/", "user name or a password"),
        ("https://127.0.0.1/hook", "not a public address"),
        ("https://localhost/hook", "not a public address"),
        ("https://[::1]/hook", "not a public address"),
        ("https://10.0.0.1/", "not a public address"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com:99999/", "no URL"),
        ("https://exa mple.com/", "without blanks"),
        ("https://example.com/a\nb", "without blanks"),
        ("https://example.com\\\\@evil.example/", "backslashes"),
        ("https://bücher.example/", "ASCII"),
    ],
)
def test_another_one_is_refused_with_its_reason(calling: TestClient, url: str, reason: str) -> None:
    code, detail = refusal(calling, url)
    assert code == "bad_url"
    assert any(part in detail for part in reason.split("|")), detail
    assert "secret" not in detail


def test_one_that_is_too_long_or_no_text_is_refused(calling: TestClient) -> None:
    assert refusal(calling, "https://example.com/" + "a" * 2048)[0] == "out_of_range"
    assert refusal(calling, 7)[0] == "wrong_type"


def test_without_a_secret_webhooks_are_off(client: TestClient) -> None:
    code, detail = refusal(client, "https://example.com/hook")
    assert code == "webhooks_off"
    assert "UNFOG_WEBHOOK_SECRET" in detail


def test_private_addresses_and_plain_http_are_for_those_who_allow_them(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis)
    settings = Settings(redis_url=redis_url, webhook_secret=SECRET, webhook_allow_private=True)
    with TestClient(create_app(settings)) as client:
        for url in ("http://127.0.0.1:9000/hook", "https://localhost/"):
            assert client.post("/v1/jobs", json={"webhook_url": url}).status_code == 202
        assert refusal(client, "http://user:pw@127.0.0.1/")[0] == "bad_url"
