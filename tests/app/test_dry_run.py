"""`?dry_run=true` tells what a job would cost, and leaves nothing."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from jobs.catalogue import announce
from tests import cards
from tests.app.answers import errors, problem


def keys_in(redis: Redis) -> dict[bytes, object]:
    return {key: redis.dump(key) for key in redis.scan_iter()}


def cost(client: TestClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = client.post("/v1/jobs?dry_run=true", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "location" not in answer.headers
    found: dict[str, Any] = answer.json()
    return found


def test_the_cost_is_told_and_nothing_is_kept(client: TestClient, redis: Redis) -> None:
    before = keys_in(redis)
    found = cost(client, {"steps": 20, "num_images": 3, "guidance_scale": 2, "seed": 7})
    assert (found["object"], found["model"], found["evaluations"]) == ("cost", "fruit-16", 3 * 20 * 2)
    assert (found["request"]["seed"], found["request"]["sampler"]) == (7, "ddim")
    assert keys_in(redis) == before


def test_what_is_told_is_what_the_job_then_costs(client: TestClient) -> None:
    for body in ({}, {"sampler": "heun", "steps": 7}, {"num_images": 4, "guidance_scale": 1}):
        assert cost(client, body)["evaluations"] == client.post("/v1/jobs", json=body).json()["progress"]["total"]


def test_the_place_in_the_queue_is_the_next_free_one(client: TestClient) -> None:
    assert cost(client, {"seed": 1})["queue_position"] == 1
    for _ in range(2):
        client.post("/v1/jobs", json={"seed": 1})
    assert cost(client, {"seed": 1})["queue_position"] == 3


def test_the_time_is_told_when_a_worker_has_said_how_fast_it_is(client: TestClient, redis: Redis) -> None:
    assert cost(client, {"steps": 50})["eta_s"] is None
    announce(redis, cards.WORKER, (cards.FRUIT, cards.PEBBLE), 3600, {"fruit-16": 100.0}, {"fruit-16": 0.01})
    short, long = (cost(client, {"steps": steps, "guidance_scale": 1})["eta_s"] for steps in (10, 1000))
    assert 0 < short < long


def test_what_a_submit_would_refuse_is_refused(client: TestClient) -> None:
    errors(client.post("/v1/jobs?dry_run=true", json={"steps": 0}))
    problem(client.post("/v1/jobs?dry_run=true", json={"model": "cats-64"}), 404, "model_not_found")
    problem(client.post("/v1/jobs?dry_run=true", content="{}"), 415, "unsupported_media_type")


def test_it_waits_for_nothing_and_is_no_use_of_an_idempotency_key(client: TestClient) -> None:
    cost(client, {"steps": 5}, **{"Prefer": "wait=60", "Idempotency-Key": "k"})
    assert client.post("/v1/jobs", json={"steps": 6}, headers={"Idempotency-Key": "k"}).status_code == 202


@pytest.mark.parametrize("query", ["dry_run=maybe", "dry_run=", "dryrun=true", "dry_run=true&x=1"])
def test_a_query_that_is_wrong_submits_nothing(client: TestClient, redis: Redis, query: str) -> None:
    before = keys_in(redis)
    errors(client.post(f"/v1/jobs?{query}", json={}))
    assert keys_in(redis) == before


def test_false_is_a_submit(client: TestClient) -> None:
    assert client.post("/v1/jobs?dry_run=false", json={}).status_code == 202
