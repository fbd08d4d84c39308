"""Who asks for a job again and again is told what is in Redis now, though most of the answer was made before."""

import asyncio
import cProfile
import json
import logging
import pstats
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from starlette.types import ASGIApp, Message

from app import main
from app.main import create_app
from app.middleware import request_log
from app.signed_urls import UrlSigner
from jobs.queue import ServiceJob
from jobs.settings import Settings
from tests import cards
from tests.app.answers import problem
from tests.app.keyed import URL_SECRET, opened

PNG = cards.png((1, 2, 3))


@pytest.fixture
def done(client: TestClient, redis: Redis) -> dict[str, Any]:
    """A job with a picture, read three times."""
    job = client.post("/v1/jobs", json={}).json()
    cards.succeed(redis, job["id"], [PNG])
    answers = [client.get(job["urls"]["self"]) for _ in range(3)]
    assert len({(answer.content, answer.headers["etag"]) for answer in answers}) == 1
    found: dict[str, Any] = answers[0].json()
    return found


def test_progress_is_told_at_once(client: TestClient, redis: Redis) -> None:
    job = client.post("/v1/jobs", json={"steps": 10}).json()
    for completed in (0, 3, 7):
        cards.start(redis, job["id"], completed)
        for _ in range(2):
            assert client.get(job["urls"]["self"]).json()["progress"]["completed"] == completed


def test_a_job_that_is_erased_is_gone_at_once(client: TestClient, done: dict[str, Any]) -> None:
    assert client.delete(done["urls"]["self"]).status_code == 204
    problem(client.get(done["urls"]["self"]), 410, "job_gone")


def test_a_job_that_expires_is_gone_at_once(client: TestClient, redis: Redis, done: dict[str, Any]) -> None:
    redis.delete(ServiceJob.key_for(done["id"]))
    problem(client.get(done["urls"]["self"]), 410, "job_gone")


def test_what_changes_in_an_ended_job_is_told_at_once(
    client: TestClient, redis: Redis, done: dict[str, Any]
) -> None:
    before = client.get(done["urls"]["self"])
    key = ServiceJob.key_for(done["id"])
    meta: Any = json.loads(redis.hget(key, "meta"))  # type: ignore[arg-type]
    redis.hset(key, "meta", json.dumps({**meta, "engine": "another"}))
    after = client.get(done["urls"]["self"], headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["engine"]) == (200, "another")


def test_a_job_that_its_caller_has_read_is_still_no_job_to_others(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url) as door:
        alice, bob = door.caller("alice"), door.caller("bob")
        job = alice.submit()
        cards.succeed(redis, job["id"], [PNG])
        for _ in range(2):
            assert alice("GET", job["urls"]["self"]).json()["status"] == "succeeded"
            problem(bob("GET", job["urls"]["self"]), 404, "job_not_found")


def test_signed_links_are_made_anew(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(main, "signer_of", lambda _: UrlSigner(URL_SECRET, 100, lambda: now))
    with opened(redis, redis_url) as door:
        alice = door.caller("alice")
        path = alice.submit()["urls"]["self"]
        cards.succeed(redis, path.rpartition("/")[2], [PNG])
        early = alice("GET", path).json()
        now += 1000
        assert door.nobody("GET", early["images"][0]["url"]).status_code == 401
        assert door.nobody("GET", alice("GET", path).json()["images"][0]["url"]).content == PNG


def test_the_api_of_another_address_answers_with_its_own_links(
    client: TestClient, redis: Redis, redis_url: str, done: dict[str, Any]
) -> None:
    with opened(redis, redis_url, public_url="https://unfog.example") as door:
        read = door.nobody("GET", done["urls"]["self"]).json()
    assert read["urls"]["self"] == "https://unfog.example" + done["urls"]["self"]


def test_asking_again_takes_few_more_calls_than_a_bare_route_with_one_read(
    redis_url: str, done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of Python, which unlike seconds are the same on every machine."""
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    monkeypatch.setattr(request_log, "log", structlog.wrap_logger(structlog.PrintLogger(), wrapper_class=quiet))

    async def both() -> tuple[int, int]:
        app, bare, redis = create_app(Settings(redis_url=redis_url)), FastAPI(), AsyncRedis.from_url(redis_url)

        @bare.get("/jobs/{job_id}")
        async def read(job_id: str) -> Response:
            stored = await redis.hgetall(f"rq:job:{job_id}")
            return Response(stored[b"meta"], media_type="application/json")

        async with app.router.lifespan_context(app), redis:
            return await calls(app, done["urls"]["self"]), await calls(bare, f"/jobs/{done['id']}")

    ours, theirs = asyncio.run(both())
    assert ours < 1.3 * theirs


async def calls(app: ASGIApp, path: str, times: int = 50) -> int:
    """What GET takes when it was asked before."""
    answers: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answers.append(message)

    async def ask() -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"accept", b"*/*")],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
        }
        await app(scope, receive, send)

    for _ in range(3):
        await ask()
    with cProfile.Profile() as profile:
        for _ in range(times):
            await ask()
    assert {answer["status"] for answer in answers if "status" in answer} == {200}
    return round(pstats.Stats(profile).total_calls / times)  # type: ignore[attr-defined]
