"""What every answer says beside its body: who asked, how long it keeps, what browsers must not do with it."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.settings import Settings
from tests import cards

PNG = {"Accept": "image/png"}
OURS = re.compile(r"req_[0-9a-f]{24}")


@pytest.fixture
def done(client: TestClient, redis: Redis) -> dict[str, Any]:
    """A job with two pictures."""
    job = client.post("/v1/jobs", json={"num_images": 2}).json()
    cards.succeed(redis, job["id"], [cards.png((1, 2, 3)), cards.png((4, 5, 6))])
    found: dict[str, Any] = client.get(job["urls"]["self"]).json()
    return found


# Request ids


@pytest.mark.parametrize("sent", ["a", "A-b_c.9", "x" * 128, "01HZX3"])
def test_a_sane_request_id_is_kept(client: TestClient, sent: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a/b", "a;b", "<script>", "a\tb", "\u00e9"])
def test_another_one_is_replaced(client: TestClient, sent: str) -> None:
    answer = client.get("/health/live", headers=[(b"X-Request-ID", sent.encode("latin-1"))])
    assert OURS.fullmatch(answer.headers["x-request-id"])
    assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/jobs"),
        ("GET", "/nowhere"),
        ("PUT", "/v1/jobs"),
        ("GET", "/v1/jobs/none"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("HEAD", "/v1/models"),
    ],
)
def test_every_answer_has_one_of_its_own(client: TestClient, method: str, path: str) -> None:
    first, second = (client.request(method, path).headers["x-request-id"] for _ in range(2))
    assert OURS.fullmatch(first)
    assert first != second


def test_the_job_remembers_which_request_submitted_it(client: TestClient, redis: Redis) -> None:
    answer = client.post("/v1/jobs", json={}, headers={"X-Request-ID": "mine"})
    job_id = answer.json()["id"]
    assert "mine" not in answer.text, "it is for logs alone"
    assert cards.spec_of(cards.fetch(redis, job_id)).request_id == "mine"


# Entity tags


def tagged(client: TestClient, path: str, headers: dict[str, str]) -> Any:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def test_who_has_it_already_is_told_so_and_sent_nothing(client: TestClient, done: dict[str, Any]) -> None:
    url = done["urls"]["self"]
    image = done["images"][0]["url"]
    for path, headers in (
        (url, {}),
        (url, PNG),
        (image, {}),
        ("/v1/models", {}),
        ("/v1/samplers", {}),
        ("/v1/jobs", {}),
    ):
        first = tagged(client, path, headers)
        tag = first.headers["etag"]
        for held in (tag, f'"other", {tag}', f"W/{tag.removeprefix('W/')}", "*"):
            again = client.get(path, headers={**headers, "If-None-Match": held})
            assert (again.status_code, again.content) == (304, b""), (path, held)
            for name in ("etag", "cache-control"):
                assert again.headers[name] == first.headers[name], (path, name)
            # What is compressed is kept by no cache, so that what is not sent need not say that it might be.
            vary = first.headers.get("vary", "").removesuffix("Accept-Encoding").removesuffix(", ")
            assert again.headers.get("vary", "") == vary, path
        for held in ('"other"', tag.replace('"', ""), ""):
            assert client.get(path, headers={**headers, "If-None-Match": held}).status_code == 200


def test_tags_of_pictures_are_strong_and_those_of_json_weak(client: TestClient, done: dict[str, Any]) -> None:
    url = done["urls"]["self"]
    assert tagged(client, url, {}).headers["etag"].startswith('W/"')
    assert tagged(client, url, PNG).headers["etag"].startswith('"')
    assert tagged(client, done["images"][1]["url"], {}).headers["etag"] == f'"{done["images"][1]["sha256"]}"'


def test_a_grid_that_the_caller_has_is_not_made_again(
    client: TestClient, done: dict[str, Any], redis: Redis
) -> None:
    url = done["urls"]["self"]
    tag = tagged(client, url, PNG).headers["etag"]
    for key in redis.scan_iter("unfog:picture:*"):
        redis.delete(key)
    assert client.get(url, headers={**PNG, "If-None-Match": tag}).status_code == 304


def test_a_job_that_has_changed_has_another_tag(client: TestClient, redis: Redis) -> None:
    job = client.post("/v1/jobs", json={}).json()
    tag = tagged(client, job["urls"]["self"], {}).headers["etag"]
    cards.start(redis, job["id"], completed=1)
    answer = client.get(job["urls"]["self"], headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["status"]) == (200, "running")


def test_a_job_that_has_not_ended_has_no_tag_of_a_picture(client: TestClient) -> None:
    job = client.post("/v1/jobs", json={}).json()
    answer = client.get(job["urls"]["self"], headers={**PNG, "If-None-Match": "*"})
    assert (answer.status_code, "etag" in answer.headers) == (202, False)


# Keeping


def test_jobs_are_kept_by_nobody_and_pictures_for_ever(client: TestClient, done: dict[str, Any]) -> None:
    def keeping(path: str, **headers: str) -> str:
        return str(tagged(client, path, headers).headers["cache-control"])

    assert keeping(done["urls"]["self"]) == "no-store"
    assert keeping("/v1/jobs") == "no-store"
    assert keeping(done["images"][0]["url"]) == "private, max-age=31536000, immutable"
    assert keeping(done["urls"]["self"], **PNG) == "private, no-cache"
    assert client.get("/v1/jobs/none").headers["cache-control"] == "no-store"


def test_what_depends_on_a_header_says_so(client: TestClient, done: dict[str, Any]) -> None:
    for headers in ({}, PNG):
        assert "Accept" in tagged(client, done["urls"]["self"], headers).headers["vary"]


# HEAD


def test_head_is_wherever_get_is_with_its_headers_and_no_body(client: TestClient, done: dict[str, Any]) -> None:
    url = done["urls"]["self"]
    paths = [url, f"{url}/animation", done["images"][0]["url"], "/v1/jobs", "/v1/jobs?limit=0", "/v1/models"]
    paths += ["/v1/models/fruit-16", "/v1/models/none", "/v1/samplers", "/v1/stats", "/metrics", "/docs"]
    paths += ["/health/live", "/health/ready", "/openapi.json", "/nowhere", "/v1/jobs/none"]
    for path in paths:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        different = {"x-request-id", "etag" if path == "/metrics" else "", "content-length"}
        shown = {name: value for name, value in got.headers.items() if name not in different}
        assert {name: value for name, value in head.headers.items() if name not in different} == shown, path
        if path not in ("/metrics",):
            assert head.headers.get("content-length") == got.headers.get("content-length"), path


def test_head_where_there_is_no_get_is_a_405(client: TestClient) -> None:
    answer = client.head("/v1/jobs/job_000000000000000000000000/cancel")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# Compression


def test_long_json_is_compressed_for_those_who_take_it(client: TestClient) -> None:
    with client.stream("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw)
    assert gzip.decompress(raw) == client.get("/openapi.json", headers={"Accept-Encoding": "identity"}).content


@pytest.mark.parametrize("taken", ["identity", "", "gzip;q=0", "br", "*;q=0"])
def test_it_is_not_for_those_who_do_not(client: TestClient, taken: str) -> None:
    answer = client.get("/openapi.json", headers={"Accept-Encoding": taken})
    assert "content-encoding" not in answer.headers
    assert "Accept-Encoding" in answer.headers["vary"]


def test_pictures_and_short_answers_are_never_compressed(client: TestClient, redis: Redis) -> None:
    job = client.post("/v1/jobs", json={"num_images": 2}).json()
    cards.succeed(redis, job["id"], [cards.png((1, 2, 3), (256, 256))] * 2)
    for path, headers in ((job["urls"]["self"], PNG), ("/health/live", {})):
        answer = client.get(path, headers={**headers, "Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers
    image = client.get(f"{job['urls']['self']}/images/0.png", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in image.headers


# Browsers


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/none", "/nowhere", "/health/live", "/openapi.json"])
def test_browsers_are_told_what_not_to_do(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.fixture
def cors(redis: Redis, redis_url: str) -> Iterator[TestClient]:
    """An API that pages of one other origin may call."""
    cards.announce_both(redis)
    settings = Settings(redis_url=redis_url, cors_origins=("https://pages.example",))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_pages_of_an_origin_that_is_named_may_call_and_read_what_they_need(cors: TestClient) -> None:
    origin = {"Origin": "https://pages.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer,idempotency-key"}
    preflight = cors.options("/v1/jobs", headers={**origin, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
    for method in ("GET", "POST", "DELETE"):
        assert method in preflight.headers["access-control-allow-methods"]
    answer = cors.post("/v1/jobs", json={}, headers=origin)
    assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    assert "Origin" in answer.headers["vary"]
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"location", "retry-after", "etag", "x-request-id", "preference-applied"} <= exposed
    assert "access-control-allow-credentials" not in answer.headers


def test_errors_are_for_those_pages_too_faults_included(cors: TestClient) -> None:
    origin = {"Origin": "https://pages.example"}

    async def broken() -> None:
        raise RuntimeError("inner words")

    cors.app.state.services.store.catalogue = broken  # type: ignore[attr-defined]
    for path, status in (("/nowhere", 404), ("/v1/models", 500)):
        answer = cors.get(path, headers=origin)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        assert OURS.fullmatch(answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_of_other_origins_are_told_nothing(cors: TestClient, client: TestClient) -> None:
    for api, origin in ((cors, "https://evil.example"), (client, "https://pages.example")):
        answer = api.get("/v1/models", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def test_a_star_is_any_origin(redis: Redis, redis_url: str) -> None:
    cards.announce_both(redis)
    with TestClient(create_app(Settings(redis_url=redis_url, cors_origins=("*",)))) as client:
        answer = client.get("/v1/models", headers={"Origin": "https://anywhere.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
