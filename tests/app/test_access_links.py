"""Signed links over HTTP: what they open without a key, and what they do not."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from redis import Redis

from app.signed_urls import UrlSigner
from jobs.api_keys import all_keys, revoke_key
from tests import cards
from tests.app.answers import problem
from tests.app.keyed import URL_SECRET, Calling, Door, opened

PNGS = [cards.png((1, 2, 3)), cards.png((4, 5, 6))]


@pytest.fixture
def door(redis: Redis, redis_url: str) -> Iterator[Door]:
    """An API that needs keys and signs links."""
    with opened(redis, redis_url, url_secret=URL_SECRET) as one:
        one.caller("operator", "admin")
        yield one


@pytest.fixture
def alice(door: Door) -> Calling:
    """One who may submit and read."""
    return door.caller("alice")


def drawn(door: Door, calling: Calling) -> dict[str, Any]:
    """A job of theirs with two pictures."""
    job_id = calling.submit(num_images=2)["id"]
    cards.succeed(door.redis, job_id, PNGS)
    job: dict[str, Any] = calling("GET", f"/v1/jobs/{job_id}").json()
    return job


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_pictures_and_events_open_without_a_header(door: Door, alice: Calling) -> None:
    job = drawn(door, alice)
    for image, png in zip(job["images"], PNGS, strict=True):
        answer = door.nobody("GET", image["url"])
        assert (answer.status_code, answer.content) == (200, png)
        assert door.nobody("HEAD", image["url"]).status_code == 200
    stream = door.nobody("GET", job["urls"]["events"])
    assert stream.status_code == 200
    assert "event: done" in stream.text


def test_an_animation_opens_without_a_header(door: Door, alice: Calling) -> None:
    job = alice.submit(animation=True)
    answer = door.nobody("GET", job["urls"]["animation"])
    assert answer.status_code == 202, "it is not ready, and who has the link may wait for it"
    problem(door.nobody("GET", urlsplit(job["urls"]["animation"]).path), 401, "key_required")


def test_the_links_to_the_job_and_to_its_end_are_not_signed(door: Door, alice: Calling) -> None:
    job = drawn(door, alice)
    for name in ("self", "cancel"):
        assert "?" not in job["urls"][name]
        problem(door.nobody("GET" if name == "self" else "POST", job["urls"][name]), 401, "key_required")


def test_every_job_that_is_told_has_signed_links(door: Door, alice: Calling) -> None:
    job = drawn(door, alice)
    (listed,) = alice("GET", "/v1/jobs").json()["data"]
    for told in (job, listed):
        for url in (told["urls"]["events"], *(image["url"] for image in told["images"])):
            assert query(url).keys() == {"caller", "expires", "signature"}
            assert query(url)["caller"] == "alice"
    stream = door.nobody("GET", job["urls"]["events"]).text
    assert stream.count("signature=") >= 3


def test_an_admin_gets_links_as_the_owner_does(door: Door, alice: Calling) -> None:
    job_id = drawn(door, alice)["id"]
    seen = door.caller("root", "admin", "read")("GET", f"/v1/jobs/{job_id}").json()
    assert query(seen["images"][0]["url"])["caller"] == "alice"
    assert door.nobody("GET", seen["images"][0]["url"]).content == PNGS[0]


def test_a_signature_opens_no_other_path(door: Door, alice: Calling) -> None:
    job, other = drawn(door, alice), drawn(door, alice)
    signed = query(job["images"][0]["url"])
    paths = [
        urlsplit(job["images"][1]["url"]).path,
        urlsplit(other["images"][0]["url"]).path,
        urlsplit(job["urls"]["events"]).path,
        f"/v1/jobs/{job['id']}/animation",
    ]
    for path in paths:
        problem(door.nobody("GET", path, params=signed), 403, "signature_invalid")
    for path in (job["urls"]["self"], "/v1/models", "/v1/samplers", "/metrics", "/v1/stats"):
        problem(door.nobody("GET", path, params=signed), 401, "key_required")
    answer = door.nobody("GET", "/v1/jobs", params=signed)
    assert answer.status_code in (401, 422), "a list takes no such parameter, and has no other way in"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_signature_is_for_reading(door: Door, alice: Calling, method: str) -> None:
    job = drawn(door, alice)
    assert door.nobody(method, job["images"][0]["url"]).status_code == 405
    signed = UrlSigner(URL_SECRET, 3600).sign(f"/v1/jobs/{job['id']}", "alice")
    problem(door.nobody("DELETE", signed), 401, "key_required")
    signed = UrlSigner(URL_SECRET, 3600).sign(f"/v1/jobs/{job['id']}/cancel", "alice")
    problem(door.nobody("POST", signed), 401, "key_required")
    assert alice("GET", f"/v1/jobs/{job['id']}").status_code == 200


def test_a_changed_link_is_forged_and_an_old_one_has_expired(door: Door, alice: Calling) -> None:
    url = drawn(door, alice)["images"][0]["url"]
    path, signed = urlsplit(url).path, query(url)
    later = str(int(signed["expires"]) + 1)
    for changed in ({"expires": later}, {"caller": "bob"}, {"caller": "anonymous"}, {"signature": "A" * 43}):
        answer = door.nobody("GET", path, params={**signed, **changed})
        assert "unchanged" in problem(answer, 403, "signature_invalid")["detail"]
    old = UrlSigner(URL_SECRET, 60, now=lambda: 1_000_000.0).sign(path, "alice")
    answer = door.nobody("GET", old)
    assert "new links" in problem(answer, 401, "signature_expired")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_link_of_one_caller_does_not_open_anothers_job(door: Door, alice: Calling) -> None:
    path = urlsplit(drawn(door, alice)["images"][0]["url"]).path
    # Not even one that the service itself would sign, were bob to own such a job.
    problem(door.nobody("GET", UrlSigner(URL_SECRET, 3600).sign(path, "bob")), 404, "job_not_found")


def test_a_link_to_a_job_that_has_gone_says_so(door: Door, alice: Calling) -> None:
    job = drawn(door, alice)
    assert alice("DELETE", job["urls"]["self"]).status_code == 204
    problem(door.nobody("GET", job["images"][0]["url"]), 410, "job_gone")


def test_a_key_beside_a_signature_decides(door: Door, alice: Calling) -> None:
    url = drawn(door, alice)["images"][0]["url"]
    assert alice("GET", url).status_code == 200
    problem(door.caller("bob")("GET", url), 404, "job_not_found")
    problem(Calling(door.client, "x")("GET", url), 401, "key_unknown")


def test_a_link_lasts_when_the_key_is_revoked_until_the_secret_changes(
    door: Door, alice: Calling, redis_url: str
) -> None:
    url = drawn(door, alice)["images"][0]["url"]
    for key, _ in all_keys(door.redis):
        revoke_key(door.redis, key.id)
    assert door.nobody("GET", url).status_code == 200
    with opened(door.redis, redis_url, url_secret=URL_SECRET[::-1]) as other:
        problem(other.nobody("GET", url), 403, "signature_invalid")


def test_without_a_secret_nothing_is_signed_and_no_signature_opens_anything(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url) as door:
        job = drawn(door, door.caller("alice"))
        assert "?" not in job["images"][0]["url"] + job["urls"]["events"]
        for secret in (URL_SECRET, "x"):
            url = UrlSigner(secret, 3600).sign(job["images"][0]["url"], "alice")
            problem(door.nobody("GET", url), 401, "key_required")


def test_where_no_key_is_needed_a_link_works_with_or_without_its_signature(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, url_secret=URL_SECRET) as door:
        url = drawn(door, door.nobody)["images"][0]["url"]
        assert query(url)["caller"] == "anonymous"
        assert door.nobody("GET", url).status_code == 200
        assert door.nobody("GET", urlsplit(url).path).status_code == 200


def test_a_public_prefix_is_before_the_signed_path(redis: Redis, redis_url: str) -> None:
    public = "https://unfog.example/draw/"
    with opened(redis, redis_url, url_secret=URL_SECRET, public_url=public) as door:
        url = drawn(door, door.caller("alice"))["images"][0]["url"]
        assert url.startswith(public + "v1/jobs/")
        behind = urlsplit(url.removeprefix(public.rstrip("/")))  # as a proxy that strips the prefix sends it on
        assert door.nobody("GET", behind.geturl()).status_code == 200


def test_no_log_holds_a_signature(door: Door, alice: Calling, capfd: pytest.CaptureFixture[str]) -> None:
    url = drawn(door, alice)["images"][0]["url"]
    door.nobody("GET", url)
    door.nobody("GET", url.replace("caller=alice", "caller=bob"))
    out, err = capfd.readouterr()
    assert "/images/" in out + err, "the request itself is logged"
    assert query(url)["signature"] not in out + err
