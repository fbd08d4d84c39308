"""Who may call what: a table of every call, each tried by those who may not."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests import cards
from tests.app.answers import problem
from tests.app.keyed import Calling, Door, opened

JOB = "/v1/jobs/{job_id}"
SCOPE = {
    "POST /v1/jobs": "submit",
    "GET /v1/jobs": "read",
    f"GET {JOB}": "read",
    f"DELETE {JOB}": "submit",
    f"GET {JOB}/images/{{index}}.png": "read",
    f"GET {JOB}/animation": "read",
    f"GET {JOB}/events": "read",
    f"POST {JOB}/cancel": "submit",
    "GET /v1/models": "read",
    "GET /v1/models/{model_id}": "read",
    "GET /v1/samplers": "read",
    "POST /v1/images/generations": "submit",
    "GET /v1/stats": "admin",
    "GET /metrics": "admin",
}
OPEN = ("GET /health/live", "GET /health/ready")
OPEN_PAGES = ("/", "/docs", "/openapi.json", "/docs/openapi.json")
OF_A_JOB = [call for call in SCOPE if "{job_id}" in call]
BODIES: dict[str, Any] = {"POST /v1/jobs": {"steps": 2}, "POST /v1/images/generations": {"prompt": "any"}}
OTHERS = {"submit": ("read", "admin"), "read": ("submit", "admin"), "admin": ("submit", "read")}
NO_JOB = "job_" + "0" * 24


@pytest.fixture
def door(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """An API that needs keys."""
    monkeypatch.setattr("app.routes.openai.MAX_WAIT_S", 0)
    with opened(redis, redis_url) as one:
        one.caller("operator", "admin")
        yield one


def send(calling: Calling, call: str, job_id: str = NO_JOB) -> Any:
    """One of the calls of the table."""
    method, path = call.split(" ")
    path = path.format(job_id=job_id, index=0, model_id="fruit-16")
    return calling(method, path, **({"json": BODIES[call]} if call in BODIES else {}))


def code_of(answer: Any) -> str:
    """The code of an error, in whatever form it is."""
    body = answer.json()
    return str(body["error"]["code"] if "error" in body else body["code"])


def jobs_in(redis: Redis) -> list[bytes]:
    return sorted(redis.keys("rq:job:*"))


def test_the_table_has_every_call(door: Door) -> None:
    paths = door.client.get("/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}": call for path, calls in paths.items() for method, call in calls.items()}
    assert there.keys() == {*SCOPE, *OPEN}
    assert {name for name, call in there.items() if call.get("security")} == SCOPE.keys()


def test_the_description_tells_how_a_key_is_sent(door: Door) -> None:
    described = door.client.get("/openapi.json").json()
    ((name, scheme),) = described["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert described["paths"][JOB]["get"]["security"] == [{name: []}]


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_a_page_is_open_to_everybody(door: Door, path: str) -> None:
    assert door.client.get(path).status_code == 200


@pytest.mark.parametrize("call", OPEN)
def test_the_health_of_the_service_is_open_to_everybody(door: Door, call: str) -> None:
    assert send(door.nobody, call).status_code == 200


@pytest.mark.parametrize("call", SCOPE)
def test_without_a_key_nothing_is_done(door: Door, call: str) -> None:
    answer = send(door.nobody, call)
    assert (answer.status_code, code_of(answer)) == (401, "key_required")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.text
    assert jobs_in(door.redis) == []


@pytest.mark.parametrize("call", SCOPE)
def test_without_the_scope_nothing_is_done_and_the_answer_names_it(door: Door, call: str) -> None:
    scope = SCOPE[call]
    answer = send(door.caller("alice", *OTHERS[scope]), call)
    assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
    assert f'scope="{scope}"' in answer.headers["www-authenticate"]
    assert f"the scope {scope}" in answer.text
    assert jobs_in(door.redis) == []


@pytest.mark.parametrize("call", SCOPE)
def test_the_scope_alone_is_enough(door: Door, call: str) -> None:
    answer = send(door.caller("alice", SCOPE[call]), call)
    assert answer.status_code not in (401, 403), answer.text


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_head_needs_what_its_get_does(door: Door, method: str) -> None:
    assert door.nobody(method, "/v1/models").status_code == 401
    assert door.caller("alice", "submit")(method, "/v1/models").status_code == 403
    assert door.caller("alice", "read")(method, "/v1/models").status_code == 200


# Whose jobs they are


@pytest.mark.parametrize("call", OF_A_JOB)
def test_another_callers_job_is_like_one_that_never_was_and_stays_as_it_is(door: Door, call: str) -> None:
    alice, bob = door.caller("alice"), door.caller("bob")
    job_id = alice.submit(animation=True)["id"]
    cards.succeed(door.redis, job_id, [cards.png((1, 2, 3))])
    before = door.redis.hgetall(f"rq:job:{job_id}")
    foreign, none = send(bob, call, job_id), send(bob, call, NO_JOB)
    assert foreign.status_code == none.status_code == 404
    assert foreign.json()["code"] == "job_not_found"
    assert foreign.text.replace(job_id, NO_JOB) == none.text
    assert door.redis.hgetall(f"rq:job:{job_id}") == before
    assert alice("GET", f"/v1/jobs/{job_id}/images/0.png").status_code == 200


@pytest.mark.parametrize("call", [f"POST {JOB}/cancel", f"DELETE {JOB}"])
def test_another_callers_waiting_job_is_not_canceled(door: Door, call: str) -> None:
    alice = door.caller("alice")
    job_id = alice.submit()["id"]
    assert send(door.caller("bob"), call, job_id).status_code == 404
    assert alice("GET", f"/v1/jobs/{job_id}").json()["status"] == "queued"


@pytest.mark.parametrize("call", OF_A_JOB)
def test_admin_reaches_everybodys_jobs_with_the_scope_beside_it(door: Door, call: str) -> None:
    job_id = door.caller("alice").submit()["id"]
    cards.succeed(door.redis, job_id, [cards.png((1, 2, 3))])
    scope = SCOPE[call]
    (other,) = {"submit", "read"} - {scope}
    assert send(door.caller("root", "admin", other), call, job_id).status_code == 403
    answer = send(door.caller("root", "admin", scope), call, job_id)
    if call.endswith("/animation"):
        assert answer.json()["code"] == "no_animation"
    else:
        assert answer.status_code < 300, answer.text


def test_a_list_has_the_callers_own_jobs_alone(door: Door) -> None:
    alice, bob, root = door.caller("alice"), door.caller("bob"), door.caller("root", "admin", "read")
    own = {alice.submit()["id"] for _ in range(3)}
    foreign = {bob.submit()["id"]}
    for calling, seen in ((alice, own), (bob, foreign), (root, set())):
        assert {job["id"] for job in calling("GET", "/v1/jobs").json()["data"]} == seen


def test_two_keys_of_one_name_are_one_caller(door: Door) -> None:
    old = door.caller("alice")
    job_id = old.submit()["id"]
    new = door.caller("alice")
    assert new("GET", f"/v1/jobs/{job_id}").status_code == 200
    assert [job["id"] for job in new("GET", "/v1/jobs").json()["data"]] == [job_id]


def test_an_idempotency_key_belongs_to_its_caller(door: Door) -> None:
    headers = {"Idempotency-Key": "k"}
    alice, bob = door.caller("alice"), door.caller("bob")
    first = alice("POST", "/v1/jobs", json={"seed": 7}, headers=headers).json()["id"]
    other = bob("POST", "/v1/jobs", json={"seed": 7}, headers=headers).json()["id"]
    assert first != other
    assert bob("POST", "/v1/jobs", json={"seed": 8}, headers=headers).json()["code"] == "idempotency_conflict"
    assert alice("POST", "/v1/jobs", json={"seed": 7}, headers=headers).json()["id"] == first


def test_a_page_of_one_caller_does_not_go_on_with_anothers(door: Door) -> None:
    alice, bob = door.caller("alice"), door.caller("bob")
    for _ in range(3):
        alice.submit()
    cursor = alice("GET", "/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    assert cursor
    answer = bob("GET", "/v1/jobs", params={"cursor": cursor})
    assert answer.status_code == 422 or answer.json()["data"] == []


def test_an_expired_job_is_gone_for_its_caller_and_was_never_there_for_others(door: Door) -> None:
    alice = door.caller("alice")
    job_id = alice.submit()["id"]
    door.redis.delete(f"rq:job:{job_id}")
    problem(alice("GET", f"/v1/jobs/{job_id}"), 410, "job_gone")
    problem(door.caller("bob")("GET", f"/v1/jobs/{job_id}"), 404, "job_not_found")
