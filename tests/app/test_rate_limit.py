"""Submits are counted by caller over a moving window, in Redis, for all API processes together."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.main import create_app
from app.problems import Problem
from app.rate_limit import PREFIX, RateLimit, parsed
from jobs.connection import connect_async
from jobs.settings import Settings, SettingsError
from tests import cards
from tests.app.answers import problem


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("120/minute", 120, 60),
        ("10/5 seconds", 10, 5),
        (" 1 / day ", 1, 86_400),
        ("3/2 minutes", 3, 120),
        ("7/HOUR", 7, 3600),
    ],
)
def test_a_rate_is_read(rate: str, amount: int, seconds: int) -> None:
    limit = parsed(rate)
    assert limit is not None
    assert (limit.amount, limit.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize("rate", ["", "  "])
def test_an_empty_one_is_no_limit(rate: str) -> None:
    assert parsed(rate) is None


@pytest.mark.parametrize(
    "rate",
    [
        "fast",
        "120",
        "120/",
        "/minute",
        "0/minute",
        "-1/minute",
        "1.5/minute",
        "1/minute;2/second",
        "1/fortnight",
        "1/0 seconds",
    ],
)
def test_a_bad_one_ends_the_start_with_its_name(rate: str) -> None:
    with pytest.raises(SettingsError, match=r"UNFOG_RATE_LIMIT is .*120/minute"):
        create_app(Settings(rate_limit=rate))


@pytest.fixture
def limited(redis: Redis, redis_url: str) -> Iterator[TestClient]:
    """An API that takes three submits an hour."""
    cards.announce_both(redis)
    with TestClient(create_app(Settings(redis_url=redis_url, rate_limit="3/hour"))) as client:
        yield client


def test_beyond_it_the_answer_is_429_with_the_time_until_one_is_free(limited: TestClient, redis: Redis) -> None:
    started = time.time()
    for _ in range(3):
        assert limited.post("/v1/jobs", json={}).status_code == 202
    answer = limited.post("/v1/jobs", json={})
    detail = problem(answer, 429, "rate_limited")["detail"]
    assert "3 times in 3600 s" in detail
    again_s = int(answer.headers["retry-after"])
    assert 3600 - (time.time() - started) <= again_s <= 3600
    assert f"in {again_s} s" in detail
    assert len(limited.get("/v1/jobs").json()["data"]) == 3


def test_only_submits_are_counted_and_wrong_ones_too(limited: TestClient) -> None:
    for _ in range(5):
        assert limited.get("/v1/jobs").status_code == 200
        assert limited.get("/v1/models").status_code == 200
    problem(limited.post("/v1/jobs", json={"steps": 0}), 422, "invalid_request")
    problem(limited.post("/v1/jobs", content="{"), 415, "unsupported_media_type")
    assert limited.post("/v1/jobs?dry_run=true", json={}).status_code == 200
    problem(limited.post("/v1/jobs", json={}), 429, "rate_limited")


def test_two_processes_count_together(limited: TestClient, redis_url: str) -> None:
    with TestClient(create_app(Settings(redis_url=redis_url, rate_limit="3/hour"))) as other:
        answers = [client.post("/v1/jobs", json={}).status_code for client in (limited, other) * 2]
    assert answers == [202, 202, 202, 429]


def test_callers_are_counted_apart_and_a_place_is_free_when_its_time_has_passed(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [float(int(time.time()))]
    monkeypatch.setattr(time, "time", lambda: now[0])

    async def run() -> list[str]:
        client = connect_async(Settings(redis_url=redis_url))
        limit, told = RateLimit(parsed("2/hour"), client), list[str]()
        for caller, seconds in (("ann", 0), ("ann", 600), ("ann", 0), ("bob", 0), ("ann", 3000), ("ann", 1)):
            now[0] += seconds
            try:
                await limit.take(caller)
                told.append(f"{caller} yes")
            except Problem as refused:
                told.append(f"{caller} {refused.headers['Retry-After']}")
        await client.aclose()
        return told

    assert asyncio.run(run()) == ["ann yes", "ann yes", "ann 3000", "bob yes", "ann 1", "ann yes"]


def test_a_submit_costs_one_round_trip_more(limited: TestClient, redis: Redis, redis_url: str) -> None:
    limited.post("/v1/jobs", json={})  # the script is known from now on
    with Redis.from_url(redis_url) as watcher, watcher.monitor() as monitor:
        limited.post("/v1/jobs", json={})
        redis.echo("enough")
        seen = []
        while not seen or "ECHO" not in seen[-1]["command"]:
            seen.append(monitor.next_command())
    asked = [told["command"] for told in seen if told["client_type"] != "lua" and PREFIX in told["command"]]
    assert len(asked) == 1
    assert asked[0].startswith("EVALSHA")


def test_it_keeps_nothing_for_ever(limited: TestClient, redis: Redis) -> None:
    limited.post("/v1/jobs", json={})
    (key,) = redis.scan_iter(f"{PREFIX}*")
    assert 0 < redis.ttl(key) <= 3600


def test_without_redis_the_answer_is_503_as_elsewhere(limited: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    services = limited.app.state.services  # type: ignore[attr-defined]

    async def away(*_: object) -> bool:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(services.rate_limit._window, "hit", away)
    problem(limited.post("/v1/jobs", json={}), 503, "store_unavailable")
