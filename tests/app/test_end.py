"""A job that is not wanted any more: canceled while it has not ended, erased when it has, and gone after that."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from rq import Queue

from jobs import keys
from jobs.record import Failure
from tests import cards
from tests.app.answers import problem

UNKNOWN = "job_" + "0" * 24


def submitted(client: TestClient, **body: object) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ended(client: TestClient, redis: Redis, how: str) -> dict[str, Any]:
    job = submitted(client)
    if how == "succeeded":
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
    elif how == "failed":
        cards.fail(redis, job["id"], Failure(code="deadline", detail="too long"))
    else:
        client.post(job["urls"]["cancel"])
    found: dict[str, Any] = client.get(job["urls"]["self"]).json()
    assert found["status"] == how
    return found


def test_a_queued_job_is_canceled_at_once(client: TestClient, redis: Redis) -> None:
    job = submitted(client)
    answer = client.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert answer.json()["finished_at"] is not None
    assert client.get(job["urls"]["self"]).json() == answer.json()
    assert [job_id for queue in Queue.all(connection=redis) for job_id in queue.job_ids] == []


def test_a_running_job_is_told_to_stop_and_says_when_to_look_again(client: TestClient, redis: Redis) -> None:
    job = submitted(client)
    cards.start(redis, job["id"])
    answer = client.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert int(answer.headers["retry-after"]) >= 1
    assert redis.hget(f"rq:job:{job['id']}", keys.CANCEL_FIELD)


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_a_job_that_has_ended_stays_as_it_is_however_often_it_is_canceled(
    client: TestClient, redis: Redis, how: str
) -> None:
    job = ended(client, redis, how)
    for _ in range(2):
        answer = client.post(job["urls"]["cancel"])
        assert (answer.status_code, answer.json()) == (200, job)
    assert client.get(job["urls"]["self"]).json() == job


def test_deleting_a_queued_job_cancels_it_and_deleting_it_again_erases_it(client: TestClient) -> None:
    url = submitted(client)["urls"]["self"]
    first = client.delete(url)
    assert (first.status_code, first.json()["status"]) == (202, "canceled")
    assert client.get(url).json() == first.json(), "it is not erased"
    assert client.delete(url).status_code == 204
    problem(client.delete(url), 410, "job_gone")


def test_deleting_a_running_job_only_cancels_it(client: TestClient, redis: Redis) -> None:
    job = submitted(client)
    cards.start(redis, job["id"])
    answer = client.delete(job["urls"]["self"])
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert client.get(job["urls"]["self"]).status_code == 200


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_a_job_that_has_ended_is_erased_with_all_that_it_made(client: TestClient, redis: Redis, how: str) -> None:
    job = ended(client, redis, how)
    url = job["urls"]["self"]
    answer = client.delete(url)
    assert (answer.status_code, answer.content) == (204, b"")
    for call in (client.get, client.head, client.delete):
        assert call(url).status_code == 410
    assert "expired or was erased" in problem(client.get(url), 410, "job_gone")["detail"]
    for path in ("/images/0.png", "/events", "/animation"):
        problem(client.get(url + path), 410, "job_gone")
    problem(client.post(f"{url}/cancel"), 410, "job_gone")
    assert [key for key in redis.scan_iter() if job["id"].encode() in key] == []
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_job_that_has_expired_is_gone_too(client: TestClient, redis: Redis) -> None:
    job = ended(client, redis, "succeeded")
    redis.delete(f"rq:job:{job['id']}")
    problem(client.get(job["urls"]["self"]), 410, "job_gone")


@pytest.mark.parametrize("job_id", [UNKNOWN, "none", "job_%0a"])
def test_what_was_never_there_cannot_be_ended(client: TestClient, job_id: str) -> None:
    problem(client.delete(f"/v1/jobs/{job_id}"), 404, "job_not_found")
    problem(client.post(f"/v1/jobs/{job_id}/cancel"), 404, "job_not_found")


def test_an_erased_job_leaves_its_idempotency_key_with_it(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    url = client.post("/v1/jobs", json={}, headers=headers).json()["urls"]["self"]
    client.delete(url)
    client.delete(url)
    problem(client.post("/v1/jobs", json={}, headers=headers), 410, "job_gone")
