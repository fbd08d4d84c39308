"""What a call may cost, counted in round trips to Redis; `bench/` has the times."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from tests.round_trips import Trips, counting

LOOKS_NOW_AND_THEN = {"HLEN", "INFO"}
"""Whether there are keys, and how full Redis is: looked at now and then, not for each call."""


def trips(ask: Any) -> Trips:
    """What a call costs once the things that are looked at now and then are known."""
    ask()
    with counting() as counted:
        ask()
    return Trips(trip for trip in counted if trip not in LOOKS_NOW_AND_THEN)


def test_a_submit_reads_the_models_pushes_the_job_and_estimates_its_end(client: TestClient) -> None:
    assert trips(lambda: client.post("/v1/jobs", json={"seed": 1})) == [
        "HGETALL GET",
        "EVAL",
        "MULTI HGETALL ZRANGEBYSCORE HGETALL ZRANK ZSCORE ZRANGE EXEC",
    ]


def test_an_idempotency_key_costs_a_submit_nothing(client: TestClient) -> None:
    keys = iter(("one", "two"))
    counted = trips(lambda: client.post("/v1/jobs", json={}, headers={"Idempotency-Key": next(keys)}))
    assert len(counted) == 3


def test_a_job_that_waits_is_read_in_two_round_trips(client: TestClient) -> None:
    path = client.post("/v1/jobs", json={}).json()["urls"]["self"]
    assert [trip.partition(" ")[0] for trip in trips(lambda: client.get(path))] == ["HMGET", "MULTI"]


def test_a_job_that_has_ended_is_read_in_one(client: TestClient) -> None:
    urls = client.post("/v1/jobs", json={}).json()["urls"]
    client.post(urls["cancel"])
    assert trips(lambda: client.get(urls["self"])) == ["HMGET"]


def test_a_page_of_jobs_costs_the_same_for_one_job_and_for_twenty(client: TestClient) -> None:
    client.post("/v1/jobs", json={})
    one = trips(lambda: client.get("/v1/jobs?limit=20"))
    for _ in range(19):
        client.post("/v1/jobs", json={})
    many = trips(lambda: client.get("/v1/jobs?limit=20"))
    assert len(one) == len(many) <= 4


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/models"])
def test_a_list_of_all_costs_two(client: TestClient, redis: Redis, path: str) -> None:
    assert len(trips(lambda: client.get(path))) == 2
