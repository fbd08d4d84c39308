"""Bad input is refused with the place that is wrong and with what is allowed, and nothing of it reaches Redis."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.settings import Settings
from tests import cards
from tests.app.answers import errors, problem

JSON = {"Content-Type": "application/json"}
A_MEGABYTE = 1_048_576


@pytest.fixture(autouse=True)
def _nothing_reaches_redis(redis: Redis, client: TestClient) -> Iterator[None]:
    before = dump(redis)
    assert before.keys() == {key.encode() for key in cards.CATALOGUE_KEYS}
    yield
    assert dump(redis) == before


def dump(redis: Redis) -> dict[bytes, object]:
    return {key: redis.dump(key) for key in redis.scan_iter()}


def post(client: TestClient, body: str | bytes, headers: dict[str, str] = JSON) -> Any:
    return client.post("/v1/jobs", content=body, headers=headers)


STEPS = "whole number from 1 to 1000"
SEED = "whole number from 0 to 4294967295"
LABEL = "a text of at most 128 characters or a whole number"
ETA = "number from 0 to 1"
SCALE = "number from 0 to 30"
METADATA = (
    "an object with at most 16 entries, each key a text of 1 to 64 characters, each value a text of at most 512"
)
FIELDS = "the fields are model, sampler, steps, num_inference_steps"

ONE_FIELD = [
    ('{"sampler": "plms"}', "/sampler", "unknown_sampler", "allowed: ddpm, ddim, heun"),
    ('{"sampler": ""}', "/sampler", "unknown_sampler", "allowed: ddpm, ddim, heun"),
    ('{"sampler": 7}', "/sampler", "wrong_type", "a text of at most 64 characters"),
    ('{"sampler": "%s"}' % ("d" * 65), "/sampler", "out_of_range", "a text of at most 64 characters"),
    ('{"steps": 0}', "/steps", "out_of_range", STEPS),
    ('{"steps": -1}', "/steps", "out_of_range", STEPS),
    ('{"steps": 1001}', "/steps", "out_of_range", STEPS),
    ('{"steps": 2.5}', "/steps", "wrong_type", STEPS),
    ('{"steps": 50.0}', "/steps", "wrong_type", STEPS),
    ('{"steps": 5e1}', "/steps", "wrong_type", STEPS),
    ('{"steps": "fifty"}', "/steps", "wrong_type", STEPS),
    ('{"steps": "50"}', "/steps", "wrong_type", STEPS),
    ('{"steps": true}', "/steps", "wrong_type", STEPS),
    ('{"steps": [50]}', "/steps", "wrong_type", STEPS),
    ('{"steps": {"value": 50}}', "/steps", "wrong_type", STEPS),
    ('{"steps": NaN}', "/steps", "wrong_type", STEPS),
    ('{"steps": 1e400}', "/steps", "wrong_type", STEPS),
    ('{"steps": 1%s}' % ("0" * 4000), "/steps", "out_of_range", STEPS),
    ('{"num_inference_steps": 0}', "/num_inference_steps", "out_of_range", STEPS),
    ('{"steps": 5, "num_inference_steps": 5}', "/num_inference_steps", "conflict", "give only one"),
    ('{"sampler": "heun", "steps": 41}', "/steps", "out_of_range", "heun takes 1 to 40 steps with fruit-16"),
    (
        '{"sampler": "heun", "num_inference_steps": 41}',
        "/num_inference_steps",
        "out_of_range",
        "heun takes 1 to 40 steps with fruit-16",
    ),
    ('{"num_images": 0}', "/num_images", "out_of_range", "whole number from 1 to 16"),
    ('{"num_images": 17}', "/num_images", "out_of_range", "whole number from 1 to 16"),
    ('{"num_images": null}', "/num_images", "wrong_type", "whole number from 1 to 16"),
    ('{"num_images": "1"}', "/num_images", "wrong_type", "whole number from 1 to 16"),
    ('{"seed": -1}', "/seed", "out_of_range", SEED),
    ('{"seed": 4294967296}', "/seed", "out_of_range", SEED),
    ('{"seed": 1.5}', "/seed", "wrong_type", SEED),
    ('{"seed": "7"}', "/seed", "wrong_type", SEED),
    ('{"seed": false}', "/seed", "wrong_type", SEED),
    ('{"seed": -Infinity}', "/seed", "wrong_type", SEED),
    ('{"eta": 0.5, "sampler": "ddpm"}', "/eta", "not_for_sampler", "leave it out, or use one of: ddim"),
    ('{"eta": 1.01}', "/eta", "out_of_range", ETA),
    ('{"eta": -0.1}', "/eta", "out_of_range", ETA),
    ('{"eta": NaN}', "/eta", "out_of_range", ETA),
    ('{"eta": Infinity}', "/eta", "out_of_range", ETA),
    ('{"eta": "0.5"}', "/eta", "wrong_type", ETA),
    ('{"eta": null}', "/eta", "wrong_type", ETA),
    ('{"class_label": "banana"}', "/class_label", "unknown_class", "allowed: apple, pear, plum (or 0 to 2)"),
    ('{"class_label": "Apple"}', "/class_label", "unknown_class", "allowed: apple, pear, plum (or 0 to 2)"),
    ('{"class_label": "0"}', "/class_label", "unknown_class", "allowed: apple, pear, plum (or 0 to 2)"),
    ('{"class_label": 3}', "/class_label", "unknown_class", "allowed: apple, pear, plum (or 0 to 2)"),
    ('{"class_label": -1}', "/class_label", "unknown_class", "allowed: apple, pear, plum (or 0 to 2)"),
    ('{"class_label": true}', "/class_label", "wrong_type", LABEL),
    ('{"class_label": 1.0}', "/class_label", "wrong_type", LABEL),
    ('{"class_label": ["apple"]}', "/class_label", "wrong_type", LABEL),
    ('{"class_label": "%s"}' % ("a" * 129), "/class_label", "out_of_range", LABEL),
    ('{"model": "pebble-8", "class_label": 0}', "/class_label", "unknown_class", "the model has no classes"),
    ('{"guidance_scale": 30.5}', "/guidance_scale", "out_of_range", SCALE),
    ('{"guidance_scale": -1}', "/guidance_scale", "out_of_range", SCALE),
    ('{"guidance_scale": NaN}', "/guidance_scale", "out_of_range", SCALE),
    ('{"model": "pebble-8", "guidance_scale": 2}', "/guidance_scale", "not_for_model", "only guidance_scale 1"),
    ('{"timestep_spacing": "even"}', "/timestep_spacing", "unknown_value", "one of leading, trailing, linspace"),
    ('{"scale": 0}', "/scale", "out_of_range", "whole number from 1 to 16"),
    ('{"scale": 17}', "/scale", "out_of_range", "whole number from 1 to 16"),
    ('{"ttl_s": 0}', "/ttl_s", "out_of_range", "whole number from 1 to 86400"),
    ('{"ttl_s": 86401}', "/ttl_s", "out_of_range", "whole number from 1 to 86400"),
    ('{"metadata": null}', "/metadata", "wrong_type", METADATA),
    ('{"metadata": ["a"]}', "/metadata", "wrong_type", METADATA),
    (json.dumps({"metadata": {str(k): "" for k in range(17)}}), "/metadata", "out_of_range", METADATA),
    ('{"metadata": {"a": 1}}', "/metadata/a", "wrong_type", "must be a text of at most 512 characters"),
    ('{"metadata": {"a": null}}', "/metadata/a", "wrong_type", "must be a text of at most 512 characters"),
    ('{"metadata": {"int": 1}}', "/metadata/int", "wrong_type", "must be a text of at most 512 characters"),
    ('{"metadata": {"[key]": 1}}', "/metadata/[key]", "wrong_type", "must be a text of at most 512 characters"),
    ('{"metadata": {"a/b~c": 1}}', "/metadata/a~1b~0c", "wrong_type", "a text of at most 512 characters"),
    ('{"metadata": {"a": "%s"}}' % ("v" * 513), "/metadata/a", "out_of_range", "a text of at most 512 characters"),
    ('{"metadata": {"": "x"}}', "/metadata/", "out_of_range", "its key must be a text of 1 to 64 characters"),
    (
        '{"metadata": {"%s": "x"}}' % ("k" * 65),
        f"/metadata/{'k' * 65}",
        "out_of_range",
        "its key must be a text of 1 to 64 characters",
    ),
    ('{"stpes": 50}', "/stpes", "unknown_field", FIELDS),
    ('{"str": 1}', "/str", "unknown_field", FIELDS),
    ('{"": 1}', "/", "unknown_field", FIELDS),
    ('{"Steps": 50}', "/Steps", "unknown_field", FIELDS),
    ('{"num_images": 16, "steps": 1000}', "/steps", "too_many_evaluations", "this service allows 16000"),
    ("[]", "", "wrong_type", "must be a JSON object"),
    ('["sampler", "ddim"]', "", "wrong_type", "must be a JSON object"),
    ('"ddim"', "", "wrong_type", "must be a JSON object"),
    ("50", "", "wrong_type", "must be a JSON object"),
    ("null", "", "wrong_type", "must be a JSON object"),
    ("true", "", "wrong_type", "must be a JSON object"),
    ("NaN", "", "wrong_type", "must be a JSON object"),
]


@pytest.mark.parametrize(("body", "pointer", "code", "allowed"), ONE_FIELD, ids=lambda text: text[:40])
def test_one_wrong_field_is_pointed_at_with_what_is_allowed(
    client: TestClient, body: str, pointer: str, code: str, allowed: str
) -> None:
    found = errors(post(client, body))
    assert list(found) == [pointer]
    assert found[pointer][0] == code
    assert allowed in found[pointer][1]


def test_all_wrong_fields_are_named_at_once(client: TestClient) -> None:
    found = errors(post(client, '{"steps": 0, "seed": -1, "stpes": 1, "metadata": {"a": 1, "b": 2}}'))
    assert found.keys() == {"/steps", "/seed", "/stpes", "/metadata/a", "/metadata/b"}


def test_all_that_does_not_fit_the_model_is_named_at_once(client: TestClient) -> None:
    body = {"sampler": "heun", "steps": 41, "eta": 1, "class_label": "banana"}
    found = errors(post(client, json.dumps(body)))
    assert found.keys() == {"/steps", "/eta", "/class_label"}


def test_the_detail_of_the_problem_names_every_field_and_what_is_allowed(client: TestClient) -> None:
    detail = problem(post(client, '{"steps": 0, "seed": -1}'), 422, "invalid_request")["detail"]
    assert detail == f"/steps: must be a {STEPS}; /seed: must be a {SEED}"


def test_a_body_full_of_wrong_fields_gets_an_answer_no_longer_than_itself(client: TestClient) -> None:
    body = json.dumps({f"wrong-{k:06}": 1 for k in range(3000)})
    answer = post(client, body)
    assert len(errors(answer)) == 20
    assert "and 2980 more" in answer.json()["detail"]
    assert len(answer.content) < len(body) / 3


def test_a_body_with_more_in_it_than_any_request_is_refused_unread(client: TestClient) -> None:
    for body in ({f"wrong-{k:06}": 1 for k in range(50_000)}, {"metadata": [{}] * 100_000}):
        ((pointer, (code, detail)),) = errors(post(client, json.dumps(body))).items()
        assert (pointer, code) == ("", "out_of_range")
        assert "more fields and values" in detail


def test_the_most_commas_and_quotes_that_may_be_in_metadata_are_read(client: TestClient) -> None:
    metadata = {f"{k:02}" + '"' * 62: '",' * 256 for k in range(16)}
    found = errors(post(client, json.dumps({"metadata": metadata, "steps": 0})))
    assert found.keys() == {"/steps"}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"steps": 5, "steps": 6}', "steps"),
        ('{"metadata": {"a": "1", "b": "2", "a": "3"}}', "a"),
        ('{"steps": 0, "stpes": 1, "stpes": 1}', "stpes"),
        ('{"steps": 5, "\\u0073teps": 6}', "steps"),
    ],
)
def test_a_name_that_is_there_twice_is_refused_and_not_guessed(client: TestClient, body: str, name: str) -> None:
    assert f"has '{name}' twice" in problem(post(client, body), 400, "duplicate_key")["detail"]


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", '"utf-16"'])
def test_another_charset_is_a_415(client: TestClient, charset: str) -> None:
    answer = post(client, "{}", {"Content-Type": f"application/json; charset={charset}"})
    assert "in UTF-8" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'steps': 50}",
        b'{"steps": 50,}',
        b'{"steps": 50} {"steps": 50}',
        b"sampler=ddim&steps=50",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"class_label": "\xff"}',
        b'{"class_label": "\\ud800"}',
        b'{"class_label": "a\nb"}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"seed": 1' + b"0" * 5_000 + b"}",
        b"\x80\x04\x95",
        b'{"steps": undefined}',
        b'{"seed": 0x7}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_a_400(client: TestClient, body: bytes) -> None:
    assert "not JSON" in problem(post(client, body), 400, "not_json")["detail"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ""],
)
def test_another_content_type_is_a_415_that_names_the_right_one(client: TestClient, content_type: str) -> None:
    answer = post(client, "{}", {"Content-Type": content_type})
    assert "send application/json" in problem(answer, 415, "unsupported_media_type")["detail"]


def test_a_body_without_a_content_type_is_a_415(client: TestClient) -> None:
    assert "without a type" in problem(post(client, "{}", {}), 415, "unsupported_media_type")["detail"]


def test_a_compressed_body_is_a_415(client: TestClient) -> None:
    answer = post(client, b"\x1f\x8b\x08", {**JSON, "Content-Encoding": "gzip"})
    assert "content-encoding gzip" in problem(answer, 415, "unsupported_media_type")["detail"]


def test_a_body_over_a_megabyte_is_a_413_when_its_length_is_declared(client: TestClient) -> None:
    answer = post(client, b" " * (A_MEGABYTE + 1))
    assert f"{A_MEGABYTE} bytes at most" in problem(answer, 413, "body_too_large")["detail"]


def test_a_body_over_a_megabyte_is_a_413_when_it_comes_in_chunks(client: TestClient) -> None:
    answer = client.post("/v1/jobs", content=(b" " * 65_536 for _ in range(17)), headers=JSON)
    assert "content-length" not in answer.request.headers
    problem(answer, 413, "body_too_large")


def test_a_declared_length_over_a_megabyte_is_refused_before_the_body_is_read(client: TestClient) -> None:
    problem(post(client, "{}", {**JSON, "Content-Length": str(A_MEGABYTE + 1)}), 413, "body_too_large")


def test_a_length_that_is_a_lie_does_not_let_a_large_body_in(client: TestClient) -> None:
    problem(post(client, b" " * (A_MEGABYTE + 1), {**JSON, "Content-Length": "2"}), 413, "body_too_large")


def test_a_body_of_a_megabyte_is_read(client: TestClient) -> None:
    assert errors(post(client, b'{"steps": 0' + b" " * (A_MEGABYTE - 12) + b"}")).keys() == {"/steps"}


def test_the_limit_of_the_body_is_a_setting(redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, max_body_bytes=1024)
    with TestClient(create_app(settings)) as client:
        assert "1024 bytes" in problem(post(client, b" " * 1025), 413, "body_too_large")["detail"]


def test_the_limit_of_evaluations_is_a_setting_and_counts_guidance_and_the_sampler(redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, max_job_evaluations=159)
    body = {"sampler": "heun", "steps": 20, "num_images": 2, "guidance_scale": 2}
    with TestClient(create_app(settings)) as client:
        ((code, detail),) = errors(post(client, json.dumps(body))).values()
    assert code == "too_many_evaluations"
    assert "costs 160 evaluations" in detail
    assert "allows 159" in detail


@pytest.mark.parametrize("model", ["cats-64", "", "fruit-16 ", "../fruit-16"])
def test_an_unknown_model_is_a_404_that_names_the_known_ones(client: TestClient, model: str) -> None:
    body = problem(post(client, json.dumps({"model": model})), 404, "model_not_found")
    assert "known models: fruit-16, pebble-8" in body["detail"]
    assert [error["pointer"] for error in body["errors"]] == ["/model"]


@pytest.mark.parametrize(
    "job_id",
    [
        "job_000000000000000000000000",
        "job_",
        "job_00000000000000000000000G",
        "job_0000000000000000000000000",
        "unfog:models",
        "*",
        "%00",
        "job_%0a",
        "x" * 5000,
        "\u00e9",
    ],
)
def test_an_unknown_job_is_a_404(client: TestClient, job_id: str) -> None:
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/images/0.png"):
        assert "there is no job" in problem(client.get(path), 404, "job_not_found")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/jobs/a", "GET, HEAD, DELETE"),
        ("GET", "/v1/jobs/a/cancel", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_there_is_a_405_with_those_that_are(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/playground", "/v2/jobs", "/v1", "/v1/jobs/a/b/c", "/health"])
def test_a_path_that_is_not_there_is_a_404(client: TestClient, path: str) -> None:
    assert "openapi.json" in problem(client.get(path), 404, "not_found")["detail"]


def test_an_answer_that_nobody_can_give_is_a_406_before_a_job_is_made(client: TestClient) -> None:
    answer = post(client, "{}", {**JSON, "Accept": "image/webp, text/html"})
    assert "application/json or image/png" in problem(answer, 406, "not_acceptable")["detail"]
