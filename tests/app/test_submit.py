"""A good request becomes one RQ job, in JSON, in one transaction; what comes back is the job."""

import asyncio
import json
import re
import threading
import zlib
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from redis import Redis
from rq import Queue

from app.main import create_app
from jobs.record import Failure, spec_of
from jobs.request import JobRequest
from jobs.settings import Settings
from jobs.spec import MAX_SEED
from tests import cards
from tests.app.answers import errors, problem

EVERYTHING = {
    "model": "fruit-16",
    "sampler": "ddim",
    "steps": 20,
    "num_images": 3,
    "seed": 7,
    "class_label": "pear",
    "guidance_scale": 3.5,
    "eta": 0.25,
    "timestep_spacing": "trailing",
    "scale": 8,
    "ttl_s": 600,
    "metadata": {"wall": "north", "ключ": "значение"},
}


def post(client: TestClient, body: dict[str, Any] | None = None, **headers: str) -> Any:
    return client.post("/v1/jobs", json=body or {}, headers=headers)


def accepted(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_job_is_accepted_with_its_address(client: TestClient) -> None:
    answer = post(client, EVERYTHING)
    job = accepted(answer)
    assert answer.headers["content-type"] == "application/json"
    assert {"Prefer", "Accept"} <= {name.strip() for name in answer.headers["vary"].split(",")}
    assert answer.headers["location"] == job["urls"]["self"] == f"/v1/jobs/{job['id']}"
    assert "preference-applied" not in answer.headers
    assert client.get(answer.headers["location"]).json() == job


def test_the_job_says_what_was_asked_and_what_was_chosen(client: TestClient) -> None:
    job = accepted(post(client, EVERYTHING))
    assert re.fullmatch(r"job_[0-9a-f]{24}", job.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job.pop("created_at"))
    job.pop("urls")
    request = job.pop("request")
    assert set(request) == set(JobRequest.model_fields) - {"num_inference_steps", "metadata"}
    assert {name: request[name] for name in EVERYTHING if name != "metadata"} == {
        name: value for name, value in EVERYTHING.items() if name != "metadata"
    }
    assert job == {
        "object": "job",
        "status": "queued",
        "model": "fruit-16",
        "model_fingerprint": "sha256:f00d",
        "engine": None,
        "seed": 7,
        "attempt": 0,
        "progress": {"completed": 0, "total": 3 * 20 * 2, "fraction": 0.0},
        "queue_position": 1,
        "eta_s": None,
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "images": [],
        "metadata": EVERYTHING["metadata"],
        "error": None,
    }


def test_every_choice_left_open_is_made_by_the_model_and_the_seed(client: TestClient) -> None:
    job = accepted(post(client))
    assert 0 <= job["seed"] <= MAX_SEED
    label = cards.FRUIT.class_names[job["seed"] % 3]
    expected = {
        "model": "fruit-16",
        "sampler": "ddim",
        "steps": 50,
        "num_images": 1,
        "seed": job["seed"],
        "class_label": label,
        "guidance_scale": 2.0,
        "eta": 0.0,
        "timestep_spacing": "leading",
        "scale": 1,
        "ttl_s": 3600,
    }
    assert {name: job["request"][name] for name in expected} == expected


@pytest.mark.parametrize(
    "body",
    [
        {},
        EVERYTHING,
        {"num_images": 3},
        {"num_images": 2, "seed": MAX_SEED},
        {"num_inference_steps": 9},
        {"class_label": 2},
        {"model": "pebble-8", "num_images": 4},
    ],
    ids=str,
)
def test_the_request_of_a_job_sent_again_means_the_same_pictures(
    client: TestClient, redis: Redis, body: dict[str, Any]
) -> None:
    first = accepted(post(client, body))
    second = accepted(post(client, {**first["request"], "metadata": first["metadata"]}))
    one, other = (spec_of(cards.fetch(redis, job["id"])) for job in (first, second))
    assert one.request_id != other.request_id
    assert one == other.model_copy(update={"request_id": one.request_id})


def test_a_model_without_classes_gives_pictures_without_a_label(client: TestClient, redis: Redis) -> None:
    job = accepted(post(client, {"model": "pebble-8", "num_images": 2}))
    assert job["request"]["class_label"] is None
    assert job["progress"]["total"] == 2 * 50
    assert spec_of(cards.fetch(redis, job["id"])).class_labels is None


def test_null_means_left_out_where_there_is_no_plain_default(client: TestClient) -> None:
    names = ("model", "sampler", "steps", "seed", "class_label", "guidance_scale", "timestep_spacing")
    assert accepted(post(client, dict.fromkeys(names)))["request"]["steps"] == 50


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_content_type_may_have_parameters_and_any_case(client: TestClient, content_type: str) -> None:
    accepted(client.post("/v1/jobs", content="{}", headers={"Content-Type": content_type}))


def test_the_queue_holds_the_job_once_and_rq_counts_it(client: TestClient, redis: Redis) -> None:
    job = accepted(post(client))
    queue = Queue(cards.fetch(redis, job["id"]).origin, connection=redis)
    assert queue.name.startswith("unfog.fruit-16")
    assert queue.job_ids == [job["id"]]
    assert Queue.all(connection=redis) == [queue]


def test_the_job_in_redis_is_json_and_text_and_nothing_that_could_be_unpickled(
    client: TestClient, redis: Redis
) -> None:
    job = accepted(post(client, EVERYTHING))
    fields: Any = redis.hgetall(f"rq:job:{job['id']}")
    function, instance, arguments, named = json.loads(zlib.decompress(fields.pop(b"data")))
    assert (function, instance, arguments, list(named)) == ("unfog.generate", None, [], ["spec"])
    assert json.loads(named["spec"])["seed"] == 7
    assert json.loads(fields.pop(b"meta"))["total"] == 120
    for name, value in fields.items():
        assert value.decode().isprintable(), name


def test_a_job_is_written_in_one_transaction(client: TestClient, redis: Redis, redis_url: str) -> None:
    with Redis.from_url(redis_url) as watcher, watcher.monitor() as monitor:
        accepted(post(client))
        redis.echo("enough")
        seen: list[tuple[str, str]] = []
        while not seen or seen[-1][0] != "ECHO":
            told = monitor.next_command()
            seen.append((told["command"].split()[0].upper(), told["client_type"]))
    writes = ("HSET", "RPUSH", "SADD", "ZADD", "HINCRBY", "SET", "EXPIRE")
    at = [n for n, (word, _) in enumerate(seen) if word in writes]
    assert {"HSET", "RPUSH", "SADD"} <= {seen[n][0] for n in at}
    # One script: nothing of anybody else comes between, and nothing stands outside.
    assert {client for _, client in seen[at[0] : at[-1] + 1]} == {"lua"}


def test_more_callers_than_connections_are_all_served(settings: Settings, redis: Redis) -> None:
    cards.announce_both(redis)
    app = create_app(settings)

    async def many() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api") as client,
        ):
            return await asyncio.gather(*(client.post("/v1/jobs", json={"seed": n}) for n in range(150)))

    answers = asyncio.run(many())
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 150
    assert {job_id for queue in Queue.all(connection=redis) for job_id in queue.job_ids} == ids


def test_urls_carry_the_public_prefix(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis)
    settings = Settings(redis_url=redis_url, public_url="https://pictures.example/api/")
    with TestClient(create_app(settings)) as client:
        answer = post(client)
    where = f"https://pictures.example/api/v1/jobs/{answer.json()['id']}"
    assert answer.headers["location"] == answer.json()["urls"]["self"] == where


def test_without_any_model_yet_the_answer_is_to_try_again(empty: TestClient, redis: Redis) -> None:
    for answer in (post(empty), post(empty, {"model": "fruit-16"}), empty.get("/v1/models/fruit-16")):
        assert "try again" in problem(answer, 503, "no_models")["detail"]
        assert answer.headers["retry-after"] == "5"
    assert redis.keys() == []


def test_a_known_model_without_a_live_worker_still_takes_jobs(empty: TestClient, redis: Redis) -> None:
    cards.announce_both(redis, ttl_s=-1)
    accepted(post(empty))


def test_a_job_that_ends_while_its_caller_waits_is_answered_with_its_end(client: TestClient, redis: Redis) -> None:
    worker = _meanwhile(lambda job_id: cards.succeed(redis, job_id, [cards.png((1, 2, 3))]), redis)
    answer = post(client, {"class_label": 1}, Prefer="wait=60")
    worker.join()
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=60"
    assert {"Prefer", "Accept"} <= {name.strip() for name in answer.headers["vary"].split(",")}
    assert answer.headers["location"] == answer.json()["urls"]["self"]
    assert answer.json()["status"] == "succeeded"


def test_one_who_waits_for_a_picture_gets_its_bytes(client: TestClient, redis: Redis) -> None:
    picture = cards.png((9, 8, 7))
    worker = _meanwhile(lambda job_id: cards.succeed(redis, job_id, [picture]), redis)
    answer = post(client, Prefer="wait=60", Accept="image/png")
    worker.join()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == picture
    assert answer.headers["location"].startswith("/v1/jobs/job_")


def test_one_who_waits_for_a_picture_that_fails_gets_the_reason(client: TestClient, redis: Redis) -> None:
    failure = Failure(code="not_finite", detail="the picture came out as NaN")
    worker = _meanwhile(lambda job_id: cards.fail(redis, job_id, failure), redis)
    answer = post(client, Prefer="wait=60", Accept="image/png")
    worker.join()
    assert "came out as NaN" in problem(answer, 409, "job_failed")["detail"]
    assert answer.headers["location"].startswith("/v1/jobs/job_")


def test_one_who_waits_sees_an_end_that_nobody_spoke_of(client: TestClient, redis: Redis) -> None:
    worker = _meanwhile(lambda job_id: cards.fetch(redis, job_id).cancel(), redis)
    answer = post(client, Prefer="wait=60")
    worker.join()
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


def test_a_wait_that_runs_out_is_answered_as_accepted(client: TestClient) -> None:
    answer = post(client, Prefer="wait=1", Accept="image/png")
    assert accepted(answer)["status"] == "queued"
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("prefer", ["wait=0", "wait=abc", "wait=-1", "wait=1.5", "wait", "respond-async", ""])
def test_a_wait_of_nothing_or_without_sense_is_no_wait(client: TestClient, prefer: str) -> None:
    answer = post(client, Prefer=prefer)
    accepted(answer)
    assert "preference-applied" not in answer.headers


def test_a_refused_request_is_answered_at_once_whatever_the_wait(client: TestClient) -> None:
    errors(post(client, {"steps": 0}, Prefer="wait=60"))


def _meanwhile(act: Any, redis: Redis) -> threading.Thread:
    thread = threading.Thread(target=lambda: act(cards.wait_for_job(redis)))
    thread.start()
    return thread
