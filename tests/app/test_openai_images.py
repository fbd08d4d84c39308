"""The images call of OpenAI's API: what it makes of a body, of a job that does not end well, and of every error."""

import base64
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.routes.openai import ImagesRequest
from jobs.record import Failure, spec_of
from tests import cards
from tests.app.keyed import URL_SECRET, Door, opened

PATH = "/v1/images/generations"
DOCS = (Path(__file__).resolve().parent.parent.parent / "docs" / "openai.md").read_text()
PNGS = [cards.png((1, 2, 3), (128, 128)), cards.png((4, 5, 6), (128, 128))]


@pytest.fixture
def door(redis: Redis, redis_url: str) -> Iterator[Door]:
    """An API without keys."""
    with opened(redis, redis_url) as one:
        yield one


def ask(client: TestClient, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return client.post(PATH, json={"prompt": "any", **body}, headers=headers)


def error(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, after seeing that it has OpenAI's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    ((name, found),) = answer.json().items()
    assert name == "error"
    assert found.keys() == {"message", "type", "param", "code"}
    assert found["message"]
    assert found["code"]
    return dict(found)


def worker(redis: Redis, end: Any) -> threading.Thread:
    """Does something with the one job as soon as it is there."""
    thread = threading.Thread(target=lambda: end(cards.wait_for_job(redis)))
    thread.start()
    return thread


# What becomes of a body


@pytest.mark.parametrize(
    ("body", "became"),
    [
        ({}, {"num_images": 1, "class_names": None, "scale": 1, "model": "fruit-16", "sampler": "ddim"}),
        ({"prompt": ""}, {"class_names": None}),
        ({"prompt": "  ANY "}, {"class_names": None}),
        ({"prompt": "Pear"}, {"class_names": ("pear",)}),
        ({"prompt": " plum\n", "n": 3}, {"class_names": ("plum",) * 3, "num_images": 3}),
        ({"size": "auto"}, {"scale": 1}),
        ({"size": "16x16"}, {"scale": 1}),
        ({"size": "128x128"}, {"scale": 8}),
        ({"size": "256x256"}, {"scale": 16}),
        ({"model": "pebble-8", "size": "128x128"}, {"scale": 16, "model": "pebble-8"}),
        ({"seed": 7, "steps": 9, "sampler": "heun"}, {"seed": 7, "steps": 9, "sampler": "heun"}),
        ({"guidance_scale": 3}, {"guidance_scale": 3.0}),
        (dict.fromkeys(set(ImagesRequest.model_fields) - {"prompt"}), {"num_images": 1, "scale": 1}),
        ({"quality": "standard", "background": "opaque", "moderation": "auto", "output_format": "png"}, {}),
        ({"stream": False, "user": "u-17", "safety_identifier": "s"}, {}),
    ],
)
def test_a_body_becomes_a_job(
    door: Door, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], became: dict[str, Any]
) -> None:
    monkeypatch.setattr("app.routes.openai.MAX_WAIT_S", 0)
    error(ask(door.client, **body), 504)
    spec = spec_of(cards.fetch(door.redis, cards.wait_for_job(door.redis)))
    for name, value in became.items():
        if name == "class_names" and value is None:
            assert spec.class_names is not None, "drawn"
        else:
            assert getattr(spec, name) == value
    assert spec.cancel_on_disconnect
    assert "u-17" not in spec.model_dump_json()


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": "a cat on a mat"}, "prompt", "unknown_class"),
        ({"prompt": "x" * 32_001}, "prompt", "out_of_range"),
        ({"prompt": None}, "prompt", "wrong_type"),
        ({"prompt": "apple", "model": "pebble-8"}, "prompt", "unknown_class"),
        ({"n": 0}, "n", "out_of_range"),
        ({"n": 17}, "n", "out_of_range"),
        ({"n": "2"}, "n", "wrong_type"),
        ({"size": "1024x1024"}, "size", "out_of_range"),
        ({"size": "272x272"}, "size", "out_of_range"),
        ({"size": "17x17"}, "size", "out_of_range"),
        ({"size": "0x0"}, "size", "out_of_range"),
        ({"size": "16x32"}, "size", "out_of_range"),
        ({"size": "8x8"}, "size", "out_of_range"),
        ({"size": "16 x 16"}, "size", "out_of_range"),
        ({"size": "9" * 5 + "x1"}, "size", "out_of_range"),
        ({"size": 256}, "size", "wrong_type"),
        ({"response_format": "png"}, "response_format", "unknown_value"),
        ({"steps": 41, "sampler": "heun"}, "steps", "out_of_range"),
        ({"steps": 1001}, "steps", "out_of_range"),
        ({"seed": -1}, "seed", "out_of_range"),
        ({"sampler": "none"}, "sampler", "unknown_sampler"),
        ({"guidance_scale": 2, "model": "pebble-8"}, "guidance_scale", "not_for_model"),
        ({"quality": "hd"}, "quality", "unknown_value"),
        ({"style": "vivid"}, "style", "unknown_field"),
        ({"mask": None}, "mask", "unknown_field"),
        ({"n": 16, "steps": 1000, "guidance_scale": 2}, "steps", "too_many_evaluations"),
    ],
)
def test_what_does_not_fit_is_a_400_that_names_the_parameter(
    door: Door, body: dict[str, Any], param: str, code: str
) -> None:
    found = error(ask(door.client, **body), 400)
    assert (found["type"], found["param"], found["code"]) == ("invalid_request_error", param, code)
    assert len(found["message"]) < 2000
    assert door.redis.keys("rq:job:*") == []


def test_the_classes_are_listed_to_who_sends_a_text(door: Door) -> None:
    said = error(ask(door.client, prompt="a cat on a mat"), 400)["message"]
    assert "does not read text" in said
    assert "apple, pear, plum" in said


def test_every_wrong_field_is_in_the_message(door: Door) -> None:
    said = error(ask(door.client, prompt="cat", size="7x7"), 400)["message"]
    assert "/prompt" in said
    assert "/size" in said


# What the answer has


def test_pictures_come_as_signed_absolute_links(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, url_secret=URL_SECRET) as door:
        alice = door.caller("alice")
        thread = worker(redis, lambda job_id: cards.succeed(redis, job_id, PNGS))
        answer = alice("POST", PATH, json={"prompt": "pear", "n": 2, "size": "128x128"})
        thread.join()
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"created", "data"}
        for datum, png in zip(answer.json()["data"], PNGS, strict=True):
            assert datum.keys() == {"url", "b64_json", "revised_prompt"}
            assert datum["url"].startswith("http://testserver/v1/jobs/job_")
            assert (datum["b64_json"], datum["revised_prompt"]) == (None, "pear")
            assert door.nobody("GET", datum["url"]).content == png
        job = alice("GET", answer.headers["location"]).json()
        assert answer.json()["created"] > 1_700_000_000
        assert (job["status"], job["request"]["scale"]) == ("succeeded", 8)


def test_links_begin_with_the_public_url_where_there_is_one(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, public_url="https://unfog.example/draw") as door:
        thread = worker(redis, lambda job_id: cards.succeed(redis, job_id, PNGS[:1]))
        (datum,) = ask(door.client).json()["data"]
        thread.join()
        assert datum["url"].startswith("https://unfog.example/draw/v1/jobs/")
        assert urlsplit(datum["url"]).query == ""


def test_pictures_come_in_the_answer_itself(door: Door) -> None:
    thread = worker(door.redis, lambda job_id: cards.succeed(door.redis, job_id, PNGS))
    data = ask(door.client, n=2, response_format="b64_json").json()["data"]
    thread.join()
    assert [base64.b64decode(datum["b64_json"]) for datum in data] == PNGS
    assert [datum["url"] for datum in data] == [None, None]


def test_an_idempotency_key_gives_the_same_pictures_again(door: Door) -> None:
    thread = worker(door.redis, lambda job_id: cards.succeed(door.redis, job_id, PNGS[:1]))
    headers = {"Idempotency-Key": "k"}
    first, again = (ask(door.client, headers, response_format="b64_json") for _ in range(2))
    thread.join()
    assert first.json() == again.json()
    assert len(door.redis.keys("rq:job:*")) == 1


# What does not end well


def test_a_job_that_takes_too_long_goes_on_and_the_answer_says_where(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routes.openai.MAX_WAIT_S", 0)
    answer = ask(door.client)
    found = error(answer, 504)
    assert (found["type"], found["code"]) == ("server_error", "still_running")
    assert answer.headers["location"] in found["message"]
    assert answer.headers["x-should-retry"] == "false", "a second try would draw it once more"
    assert door.client.get(answer.headers["location"]).json()["status"] == "queued"


@pytest.mark.parametrize(("code", "detail"), [("out_of_memory", "too large"), ("not_finite", "NaN")])
def test_a_job_that_fails_says_why(door: Door, code: str, detail: str) -> None:
    failure = Failure(code=code, detail=detail)
    thread = worker(door.redis, lambda job_id: cards.fail(door.redis, job_id, failure))
    answer = ask(door.client)
    thread.join()
    found = error(answer, 500)
    assert (found["type"], found["code"]) == ("server_error", "job_failed")
    assert detail in found["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_job_that_is_canceled_meanwhile_says_so(door: Door) -> None:
    thread = worker(door.redis, lambda job_id: door.client.post(f"/v1/jobs/{job_id}/cancel"))
    found = error(ask(door.client), 500)
    thread.join()
    assert found["code"] == "job_canceled"


# The form of errors


def test_errors_of_reading_the_body_have_the_form(door: Door) -> None:
    post = door.client.post
    json = {"Content-Type": "application/json"}
    assert error(post(PATH, content=b"{", headers=json), 400)["code"] == "not_json"
    assert error(post(PATH, content=b'{"n":1,"n":2}', headers=json), 400)["type"] == "invalid_request_error"
    assert error(post(PATH, content=b"[]", headers=json), 400)["param"] is None
    assert error(post(PATH, data={"prompt": "any"}), 415)["code"] == "unsupported_media_type"
    assert error(post(PATH, content=b"x" * 9_000_000, headers=json), 413)["code"] == "body_too_large"
    assert error(door.client.get(PATH), 405)["code"] == "method_not_allowed"


def test_a_model_that_is_not_here_is_a_404(door: Door) -> None:
    found = error(ask(door.client, model="dall-e-2"), 404)
    assert (found["param"], found["code"]) == ("model", "unknown_model")
    assert "fruit-16" in found["message"]


def test_errors_of_the_whole_service_have_the_form(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, rate_limit="1/hour", max_queued_evaluations=1) as door:
        redis.flushall()
        assert error(ask(door.client), 503)["code"] == "no_models"
        limited = ask(door.client)
        found = error(limited, 429)
        assert (found["type"], found["code"]) == ("rate_limit_error", "rate_limited")
        assert int(limited.headers["retry-after"]) >= 1


def test_a_full_queue_is_a_rate_limit_with_a_time_to_come_back(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, max_queued_evaluations=1) as door:
        door.nobody.submit()
        full = ask(door.client)
        assert error(full, 429)["type"] == "rate_limit_error"
        assert int(full.headers["retry-after"]) >= 1


def test_errors_of_keys_have_the_form(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url) as door:
        reader = door.caller("alice", "read")
        found = error(door.nobody("POST", PATH, json={}), 401)
        assert (found["type"], found["code"]) == ("authentication_error", "key_required")
        found = error(reader("POST", PATH, json={}), 403)
        assert (found["type"], found["code"]) == ("permission_error", "scope_missing")


def test_a_fault_of_ours_has_the_form_and_tells_nothing_inner(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("an inner matter")

    monkeypatch.setattr("app.routes.openai.job_request", broken)
    answer = ask(door.client)
    found = error(answer, 500)
    assert (found["type"], found["code"]) == ("server_error", "internal_error")
    assert "inner matter" not in answer.text


def test_other_paths_keep_their_own_form(door: Door) -> None:
    for path in ("/v1/images", "/v1/images/edits", "/v1/models/none"):
        assert door.client.get(path).headers["content-type"] == "application/problem+json"


# docs/openai.md


def test_the_docs_have_every_field_and_no_other() -> None:
    named = re.findall(r"^\| `(\w+)` \| ", DOCS, re.MULTILINE)
    assert named == list(ImagesRequest.model_fields)
