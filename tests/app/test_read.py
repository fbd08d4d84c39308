"""What a job looks like from outside at each point of its life, as JSON and as a picture."""

import hashlib
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from redis import Redis

from jobs import keys
from jobs.catalogue import announce
from jobs.record import Failure
from tests import cards
from tests.app.answers import problem

PNG = {"Accept": "image/png"}


def submitted(client: TestClient, **body: object) -> str:
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def varies_by(answer: Any) -> set[str]:
    return {name.strip() for name in answer.headers["vary"].split(",")}


def read(client: TestClient, job_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200
    assert varies_by(answer) >= {"Accept"}
    body: dict[str, Any] = answer.json()
    return body


def test_a_running_job_tells_its_attempt_engine_and_progress(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client, steps=10, guidance_scale=1)
    cards.start(redis, job_id, completed=3)
    job = read(client, job_id)
    assert (job["status"], job["attempt"], job["engine"]) == ("running", 1, "cpu-float32-strict-0")
    assert job["progress"] == {"completed": 3, "total": 10, "fraction": 0.3}
    assert job["created_at"] <= job["started_at"]
    assert (job["finished_at"], job["expires_at"], job["images"]) == (None, None, [])


def test_a_job_that_has_succeeded_lists_its_pictures(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client, seed=4294967295, num_images=2, ttl_s=60)
    pngs = [cards.png((1, 1, 1)), cards.png((2, 2, 2))]
    cards.succeed(redis, job_id, pngs)
    job = read(client, job_id)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["progress"]["fraction"] == 1.0
    assert job["images"] == [
        {
            "index": index,
            "url": f"/v1/jobs/{job_id}/images/{index}.png",
            "seed": seed,
            "class_label": "apple",
            "width": 16,
            "height": 16,
            "sha256": hashlib.sha256(pngs[index]).hexdigest(),
        }
        for index, seed in enumerate([4294967295, 0])
    ]
    assert job["finished_at"] < job["expires_at"]
    for image, png in zip(job["images"], pngs, strict=True):
        answer = client.get(image["url"])
        assert answer.content == png
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["etag"] == f'"{image["sha256"]}"'
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("index", ["2", "-1", "00", "0.0", "x", "%30%30"])
def test_a_picture_that_the_job_has_not_is_a_404(client: TestClient, redis: Redis, index: str) -> None:
    job_id = submitted(client)
    cards.succeed(redis, job_id, [cards.png((1, 1, 1))])
    detail = problem(client.get(f"/v1/jobs/{job_id}/images/{index}.png"), 404, "job_not_found")["detail"]
    assert "it has 1 so far" in detail


def test_a_picture_that_has_expired_is_a_404(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client)
    cards.succeed(redis, job_id, [cards.png((1, 1, 1))])
    redis.delete(keys.picture(job_id, "execution", 0))
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/images/0.png"):
        assert "expired" in problem(client.get(path, headers=PNG), 404, "job_not_found")["detail"]


def test_asked_for_the_picture_a_job_of_one_gives_its_very_bytes(client: TestClient, redis: Redis) -> None:
    job_id, png = submitted(client), cards.png((5, 6, 7))
    cards.succeed(redis, job_id, [png])
    answer = client.get(f"/v1/jobs/{job_id}", headers=PNG)
    assert answer.content == png
    assert (answer.headers["content-type"], varies_by(answer)) == ("image/png", {"Accept"})
    assert answer.headers["etag"] == f'"{hashlib.sha256(png).hexdigest()}"'


@pytest.mark.parametrize(("count", "across", "down"), [(2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (16, 4, 4)])
def test_asked_for_the_picture_a_job_of_several_gives_them_as_a_grid_row_by_row(
    client: TestClient, redis: Redis, count: int, across: int, down: int
) -> None:
    job_id = submitted(client, num_images=count)
    cards.succeed(redis, job_id, [cards.png((k + 1, 0, 0)) for k in range(count)])
    answer = client.get(f"/v1/jobs/{job_id}", headers=PNG)
    assert answer.headers["content-type"] == "image/png"
    sheet = Image.open(io.BytesIO(answer.content))
    assert sheet.size == (16 * across, 16 * down)
    shown = [sheet.getpixel((16 * (k % across) + 8, 16 * (k // across) + 8)) for k in range(across * down)]
    assert shown == [(k + 1, 0, 0) if k < count else (0, 0, 0) for k in range(across * down)]


@pytest.mark.parametrize("running", [False, True])
def test_asked_for_a_picture_that_is_not_there_yet_the_answer_is_the_job_and_when_to_ask_again(
    client: TestClient, redis: Redis, running: bool
) -> None:
    job_id = submitted(client)
    if running:
        cards.start(redis, job_id)
    answer = client.get(f"/v1/jobs/{job_id}", headers=PNG)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) >= 1
    assert varies_by(answer) >= {"Accept"}
    assert answer.json()["status"] == ("running" if running else "queued")


def test_a_job_that_failed_says_why_and_has_no_picture(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client)
    cards.fail(redis, job_id, Failure(code="model_changed", detail="submit it again"))
    job = read(client, job_id)
    assert (job["status"], job["images"]) == ("failed", [])
    assert job["error"] == {"code": "model_changed", "detail": "submit it again"}
    answer = client.get(f"/v1/jobs/{job_id}", headers=PNG)
    assert "submit it again" in problem(answer, 409, "job_failed")["detail"]


def test_a_job_that_rq_gave_up_says_that_its_worker_died(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client)
    cards.fail(redis, job_id, None)
    assert read(client, job_id)["error"]["code"] == "worker_died"


def test_a_job_canceled_through_rq_is_canceled_here(client: TestClient, redis: Redis) -> None:
    job_id = submitted(client)
    cards.fetch(redis, job_id).cancel()
    job = read(client, job_id)
    assert (job["status"], job["error"]) == ("canceled", None)
    answer = client.get(f"/v1/jobs/{job_id}", headers=PNG)
    assert "it was canceled" in problem(answer, 409, "job_canceled")["detail"]


def test_a_key_of_another_type_under_the_name_of_a_job_is_no_job(client: TestClient, redis: Redis) -> None:
    redis.set("rq:job:job_" + "0" * 24, "text")
    problem(client.get("/v1/jobs/job_" + "0" * 24), 404, "job_not_found")


def test_the_models_are_listed_with_what_they_take(client: TestClient) -> None:
    answer = client.get("/v1/models").json()
    assert (answer["object"], answer["next_cursor"]) == ("list", None)
    fruit, pebble = answer["data"]
    assert client.get("/v1/models/fruit-16").json() == fruit
    assert (fruit["id"], fruit["object"], fruit["workers"]) == ("fruit-16", "model", 1)
    assert fruit["class_names"] == ["apple", "pear", "plum"]
    assert fruit["samplers"] == ["ddpm", "ddim", "heun"]
    assert (fruit["width"], fruit["height"], fruit["default_steps"]) == (16, 16, 50)
    assert pebble["class_names"] == []


def test_a_model_tells_what_its_samplers_take_and_what_one_job_may_ask_for(client: TestClient) -> None:
    fruit = client.get("/v1/models/fruit-16").json()
    assert fruit["sampler_details"] == client.get("/v1/samplers").json()["data"]
    ddpm, ddim, heun = fruit["sampler_details"]
    assert ddim["parameters"] == {
        "steps": {"minimum": 1.0, "maximum": 1000.0, "default": None},
        "eta": {"minimum": 0.0, "maximum": 1.0, "default": 0.0},
    }
    assert set(ddpm["parameters"]) == {"steps"}
    assert heun["parameters"]["steps"]["maximum"] == 40
    assert fruit["limits"] == {
        "max_steps": 1000,
        "max_images": 16,
        "max_scale": 16,
        "max_ttl_s": 86400,
        "max_evaluations": 16000,
    }
    assert (fruit["created"], fruit["owned_by"], fruit["quality"], fruit["rate"]) == (0, "unfog", [], None)


def test_what_was_measured_of_a_model_is_told_with_what_the_workers_do_now(empty: TestClient, redis: Redis) -> None:
    rows = [
        {"sampler": "ddim", "steps": 20, "evaluations": 20, "guidance_scale": 1.0, "frechet": 0.5},
        {"sampler": "ddim", "steps": 20, "evaluations": 20, "guidance_scale": 2.0, "frechet": 0.25},
    ]
    card = cards.FRUIT.model_copy(update={"quality": rows, "created": 1_700_000_000, "owned_by": "orchard"})
    for rate, told in ((None, [None, None]), (100.0, [5.0, 2.5])):
        announce(redis, cards.WORKER, (card,), 3600, {} if rate is None else {card.id: rate}, {card.id: 0.01})
        model = empty.get("/v1/models/fruit-16").json()
        assert (model["created"], model["owned_by"], model["rate"]) == (1_700_000_000, "orchard", rate)
        assert [row.pop("images_per_s") for row in model["quality"]] == told
        assert model["quality"] == rows


def test_a_model_whose_workers_are_gone_is_still_listed_with_none(empty: TestClient, redis: Redis) -> None:
    cards.announce_both(redis, ttl_s=-1)
    assert [model["workers"] for model in empty.get("/v1/models").json()["data"]] == [0, 0]


def test_an_unknown_model_is_a_404(client: TestClient) -> None:
    problem(client.get("/v1/models/cats-64"), 404, "model_not_found")


def test_the_samplers_are_listed_once_with_their_parameters(client: TestClient) -> None:
    data = client.get("/v1/samplers").json()["data"]
    assert [sampler["name"] for sampler in data] == ["ddpm", "ddim", "heun"]
    assert [sampler["takes_eta"] for sampler in data] == [False, True, False]
    assert {sampler["object"] for sampler in data} == {"sampler"}
