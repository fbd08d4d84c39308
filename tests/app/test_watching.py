"""What an operator sees of the API: its metrics, the load of the service, a line in the log for each request."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.main import create_app
from jobs.catalogue import announce
from jobs.settings import Settings
from tests import cards
from tests.app.serving import listening, serving

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def fresh(redis: Redis, redis_url: str) -> Iterator[TestClient]:
    """An API that has counted nothing yet, with two models known."""
    announce(redis, cards.WORKER, (cards.FRUIT, cards.PEBBLE), 3600, {"fruit-16": 100.0}, {"fruit-16": 0.01})
    with TestClient(create_app(Settings(redis_url=redis_url)), raise_server_exceptions=False) as client:
        yield client


def samples(client: TestClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(found: Samples) -> dict[tuple[str, str, str], float]:
    return {
        tuple(value for _, value in labels): count  # type: ignore[misc]
        for (name, labels), count in found.items()
        if name == "unfog_http_requests_total"
    }


# Metrics


def test_requests_are_counted_by_route_and_never_by_what_a_caller_chose(fresh: TestClient) -> None:
    job = fresh.post("/v1/jobs", json={}).json()
    fresh.post("/v1/jobs", json={"steps": 0})
    for path in (job["urls"]["self"], "/v1/jobs/job_none", "/nowhere", "/elsewhere", "/v1/models?x=secret"):
        fresh.get(path)
    fresh.head(job["urls"]["self"])
    fresh.request("BREW", "/v1/jobs")
    found = requests(samples(fresh))
    assert found == {
        ("POST", "/v1/jobs", "2xx"): 1,
        ("POST", "/v1/jobs", "4xx"): 1,
        ("GET", "/v1/jobs/{job_id}", "2xx"): 1,
        ("GET", "/v1/jobs/{job_id}", "4xx"): 1,
        ("HEAD", "/v1/jobs/{job_id}", "2xx"): 1,
        ("GET", "none", "4xx"): 2,
        ("GET", "/v1/models", "2xx"): 1,
        ("other", "/v1/jobs", "4xx"): 1,
    }
    text = fresh.get("/metrics").text
    assert job["id"] not in text
    assert "secret" not in text


def test_a_fault_is_counted_as_one(fresh: TestClient) -> None:
    async def broken() -> None:
        raise RuntimeError("inner words")

    fresh.app.state.services.store.catalogue = broken  # type: ignore[attr-defined]
    fresh.get("/v1/models")
    assert requests(samples(fresh)) == {("GET", "/v1/models", "5xx"): 1}


def test_seconds_are_counted_for_every_request(fresh: TestClient) -> None:
    for _ in range(3):
        fresh.get("/health/live")
    found = samples(fresh)
    labels = (("method", "GET"), ("route", "/health/live"), ("status", "2xx"))
    assert found["unfog_http_request_duration_seconds_count", labels] == 3
    assert found["unfog_http_request_duration_seconds_sum", labels] > 0


def test_open_streams_are_counted_and_their_seconds_are_not(redis: Redis, settings: Settings) -> None:
    cards.announce_both(redis)
    with serving(settings) as api:
        job = httpx.post(f"{api.url}/v1/jobs", json={}).json()
        with listening(api.url + job["urls"]["events"]) as listener:
            listener.until("snapshot")
            assert "unfog_listeners 1.0" in httpx.get(f"{api.url}/metrics").text
            cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
            listener.rest()
        text = httpx.get(f"{api.url}/metrics").text
    assert "unfog_listeners 0.0" in text
    streams = [line for line in text.splitlines() if "/events" in line]
    assert any(line.startswith("unfog_http_requests_total") for line in streams)
    assert not any("duration_seconds" in line for line in streams)


def test_the_load_is_told_by_model(fresh: TestClient, redis: Redis) -> None:
    fresh.post("/v1/jobs", json={"steps": 10, "guidance_scale": 1})
    running = fresh.post("/v1/jobs", json={"model": "pebble-8", "steps": 20}).json()
    cards.start(redis, running["id"])
    found = samples(fresh)
    assert found["unfog_redis_up", ()] == 1
    for name, fruit in (("queued_jobs", 1), ("queued_evaluations", 10), ("workers", 1)):
        assert found[f"unfog_{name}", (("model", "fruit-16"),)] == fruit
    assert found["unfog_evaluations_per_second", (("model", "fruit-16"),)] == 100
    assert ("unfog_evaluations_per_second", (("model", "pebble-8"),)) not in found, "nobody has said"


def test_without_redis_there_is_no_load_and_what_is_counted_is_still_told(fresh: TestClient, redis: Redis) -> None:
    async def away() -> None:
        raise RedisConnectionError("gone")

    fresh.get("/health/live")
    fresh.app.state.services.store.stats = away  # type: ignore[attr-defined]
    found = samples(fresh)
    assert found["unfog_redis_up", ()] == 0
    assert not [name for name, _ in found if "queued" in name or "workers" in name]
    assert requests(found)["GET", "/health/live", "2xx"] == 1


def test_two_applications_count_apart(fresh: TestClient, client: TestClient) -> None:
    client.get("/v1/models")
    assert requests(samples(fresh)) == {}


# Stats


def test_the_load_as_json(fresh: TestClient, redis: Redis) -> None:
    for steps in (10, 30):
        fresh.post("/v1/jobs", json={"steps": steps, "guidance_scale": 1})
    answer = fresh.get("/v1/stats")
    stats = answer.json()
    assert (stats["object"], stats["queued_jobs"], stats["queued_evaluations"]) == ("stats", 2, 40)
    assert (stats["running_jobs"], stats["running_evaluations"], stats["workers"]) == (0, 0, 1)
    fruit = stats["models"]["fruit-16"]
    assert (fruit["queued_jobs"], fruit["queued_evaluations"], fruit["rate"]) == (2, 40, 100.0)
    assert stats["models"]["pebble-8"]["rate"] is None


# The log


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, an object a line."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as found:
        yield found


def told(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request"]


def test_a_request_is_one_line_with_its_id_route_status_and_job(
    lines: list[dict[str, Any]], fresh: TestClient
) -> None:
    answer = fresh.post("/v1/jobs", json={}, headers={"X-Request-ID": "mine"})
    job_id = answer.json()["id"]
    fresh.get(f"/v1/jobs/{job_id}")
    fresh.get("/nowhere")
    submit, read, nowhere = told(lines)
    assert submit.pop("ms") > 0
    assert submit == {
        "event": "request",
        "log_level": "info",
        "request_id": "mine",
        "method": "POST",
        "route": "/v1/jobs",
        "status": 202,
        "job": job_id,
    }
    assert (read["route"], read["job"]) == ("/v1/jobs/{job_id}", job_id)
    assert (nowhere["route"], nowhere["status"], "job" in nowhere) == (None, 404, False)


def test_what_machines_ask_all_day_is_logged_at_debug_and_faults_as_warnings(
    lines: list[dict[str, Any]], fresh: TestClient
) -> None:
    async def broken() -> None:
        raise RuntimeError("inner words")

    fresh.get("/health/live")
    fresh.get("/metrics")
    fresh.app.state.services.store.catalogue = broken  # type: ignore[attr-defined]
    fresh.get("/v1/models", headers={"X-Request-ID": "mine"})
    *quiet, loud = told(lines)
    assert {line["log_level"] for line in quiet} == {"debug"}
    assert (loud["log_level"], loud["status"]) == ("warning", 500)
    (fault,) = [line for line in lines if line["log_level"] == "error"]
    assert fault["request_id"] == "mine"
    assert fault["exc_info"]


def test_no_secret_query_or_body_is_in_the_log(
    lines: list[dict[str, Any]], fresh: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": "Bearer tell-nobody", "Idempotency-Key": "tell-nobody"}
    fresh.post("/v1/jobs?tell-nobody=1", json={"metadata": {"a": "tell-nobody"}}, headers=headers)
    fresh.post("/v1/jobs", json={"metadata": {"a": "tell-nobody"}}, headers=headers)
    fresh.post("/v1/jobs", json={"metadata": {"a": "tell-nobody"}})
    fresh.get("/v1/jobs?cursor=tell-nobody")
    fresh.get("/v1/models/tell-nobody")
    assert len(told(lines)) == 5
    assert "tell-nobody" not in json.dumps(lines, default=str)
    # The client of the test logs what it asks.
    others = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not any("tell-nobody" in message for message in others)
