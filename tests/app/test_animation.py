"""The denoising of a job, for those who asked for it at submit."""

import hashlib
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from rq.serializers import JSONSerializer

from jobs import keys
from jobs.record import Failure, JobMeta, StoredAnimation
from tests import cards
from tests.app.answers import problem

APNG = b"\x89PNG\r\n\x1a\nmoving"


def submitted(client: TestClient, **body: object) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json={"animation": True, **body})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def animated(redis: Redis, job_id: str) -> None:
    """End a job as a worker does that was to animate it."""
    cards.succeed(redis, job_id, [cards.png((1, 2, 3))])
    key = keys.animation(job_id, "execution")
    redis.set(key, APNG)
    meta = JobMeta.model_validate(cards.fetch(redis, job_id).meta)
    stored = StoredAnimation(key=key, sha256=hashlib.sha256(APNG).hexdigest())
    told = meta.model_copy(update={"animation": stored}).model_dump(mode="json")
    assert json.loads(JSONSerializer.dumps(told))
    redis.hset(f"rq:job:{job_id}", "meta", JSONSerializer.dumps(told))


def test_the_job_says_where_it_will_be_if_it_was_asked_for(client: TestClient) -> None:
    job = submitted(client)
    assert job["urls"]["animation"] == f"/v1/jobs/{job['id']}/animation"
    assert submitted(client, animation=False)["urls"]["animation"] is None


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/apng"),
        ("*/*", "image/apng"),
        ("image/png", "image/png"),
        ("image/apng", "image/apng"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/apng"),
        ("image/png, image/apng;q=0.5", "image/png"),
    ],
)
def test_its_bytes_come_as_the_type_that_was_asked_for(
    client: TestClient, redis: Redis, accept: str | None, media_type: str
) -> None:
    job = submitted(client)
    animated(redis, job["id"])
    answer = client.get(job["urls"]["animation"], headers={} if accept is None else {"Accept": accept})
    assert (answer.status_code, answer.content) == (200, APNG)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["etag"] == f'"{hashlib.sha256(APNG).hexdigest()}"'
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "Accept"


def test_who_has_it_is_sent_nothing(client: TestClient, redis: Redis) -> None:
    job = submitted(client)
    animated(redis, job["id"])
    tag = client.get(job["urls"]["animation"]).headers["etag"]
    answer = client.get(job["urls"]["animation"], headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_while_the_job_has_not_ended_the_answer_is_the_job_and_when_to_ask_again(
    client: TestClient, redis: Redis
) -> None:
    job = submitted(client)
    for status in ("queued", "running"):
        answer = client.get(job["urls"]["animation"])
        assert (answer.status_code, answer.json()["status"]) == (202, status)
        assert int(answer.headers["retry-after"]) >= 1
        if status == "queued":
            cards.start(redis, job["id"])


def test_a_job_that_ended_otherwise_has_none(client: TestClient, redis: Redis) -> None:
    failed, canceled = submitted(client), submitted(client)
    cards.fail(redis, failed["id"], Failure(code="deadline", detail="it took too long"))
    client.post(canceled["urls"]["cancel"])
    assert "took too long" in problem(client.get(failed["urls"]["animation"]), 409, "job_failed")["detail"]
    problem(client.get(canceled["urls"]["animation"]), 409, "job_canceled")


@pytest.mark.parametrize("ended", [True, False])
def test_one_that_nobody_asked_for_is_a_404_that_says_how_to_get_it(
    client: TestClient, redis: Redis, ended: bool
) -> None:
    job = submitted(client, animation=False)
    if ended:
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
    detail = problem(client.get(f"{job['urls']['self']}/animation"), 404, "no_animation")["detail"]
    assert "submit it again with animation true" in detail


def test_one_that_has_expired_before_its_job_is_a_404(client: TestClient, redis: Redis) -> None:
    job = submitted(client)
    animated(redis, job["id"])
    redis.delete(keys.animation(job["id"], "execution"))
    assert "expired" in problem(client.get(job["urls"]["animation"]), 404, "job_not_found")["detail"]


@pytest.mark.parametrize("accept", ["application/json", "image/gif", "text/html"])
def test_another_type_is_a_406(client: TestClient, redis: Redis, accept: str) -> None:
    job = submitted(client)
    animated(redis, job["id"])
    answer = client.get(job["urls"]["animation"], headers={"Accept": accept})
    assert "image/apng or image/png" in problem(answer, 406, "not_acceptable")["detail"]
