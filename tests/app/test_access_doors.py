"""When a key is needed, how it is sent, and what is no key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs import keys
from jobs.api_keys import all_keys, make_key, revoke_key
from jobs.settings import Settings
from service.redis_server import RedisServer, find_redis_server
from tests.app.answers import problem
from tests.app.keyed import Calling, Door, opened

JOBS = "/v1/jobs"


@pytest.fixture
def door(redis: Redis, redis_url: str) -> Iterator[Door]:
    """An API that needs keys."""
    make_key(redis, "operator", ["admin"])
    with opened(redis, redis_url) as one:
        yield one


# How a key is sent


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


BAD_HEADERS: dict[str, tuple[list[bytes], str]] = {
    "another scheme": ([b"Basic YWxpY2U6c2VjcmV0"], "not of the scheme Bearer"),
    "no scheme": ([b"unfog_0123"], "not of the scheme Bearer"),
    "glued": ([b"Bearerunfog_0123"], "not of the scheme Bearer"),
    "nothing": ([b""], "not of the scheme Bearer"),
    "a scheme alone": ([b"Bearer"], "no key after Bearer"),
    "blanks": ([b"Bearer    "], "no key after Bearer"),
    "huge": ([b"Bearer " + b"A" * 10_000], "longer than 512"),
    "not ASCII": ([b"Bearer \xc3\xa9"], "characters that no key has"),
    "a tab": ([b"Bearer\tunfog_0123"], "characters that no key has"),
    "two": ([b"Bearer a", b"Bearer b"], "there are 2 Authorization headers"),
    "many": ([b"Bearer a"] * 50, "there are 50 Authorization headers"),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_header_that_is_none_is_refused_in_a_sentence(door: Door, kind: str) -> None:
    values, sentence = BAD_HEADERS[kind]
    answer = door.client.get(JOBS, headers=[(b"Authorization", value) for value in values])
    assert sentence in problem(answer, 401, "authorization_malformed")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_good_key_beside_a_bad_one_or_twice_is_refused(door: Door) -> None:
    token = door.caller("alice").token
    assert token is not None
    for other in (b"Bearer x", bearer(token)):
        for values in ([bearer(token), other], [other, bearer(token)]):
            answer = door.client.get(JOBS, headers=[(b"Authorization", value) for value in values])
            problem(answer, 401, "authorization_malformed")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_read_in_any_case(door: Door, scheme: str) -> None:
    token = door.caller("alice").token
    assert door.client.get(JOBS, headers={"Authorization": f"{scheme} {token}"}).status_code == 200


def test_a_key_in_a_query_a_cookie_a_body_or_another_header_is_none(door: Door) -> None:
    token = door.caller("alice").token
    names = ("key", "api_key", "apikey", "token", "access_token", "authorization", "Authorization")
    for path in (f"{JOBS}/job_{'0' * 24}", "/v1/models"):
        problem(door.client.get(path, params=dict.fromkeys(names, token)), 401, "key_required")
        problem(door.client.get(path, headers={"Cookie": f"authorization=Bearer {token}"}), 401, "key_required")
        for name in ("X-API-Key", "X-Authorization", "Proxy-Authorization"):
            problem(door.client.get(path, headers={name: f"Bearer {token}"}), 401, "key_required")
    problem(door.client.post(JOBS, json={"authorization": f"Bearer {token}"}), 401, "key_required")


@pytest.mark.parametrize("token", ["x", "sk-0123", f"unfog_{'0' * 12}_{'A' * 43}", "unfog_a_b c", "a, Bearer b"])
def test_what_is_sent_as_a_key_and_is_none_is_unknown_and_not_shown(door: Door, token: str) -> None:
    answer = door.client.get(JOBS, headers={"Authorization": f"Bearer {token}"})
    problem(answer, 401, "key_unknown")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert token not in answer.text or len(token) < 3


def test_an_expired_and_a_revoked_key_are_told_to_who_has_them(door: Door) -> None:
    alice, bob = door.caller("alice"), door.caller("bob")
    for key, _ in all_keys(door.redis):
        if key.name == "alice":
            door.redis.hset(keys.API_KEYS, key.id, key.model_copy(update={"expires_at": 1}).model_dump_json())
        if key.name == "bob":
            revoke_key(door.redis, key.id)
    problem(alice("GET", JOBS), 401, "key_expired")
    problem(bob("GET", JOBS), 401, "key_revoked")


def test_no_answer_and_no_log_holds_a_key(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    alice = door.caller("alice")
    assert alice.token is not None
    (key,) = (key for key, _ in all_keys(door.redis) if key.name == "alice")
    said = ""
    for path in (JOBS, f"{JOBS}/none", "/metrics", f"/v1/{alice.token}"):
        said += alice("GET", path, params={"key": alice.token} if path == JOBS else {}).text
    alice.submit()
    out, err = capfd.readouterr()
    for secret in (alice.token[-43:], key.sha256):
        assert secret not in said
        assert secret not in out + err


def test_a_key_is_used_from_any_address_and_the_last_use_is_noted(door: Door) -> None:
    alice = door.caller("alice")
    alice("GET", JOBS)
    assert {key.name for key, used in all_keys(door.redis) if used is not None} == {"alice"}


# When a key is needed


@pytest.mark.parametrize("header", ["", "Bearer unused", "Bearer sk-0123", "Basic YTpi"])
def test_a_service_without_keys_does_not_look_at_the_header(redis: Redis, redis_url: str, header: str) -> None:
    with opened(redis, redis_url) as door:
        assert door.client.get(JOBS, headers={"Authorization": header}).status_code == 200
        assert door.client.get("/metrics", headers={"Authorization": header}).status_code == 200


def test_the_first_key_closes_the_service_and_its_revocation_does_not_open_it(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api_keys.CACHE_S", 0.0)
    with opened(redis, redis_url) as door:
        job_id = door.nobody.submit()["id"]
        alice = door.caller("alice")
        problem(door.nobody("GET", f"{JOBS}/{job_id}"), 401, "key_required")
        problem(alice("GET", f"{JOBS}/{job_id}"), 404, "job_not_found")
        for key, _ in all_keys(redis):
            revoke_key(redis, key.id)
        problem(door.nobody("GET", f"{JOBS}/{job_id}"), 401, "key_required")


def test_anonymous_callers_can_be_let_in_beside_keys(redis: Redis, redis_url: str) -> None:
    make_key(redis, "operator", ["admin"])
    with opened(redis, redis_url, allow_anonymous=True) as door:
        alice, nobody = door.caller("alice"), door.nobody
        own, keyed = nobody.submit()["id"], alice.submit()["id"]
        assert nobody("GET", f"{JOBS}/{own}").status_code == 200
        problem(nobody("GET", f"{JOBS}/{keyed}"), 404, "job_not_found")
        problem(alice("GET", f"{JOBS}/{own}"), 404, "job_not_found")
        assert "admin" in problem(nobody("GET", "/metrics"), 401, "key_required")["detail"]
        # Who sends a key wants to be that caller, and must not end up as somebody else.
        problem(Calling(door.client, "sk-0123")("GET", JOBS), 401, "key_unknown")


def test_beyond_loopback_a_redis_that_lost_its_keys_opens_the_service_to_nobody(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api_keys.CACHE_S", 0.0)
    with opened(redis, redis_url, host="0.0.0.0") as door:
        alice = door.caller("alice")
        assert alice("GET", JOBS).status_code == 200
        redis.flushall()
        problem(door.nobody("GET", JOBS), 401, "key_required")
        problem(alice("GET", JOBS), 401, "key_unknown")


def test_beyond_loopback_everybody_comes_in_where_that_is_wanted(redis: Redis, redis_url: str) -> None:
    with opened(redis, redis_url, host="0.0.0.0", allow_anonymous=True) as door:
        assert door.nobody("GET", JOBS).status_code == 200


# A page in a browser that names this machine as its own (DNS rebinding)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "EVIL.example.", "127.0.0.1.evil.example"])
def test_a_service_without_keys_does_not_answer_to_a_public_name(redis: Redis, redis_url: str, host: str) -> None:
    with opened(redis, redis_url) as door:
        for method, path in (("GET", JOBS), ("POST", JOBS), ("GET", "/metrics")):
            answer = door.nobody(method, path, headers={"Host": host})
            assert "evil.example" in problem(answer, 403, "host_refused")["detail"]
    assert redis.keys("rq:job:*") == []


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "unfog", "a.localhost:1", ""],
)
def test_a_service_without_keys_answers_to_names_that_nobody_else_can_have(
    redis: Redis, redis_url: str, host: str
) -> None:
    with opened(redis, redis_url) as door:
        assert door.nobody("GET", JOBS, headers={"Host": host}).status_code == 200


def test_a_name_that_the_operator_chose_or_a_key_makes_any_host_good(redis: Redis, redis_url: str) -> None:
    named = {"Host": "unfog.example"}
    with opened(redis, redis_url, public_url="https://unfog.example/api") as door:
        assert door.nobody("GET", JOBS, headers=named).status_code == 200
    with opened(redis, redis_url, allow_anonymous=True) as door:
        assert door.nobody("GET", JOBS, headers=named).status_code == 200
    with opened(redis, redis_url) as door:
        alice = door.caller("alice")
        assert alice("GET", JOBS, headers=named).status_code == 200


# Whom limits count


def status(door: Door, calling: Calling | None = None) -> int:
    answer: Any = (calling or door.nobody)("POST", JOBS, json={"steps": 1})
    return int(answer.status_code)


def test_callers_without_a_key_are_counted_by_address(redis: Redis, redis_url: str) -> None:
    seen = []
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2"):
        with opened(redis, redis_url, address, rate_limit="1/hour") as door:
            seen.append(status(door))
    assert seen == [202, 429, 202, 429]


def test_addresses_of_one_subscriber_count_as_one(redis: Redis, redis_url: str) -> None:
    seen = []
    for address in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"):
        with opened(redis, redis_url, address, rate_limit="1/hour") as door:
            seen.append(status(door))
    assert seen == [202, 429, 202]


def test_a_caller_is_counted_by_name_whatever_its_key_and_address(redis: Redis, redis_url: str) -> None:
    make_key(redis, "operator")
    with opened(redis, redis_url, "192.0.2.1", rate_limit="2/hour") as door:
        first, second, bob = door.caller("alice"), door.caller("alice"), door.caller("192.0.2.9")
        assert [status(door, each) for each in (first, second, first, bob)] == [202, 202, 429, 202]
    with opened(redis, redis_url, "192.0.2.9", rate_limit="2/hour") as door:
        assert status(door, Calling(door.client, first.token)) == 429


# While Redis is away


@pytest.fixture
def server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    binary = find_redis_server()
    assert binary is not None
    with RedisServer(binary, tmp_path / "redis") as started:
        yield started


def test_while_redis_is_away_nobody_is_let_in(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.api_keys.CACHE_S", 0.0)
    with Redis.from_url(server.url) as redis, opened(redis, server.url) as door:
        root = door.caller("root", "submit", "read", "admin")
        assert root("GET", "/metrics").status_code == 200
        server.child.stop()
        for calling in (root, door.nobody):
            for path in (JOBS, "/v1/models", "/metrics"):
                problem(calling("GET", path), 503, "store_unavailable")


def test_a_service_without_keys_says_how_it_does_while_redis_is_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api_keys.CACHE_S", 0.0)
    server.child.stop()
    with TestClient(create_app(Settings(redis_url=server.url))) as client:
        assert "unfog_redis_up 0" in client.get("/metrics").text
        problem(client.get("/v1/stats"), 503, "store_unavailable")
    with TestClient(create_app(Settings(redis_url=server.url, host="0.0.0.0"))) as client:
        problem(client.get("/metrics"), 503, "store_unavailable")
