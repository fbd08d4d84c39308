"""A repeated submit makes no second job, and a queue that is full takes no more."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from rq import Queue

from app.main import create_app
from jobs import keys
from jobs.settings import Settings
from tests import cards
from tests.app.answers import problem


def post(client: TestClient, body: dict[str, Any], key: str | None = None) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/jobs", json=body, headers=headers)


def waiting(redis: Redis) -> list[str]:
    return [job_id for queue in Queue.all(connection=redis) for job_id in queue.job_ids]


def test_the_same_key_and_body_give_the_same_job_though_its_seed_was_drawn(
    client: TestClient, redis: Redis
) -> None:
    first, second = (post(client, {"steps": 5}, "k") for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert waiting(redis) == [first.json()["id"]]


def test_a_body_written_otherwise_that_means_the_same_is_the_same(client: TestClient) -> None:
    first = post(client, {"steps": 5, "seed": 7}, "k")
    second = post(client, {"seed": 7, "steps": 5, "num_images": 1}, "k")
    assert first.json()["id"] == second.json()["id"]


def test_the_same_key_with_another_body_is_refused(client: TestClient, redis: Redis) -> None:
    first = post(client, {"steps": 5}, "k")
    detail = problem(post(client, {"steps": 6}, "k"), 422, "idempotency_conflict")["detail"]
    assert "use a new key" in detail
    assert waiting(redis) == [first.json()["id"]]


def test_another_key_or_none_gives_another_job(client: TestClient) -> None:
    answers = [post(client, {"seed": 7}, key) for key in ("a", "b", None, None)]
    assert len({answer.json()["id"] for answer in answers}) == 4


def test_a_repeat_after_the_end_gives_the_job_that_has_ended(client: TestClient, redis: Redis) -> None:
    job_id = post(client, {}, "k").json()["id"]
    cards.succeed(redis, job_id, [cards.png((1, 2, 3))])
    answer = post(client, {}, "k")
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, job_id, "succeeded")


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "\u00e9"])
def test_a_key_that_is_none_is_refused(client: TestClient, redis: Redis, key: str) -> None:
    answer = client.post("/v1/jobs", json={}, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert "1 to 255 printable ASCII" in problem(answer, 422, "bad_idempotency_key")["detail"]
    assert waiting(redis) == []


def test_a_refused_request_keeps_no_key(client: TestClient) -> None:
    problem(post(client, {"steps": 0}, "k"), 422, "invalid_request")
    assert post(client, {"steps": 5}, "k").status_code == 202


def test_beyond_the_evaluations_that_may_wait_a_job_is_refused_with_a_time_to_come_back(
    redis: Redis, redis_url: str
) -> None:
    cards.announce_both(redis)
    settings = Settings(redis_url=redis_url, max_queued_evaluations=100)
    body = {"model": "pebble-8", "steps": 50}
    with TestClient(create_app(settings)) as client:
        ids = [post(client, body).json()["id"] for _ in range(2)]
        answer = post(client, body)
        assert "100 may" in problem(answer, 429, "queue_full")["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert waiting(redis) == ids
        assert post(client, body, "k").status_code == 429
        redis.hset(keys.WORK, "queued", 0)
        assert post(client, body, "k").status_code == 202, "a refusal is not what the key stands for"


def test_an_idle_service_takes_one_job_that_is_larger_than_the_limit(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis)
    with TestClient(create_app(Settings(redis_url=redis_url, max_queued_evaluations=10))) as client:
        assert post(client, {}).status_code == 202
        assert post(client, {"steps": 1}).status_code == 429
