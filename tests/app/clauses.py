"""The HTTP contract: for each call, each answer it can give, and what brings that answer about.

The tables of `docs/api.md` are this list, and `tests/app/test_contract.py` keeps it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.api_keys import make_key, revoke_key
from jobs.record import Failure
from jobs.settings import Settings
from tests import cards
from tests.app.test_animation import animated

PNG = {"Accept": "image/png"}
WAIT = {"Prefer": "wait=30"}
JSON = {"Content-Type": "application/json"}
URL_SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Desk:
    """An API with two models and no worker, and what a clause needs to bring its answer about."""

    redis: Redis
    url: str
    patch: pytest.MonkeyPatch
    stack: ExitStack = field(default_factory=ExitStack)
    _api: TestClient | None = None

    @property
    def api(self) -> TestClient:
        """The API with the default settings, unless it was started with others."""
        return self._api or self.started()

    def started(self, **settings: Any) -> TestClient:
        """The API with these settings."""
        app = create_app(Settings(**{"redis_url": self.url, **settings}))
        self._api = self.stack.enter_context(TestClient(app, raise_server_exceptions=False))
        return self._api

    @property
    def services(self) -> Any:
        """What its routes have."""
        return self.api.app.state.services  # type: ignore[attr-defined]

    def submit(self, **body: Any) -> dict[str, Any]:
        """A job."""
        answer = self.api.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def running(self, **body: Any) -> dict[str, Any]:
        """A job that runs."""
        job = self.submit(**body)
        cards.start(self.redis, job["id"])
        return job

    def succeeded(self, count: int = 1, **body: Any) -> dict[str, Any]:
        """A job with its pictures."""
        job = self.submit(num_images=count, **body)
        if body.get("animation"):
            animated(self.redis, job["id"])
        else:
            cards.succeed(self.redis, job["id"], [cards.png((k + 1, 2, 3)) for k in range(count)])
        return job

    def failed(self, **body: Any) -> dict[str, Any]:
        """A job that failed."""
        job = self.submit(**body)
        cards.fail(self.redis, job["id"], Failure(code="deadline", detail="it took too long"))
        return job

    def canceled(self, **body: Any) -> dict[str, Any]:
        """A job that was canceled."""
        job = self.submit(**body)
        self.api.post(job["urls"]["cancel"])
        return job

    def erased(self, **body: Any) -> dict[str, Any]:
        """A job that was erased."""
        job = self.canceled(**body)
        assert self.api.delete(job["urls"]["self"]).status_code == 204
        return job

    def key(self, *scopes: str, expires_in_s: float | None = None) -> dict[str, str]:
        """The header of a caller with a new key."""
        _, token = make_key(self.redis, "alice", scopes or ("submit", "read"), expires_in_s)
        return {"Authorization": f"Bearer {token}"}


Answer = Callable[[Desk], Any]


@dataclass(frozen=True)
class Clause:
    """One answer: of which call, when, its status, the code of its problem, and the headers that come with it."""

    call: str
    when: str
    status: int
    code: str
    headers: tuple[str, ...]
    answer: Answer = field(compare=False)

    def __str__(self) -> str:
        return f"{self.call}: {self.when}"


CLAUSES: list[Clause] = []


def clause(call: str, when: str, status: int, code: str = "", *headers: str) -> Callable[[Answer], Answer]:
    """Adds a clause; the function brings the answer about."""

    def add(answer: Answer) -> Answer:
        CLAUSES.append(Clause(call, when, status, code, headers, answer))
        return answer

    return add


def post(desk: Desk, body: Any = None, query: str = "", **headers: str) -> Any:
    return desk.api.post(f"/v1/jobs{query}", json=body or {}, headers=headers)


def meanwhile(desk: Desk, act: Callable[[str], None]) -> None:
    """Do something to the next job as soon as it is accepted."""
    submit = desk.services.store.submit

    async def submitted(*arguments: Any) -> Any:
        record = await submit(*arguments)
        act(record.id)
        return record

    desk.patch.setattr(desk.services.store, "submit", submitted)


# Submitting

SUBMIT = "POST /v1/jobs"


@clause(SUBMIT, "a body that fits", 202, "", "Location", "Retry-After", "Vary")
def _(desk: Desk) -> Any:
    return post(desk, {"steps": 5})


@clause(SUBMIT, "`Prefer: wait=N`, and it ends in time", 200, "", "Location", "Preference-Applied", "Vary")
def _(desk: Desk) -> Any:
    meanwhile(desk, lambda job_id: cards.succeed(desk.redis, job_id, [cards.png((1, 2, 3))]))
    return post(desk, **WAIT)


@clause(SUBMIT, "the same with `Accept: image/png`", 200, "", "Location", "Preference-Applied", "ETag", "Vary")
def _(desk: Desk) -> Any:
    meanwhile(desk, lambda job_id: cards.succeed(desk.redis, job_id, [cards.png((1, 2, 3))]))
    answer = post(desk, **WAIT, **PNG)
    assert answer.headers["content-type"] == "image/png"
    return answer


@clause(SUBMIT, "`Prefer: wait=N`, and it does not", 202, "", "Location", "Preference-Applied", "Retry-After")
def _(desk: Desk) -> Any:
    return post(desk, Prefer="wait=1")


@clause(SUBMIT, "waited for a picture, and the job failed", 409, "job_failed", "Location", "Preference-Applied")
def _(desk: Desk) -> Any:
    meanwhile(desk, lambda job_id: cards.fail(desk.redis, job_id, Failure(code="deadline", detail="late")))
    return post(desk, **WAIT, **PNG)


@clause(SUBMIT, "waited for a picture, and it was canceled", 409, "job_canceled", "Location", "Preference-Applied")
def _(desk: Desk) -> Any:
    meanwhile(desk, lambda job_id: cards.fetch(desk.redis, job_id).cancel())
    return post(desk, **WAIT, **PNG)


@clause(SUBMIT, "`?dry_run=true`", 200)
def _(desk: Desk) -> Any:
    answer = post(desk, query="?dry_run=true")
    assert answer.json()["object"] == "cost"
    return answer


@clause(SUBMIT, "an `Idempotency-Key` again with the same body", 202, "", "Location")
def _(desk: Desk) -> Any:
    first, second = (post(desk, {"steps": 5}, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    return second


@clause(SUBMIT, "an `Idempotency-Key` again with another body", 422, "idempotency_conflict")
def _(desk: Desk) -> Any:
    return [post(desk, {"steps": steps}, **{"Idempotency-Key": "k"}) for steps in (5, 6)][1]


@clause(SUBMIT, "an `Idempotency-Key` that is none", 422, "bad_idempotency_key")
def _(desk: Desk) -> Any:
    return post(desk, **{"Idempotency-Key": "k" * 256})


@clause(SUBMIT, "an `Idempotency-Key` whose job has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    url = post(desk, **{"Idempotency-Key": "k"}).json()["urls"]["self"]
    desk.api.delete(url)
    desk.api.delete(url)
    return post(desk, **{"Idempotency-Key": "k"})


@clause(SUBMIT, "a body that is not JSON", 400, "not_json")
def _(desk: Desk) -> Any:
    return desk.api.post("/v1/jobs", content="{", headers=JSON)


@clause(SUBMIT, "a body with a name twice", 400, "duplicate_key")
def _(desk: Desk) -> Any:
    return desk.api.post("/v1/jobs", content='{"seed": 1, "seed": 2}', headers=JSON)


def half_a_body(desk: Desk, then: str) -> Any:
    """The answer to one who sends half a body and then hangs up or says no more."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b'{"steps"', "more_body": True}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        if then == "hangs up":
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "raw_path": b"/v1/jobs", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]
    portal = desk.api.portal
    assert portal is not None
    portal.call(desk.api.app, scope, receive, send)
    return Raw(sent)


class Raw:
    """An answer as it left the application."""

    def __init__(self, sent: list[Any]) -> None:
        self._answer = httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)


@clause(SUBMIT, "the connection ends inside the body", 400, "body_incomplete")
def _(desk: Desk) -> Any:
    return half_a_body(desk, "hangs up")


@clause(SUBMIT, "the body has not arrived after a minute", 408, "body_too_slow", "Connection")
def _(desk: Desk) -> Any:
    desk.patch.setattr("app.body.PATIENCE_S", 0.01)
    return half_a_body(desk, "says no more")


@clause(SUBMIT, "a body over `UNFOG_MAX_BODY_BYTES`", 413, "body_too_large")
def _(desk: Desk) -> Any:
    desk.started(max_body_bytes=1024)
    return post(desk, {"metadata": {"a": "b" * 1024}})


@clause(SUBMIT, "another type, charset or encoding than JSON in UTF-8", 415, "unsupported_media_type")
def _(desk: Desk) -> Any:
    return desk.api.post("/v1/jobs", content="{}")


@clause(SUBMIT, "`Accept` takes neither JSON nor PNG", 406, "not_acceptable")
def _(desk: Desk) -> Any:
    return post(desk, Accept="text/html")


@clause(SUBMIT, "a field or a parameter is wrong", 422, "invalid_request")
def _(desk: Desk) -> Any:
    return post(desk, {"steps": 0})


@clause(SUBMIT, "a model that no worker has announced", 404, "model_not_found")
def _(desk: Desk) -> Any:
    return post(desk, {"model": "cats-64"})


@clause(SUBMIT, "no worker has announced any model", 503, "no_models", "Retry-After")
def _(desk: Desk) -> Any:
    desk.redis.flushall()
    return post(desk)


@clause(SUBMIT, "more often than `UNFOG_RATE_LIMIT`", 429, "rate_limited", "Retry-After")
def _(desk: Desk) -> Any:
    desk.started(rate_limit="1/hour")
    return [post(desk) for _ in range(2)][1]


@clause(SUBMIT, "more would wait than `UNFOG_MAX_QUEUED_EVALUATIONS`", 429, "queue_full", "Retry-After")
def _(desk: Desk) -> Any:
    desk.started(max_queued_evaluations=10)
    return [post(desk) for _ in range(2)][1]


@clause(
    SUBMIT,
    "more of the caller's would wait than `UNFOG_MAX_CALLER_QUEUED_EVALUATIONS`",
    429,
    "caller_queue_full",
    "Retry-After",
)
def _(desk: Desk) -> Any:
    desk.started(max_caller_queued_evaluations=10)
    return [post(desk) for _ in range(2)][1]


@clause(SUBMIT, "Redis is nearly full", 503, "store_full", "Retry-After")
def _(desk: Desk) -> Any:
    desk.stack.callback(desk.redis.config_set, "maxmemory", "0")
    desk.redis.config_set("maxmemory", int(desk.redis.info("memory")["used_memory"] * 1.1))
    return post(desk)


# Reading

READ = "GET /v1/jobs/{job_id}"
IMAGE = "GET /v1/jobs/{job_id}/images/{index}.png"
ANIMATION = "GET /v1/jobs/{job_id}/animation"
EVENTS = "GET /v1/jobs/{job_id}/events"
CANCEL = "POST /v1/jobs/{job_id}/cancel"
DELETE = "DELETE /v1/jobs/{job_id}"


def unknown(path: str) -> str:
    """The path of a call, of a job that never was."""
    return path.partition(" ")[2].format(job_id="job_" + "0" * 24, index=0)


def again(desk: Desk, path: str, **headers: str) -> Any:
    """The answer to who has it already."""
    tag = desk.api.get(path, headers=headers).headers["etag"]
    return desk.api.get(path, headers={**headers, "If-None-Match": tag})


@clause(READ, "it is there", 200, "", "ETag", "Vary")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.running()["urls"]["self"])


@clause(READ, "the caller has it, by `If-None-Match`", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, desk.running()["urls"]["self"])


@clause(READ, "`Accept: image/png`, and it has succeeded", 200, "", "ETag", "Vary", "Cache-Control")
def _(desk: Desk) -> Any:
    answer = desk.api.get(desk.succeeded(2)["urls"]["self"], headers=PNG)
    assert answer.headers["content-type"] == "image/png"
    return answer


@clause(READ, "`Accept: image/png`, and it has not ended", 202, "", "Retry-After", "Vary")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.running()["urls"]["self"], headers=PNG)


@clause(READ, "`Accept: image/png`, and it failed", 409, "job_failed")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.failed()["urls"]["self"], headers=PNG)


@clause(READ, "`Accept: image/png`, and it was canceled", 409, "job_canceled")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.canceled()["urls"]["self"], headers=PNG)


@clause(READ, "`Accept` takes neither JSON nor PNG", 406, "not_acceptable")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.submit()["urls"]["self"], headers={"Accept": "text/html"})


@clause(READ, "there is no such job of the caller", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.get(unknown(READ))


@clause(READ, "it has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.erased()["urls"]["self"])


@clause(IMAGE, "it is there", 200, "", "ETag", "Cache-Control")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.succeeded()["urls"]["self"] + "/images/0.png")


@clause(IMAGE, "the caller has it", 304, "", "ETag", "Cache-Control")
def _(desk: Desk) -> Any:
    return again(desk, desk.succeeded()["urls"]["self"] + "/images/0.png")


@clause(IMAGE, "there is no such job of the caller, or no such picture (yet)", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.running()["urls"]["self"] + "/images/0.png")


@clause(IMAGE, "its job has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.erased()["urls"]["self"] + "/images/0.png")


@clause(ANIMATION, "it is there", 200, "", "ETag", "Cache-Control", "Vary")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.succeeded(animation=True)["urls"]["animation"])


@clause(ANIMATION, "the caller has it", 304, "", "ETag", "Cache-Control")
def _(desk: Desk) -> Any:
    return again(desk, desk.succeeded(animation=True)["urls"]["animation"])


@clause(ANIMATION, "its job has not ended", 202, "", "Retry-After")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.running(animation=True)["urls"]["animation"])


@clause(ANIMATION, "its job failed", 409, "job_failed")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.failed(animation=True)["urls"]["animation"])


@clause(ANIMATION, "its job was canceled", 409, "job_canceled")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.canceled(animation=True)["urls"]["animation"])


@clause(ANIMATION, "nobody asked for it at submit", 404, "no_animation")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.succeeded()["urls"]["self"] + "/animation")


@clause(ANIMATION, "there is no such job of the caller", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.get(unknown(ANIMATION))


@clause(ANIMATION, "`Accept` takes neither APNG nor PNG", 406, "not_acceptable")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.submit(animation=True)["urls"]["animation"], headers={"Accept": "image/gif"})


@clause(ANIMATION, "its job has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.erased(animation=True)["urls"]["animation"])


@clause(EVENTS, "the job is there", 200, "", "Cache-Control")
def _(desk: Desk) -> Any:
    answer = desk.api.get(desk.canceled()["urls"]["events"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: done" in answer.text
    return answer


@clause(EVENTS, "there is no such job of the caller", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.get(unknown(EVENTS))


@clause(EVENTS, "it has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.erased()["urls"]["events"])


@clause(EVENTS, "`Accept` takes no event stream", 406, "not_acceptable")
def _(desk: Desk) -> Any:
    return desk.api.get(desk.submit()["urls"]["events"], headers={"Accept": "application/json"})


@clause(EVENTS, "`UNFOG_MAX_LISTENERS` streams are open", 503, "too_many_listeners", "Retry-After")
def _(desk: Desk) -> Any:
    job = desk.submit()
    desk.patch.setattr(desk.services.listeners, "_streams", 1000)
    return desk.api.get(job["urls"]["events"])


# Ending


@clause(CANCEL, "it waits, or has ended", 200)
def _(desk: Desk) -> Any:
    url = desk.submit()["urls"]["cancel"]
    assert desk.api.post(url).status_code == 200
    return desk.api.post(url)


@clause(CANCEL, "it runs", 202, "", "Retry-After")
def _(desk: Desk) -> Any:
    return desk.api.post(desk.running()["urls"]["cancel"])


@clause(CANCEL, "there is no such job of the caller", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.post(unknown(CANCEL))


@clause(CANCEL, "it has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.post(desk.erased()["urls"]["cancel"])


@clause(DELETE, "it has not ended: it is canceled", 202, "", "Retry-After")
def _(desk: Desk) -> Any:
    return desk.api.delete(desk.running()["urls"]["self"])


@clause(DELETE, "it has ended: it is erased", 204)
def _(desk: Desk) -> Any:
    return desk.api.delete(desk.succeeded()["urls"]["self"])


@clause(DELETE, "it has ended, and RQ's tools queue it again at this moment", 409, "job_unfinished")
def _(desk: Desk) -> Any:
    job = desk.failed()
    erase = desk.services.store.erase

    async def late(job_id: str, *arguments: Any) -> None:
        desk.redis.hset(f"rq:job:{job_id}", "status", "queued")
        await erase(job_id, *arguments)

    desk.patch.setattr(desk.services.store, "erase", late)
    return desk.api.delete(job["urls"]["self"])


@clause(DELETE, "there is no such job of the caller", 404, "job_not_found")
def _(desk: Desk) -> Any:
    return desk.api.delete(unknown(DELETE))


@clause(DELETE, "it has expired or was erased", 410, "job_gone")
def _(desk: Desk) -> Any:
    return desk.api.delete(desk.erased()["urls"]["self"])


# Lists


@clause("GET /v1/jobs", "a page of the caller's jobs", 200, "", "ETag")
def _(desk: Desk) -> Any:
    desk.submit()
    return desk.api.get("/v1/jobs?limit=1&status=queued")


@clause("GET /v1/jobs", "a parameter is wrong, or there is no such one", 422, "invalid_request")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/jobs?cursor=nonsense")


@clause("GET /v1/jobs", "the caller has it", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, "/v1/jobs")


@clause("GET /v1/models", "always", 200, "", "ETag")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/models")


@clause("GET /v1/models", "the caller has it", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, "/v1/models")


@clause("GET /v1/models/{model_id}", "a worker has announced it", 200, "", "ETag")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/models/fruit-16")


@clause("GET /v1/models/{model_id}", "the caller has it", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, "/v1/models/fruit-16")


@clause("GET /v1/models/{model_id}", "no worker has announced it", 404, "model_not_found")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/models/cats-64")


@clause("GET /v1/models/{model_id}", "no worker has announced any model", 503, "no_models", "Retry-After")
def _(desk: Desk) -> Any:
    desk.redis.flushall()
    return desk.api.get("/v1/models/fruit-16")


@clause("GET /v1/samplers", "always", 200, "", "ETag")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/samplers")


@clause("GET /v1/samplers", "the caller has it", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, "/v1/samplers")


# Operation


@clause("GET /v1/stats", "always", 200, "", "ETag")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/stats")


@clause("GET /v1/stats", "the caller has it", 304, "", "ETag")
def _(desk: Desk) -> Any:
    return again(desk, "/v1/stats")


@clause("GET /metrics", "always, also while Redis is away", 200)
def _(desk: Desk) -> Any:
    answer = desk.api.get("/metrics")
    assert "unfog_redis_up 1.0" in answer.text
    return answer


@clause("GET /health/live", "always", 200)
def _(desk: Desk) -> Any:
    return desk.api.get("/health/live")


@clause("GET /health/ready", "jobs can be taken", 200)
def _(desk: Desk) -> Any:
    return desk.api.get("/health/ready")


@clause("GET /health/ready", "they cannot; `reason` says why", 503)
def _(desk: Desk) -> Any:
    desk.redis.flushall()
    answer = desk.api.get("/health/ready")
    assert answer.json()["reason"]
    return answer


@clause("GET /docs", "always", 200, "", "Content-Security-Policy")
def _(desk: Desk) -> Any:
    return desk.api.get("/docs")


@clause("GET /openapi.json", "always", 200)
def _(desk: Desk) -> Any:
    return desk.api.get("/openapi.json")


# Whatever is called

ANY = "any"


@clause(ANY, "HEAD where there is GET: the same headers, no body", 200)
def _(desk: Desk) -> Any:
    answer = desk.api.head("/v1/models")
    assert answer.content == b""
    return answer


@clause(ANY, "nothing is at this path", 404, "not_found")
def _(desk: Desk) -> Any:
    return desk.api.get("/v2/jobs")


@clause(ANY, "another method", 405, "method_not_allowed", "Allow")
def _(desk: Desk) -> Any:
    return desk.api.put("/v1/jobs")


@clause(ANY, "keys are needed, and none was sent", 401, "key_required", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    desk.key()
    return desk.api.get("/v1/models")


@clause(ANY, "the Authorization header is not `Bearer unfog_…`", 401, "authorization_malformed", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    desk.key()
    return desk.api.get("/v1/models", headers={"Authorization": "Basic dTpw"})


@clause(ANY, "a key that nobody made", 401, "key_unknown", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    header = desk.key()["Authorization"]
    return desk.api.get("/v1/models", headers={"Authorization": header[:-1] + ("a" if header[-1] != "a" else "b")})


@clause(ANY, "a key that has expired", 401, "key_expired", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    headers = desk.key(expires_in_s=1)
    now = time.time() + 10
    desk.patch.setattr(time, "time", lambda: now)
    desk.started()
    desk.patch.setattr(desk.services.access._keyring, "_now", lambda: now)
    return desk.api.get("/v1/models", headers=headers)


@clause(ANY, "a key that was revoked", 401, "key_revoked", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    headers = desk.key()
    revoke_key(desk.redis, headers["Authorization"].split("_")[1])
    return desk.api.get("/v1/models", headers=headers)


@clause(ANY, "the key lacks the scope", 403, "scope_missing", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/stats", headers=desk.key("read"))


@clause(ANY, "a service without keys, called by a public name", 403, "host_refused")
def _(desk: Desk) -> Any:
    return desk.api.get("/v1/models", headers={"Host": "pictures.example"})


def signed(desk: Desk) -> str:
    """The signed link of a picture."""
    desk.started(url_secret=URL_SECRET)
    job = desk.succeeded()
    url: str = desk.api.get(job["urls"]["self"]).json()["images"][0]["url"]
    desk.key()
    return url


@clause(ANY, "a signed link that was changed", 403, "signature_invalid")
def _(desk: Desk) -> Any:
    url = signed(desk)
    return desk.api.get(url.replace("expires=1", "expires=2"))


@clause(ANY, "a signed link that has expired", 401, "signature_expired", "WWW-Authenticate")
def _(desk: Desk) -> Any:
    url = signed(desk)
    desk.patch.setattr(desk.services.links.signer, "_now", lambda: time.time() + 1e6)
    return desk.api.get(url)


@clause(ANY, "Redis does not answer, or takes no writes", 503, "store_unavailable", "Retry-After")
def _(desk: Desk) -> Any:
    desk.started(redis_url="redis://127.0.0.1:1/0")
    return desk.api.get("/v1/models")


@clause(ANY, "a fault of the service", 500, "internal_error")
def _(desk: Desk) -> Any:
    async def broken() -> None:
        raise RuntimeError("inner words")

    desk.patch.setattr(desk.services.store, "catalogue", broken)
    return desk.api.get("/v1/models")
