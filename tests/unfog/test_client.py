"""Each call of both clients: what is sent, what comes back, what is repeated, what is raised."""

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import unfog
from app.examples import COST, MODEL, STATS
from tests.unfog.calling import KINDS, Calls
from tests.unfog.scripted import PNG, Pieces, Script, Told, answer, event, job, problem, stream
from unfog import AsyncClient, Client
from unfog.place import service_url

pytestmark = pytest.mark.usefixtures("no_pauses")

Kind = Callable[..., Any]
REFUSED = httpx.ConnectError("[Errno 111] Connection refused")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One of the two clients."""
    made: Kind = request.param
    return made


def test_both_clients_have_the_same_calls_with_the_same_parameters() -> None:
    def calls(client: type) -> dict[str, list[inspect.Parameter]]:
        found = inspect.getmembers(client, inspect.isfunction)
        return {
            name: list(inspect.signature(function).parameters.values())
            for name, function in found
            if not name.startswith("_")
        }

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) > 15


def test_a_submit_sends_the_fields_and_a_key_and_gives_the_job(kind: Kind) -> None:
    script = Script(answer(202, job()))
    told = Calls(kind, script).submit(sampler="ddim", steps=50, n=4, seed=None, metadata={"a": "b"})
    assert (told.id, told.status, told.queue_position) == ("job_1", "queued", 3)
    (request,) = script.asked
    assert json.loads(request.content) == {"sampler": "ddim", "steps": 50, "num_images": 4, "metadata": {"a": "b"}}
    assert len(request.headers["idempotency-key"]) == 32
    assert request.headers["user-agent"].startswith("unfog/")
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "failure",
    [
        REFUSED,
        httpx.ReadTimeout("timed out"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        answer(429, problem("queue_full"), retry_after="0"),
        answer(503, problem("store_unavailable"), retry_after="Fri, 02 Jan 2026 03:04:05 GMT"),
        answer(502, b"<html>"),
    ],
    ids=repr,
)
def test_a_submit_is_repeated_with_the_same_key(kind: Kind, failure: Any) -> None:
    script = Script(failure, failure, answer(202, job()))
    assert Calls(kind, script).submit(steps=1).id == "job_1"
    assert len({request.headers["idempotency-key"] for request in script.asked}) == 1
    assert len({request.content for request in script.asked}) == 1
    assert len(script.asked) == 3


def test_two_submits_are_two_jobs_unless_the_caller_names_the_key(kind: Kind) -> None:
    script = Script(*[answer(202, job())] * 4)
    for options in ({}, {}, {"idempotency_key": "mine"}, {"idempotency_key": "mine"}):
        Calls(kind, script).submit(steps=1, **options)
    keys = [request.headers["idempotency-key"] for request in script.asked]
    assert len(set(keys)) == 3
    assert keys[2:] == ["mine", "mine"]


def test_it_gives_up_after_the_retries_with_the_last_reason(kind: Kind) -> None:
    script = Script(REFUSED, REFUSED, answer(503, problem("store_full", "Redis is nearly full")))
    with pytest.raises(unfog.ServiceUnavailable, match=r"^Redis is nearly full \(503 store_full\)$"):
        Calls(kind, script, retries=2).submit(steps=1)
    with pytest.raises(unfog.ConnectionFailed, match=r"^http://unfog\.test does not answer: .* refused$"):
        Calls(kind, Script(REFUSED), retries=0).submit(steps=1)


def test_it_does_not_come_earlier_than_it_was_told_to(kind: Kind) -> None:
    script = Script(answer(429, problem("queue_full"), retry_after="61"))
    with pytest.raises(unfog.QueueFull) as raised:
        Calls(kind, script).submit(steps=1)
    assert raised.value.retry_after_s == 61
    assert script.used_up, "and was not asked again"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 500])
def test_what_will_not_change_is_not_repeated(kind: Kind, status: int) -> None:
    script = Script(answer(status, problem("a_code")))
    with pytest.raises(unfog.Problem):
        Calls(kind, script).submit(steps=1)
    assert script.used_up


def test_a_refused_request_says_which_fields_are_wrong(kind: Kind) -> None:
    wrong = {"pointer": "/steps", "code": "out_of_range", "detail": "must be a whole number from 1 to 1000"}
    script = Script(answer(422, problem("invalid_request", "/steps: must be", errors=[wrong])))
    with pytest.raises(unfog.RequestRefused) as raised:
        Calls(kind, script).submit(steps=0)
    assert raised.value.errors == (unfog.FieldError(**wrong),)


def test_every_call_asks_where_the_service_says(kind: Kind) -> None:
    page = {"object": "list", "data": [], "next_cursor": None}
    script = Script(
        answer(200, job("running")),
        answer(200, job("canceled")),
        answer(200, job("canceled")),
        answer(204, b""),
        answer(200, PNG),
        answer(200, PNG),
        answer(200, page),
        answer(200, {**MODEL, "id": "cats/32"}),
        answer(200, page),
        answer(200, STATS),
        answer(200, COST),
    )
    calls = Calls(kind, script)
    assert calls.job("job_1").progress.completed == 10
    assert calls.cancel("job_1").status == "canceled"
    assert calls.delete("job_1").status == "canceled"
    assert calls.delete("job_1") is None
    assert calls.image("job_1", 2) == calls.animation("job_1") == PNG
    assert calls.models() == []
    assert calls.model("cats/32").samplers == ("ddim",)
    assert calls.samplers() == []
    assert calls.stats().models["cats-32"].rate == 40
    assert calls.dry_run(steps=50).evaluations == 50
    assert script.lines == [
        "GET /v1/jobs/job_1",
        "POST /v1/jobs/job_1/cancel",
        "DELETE /v1/jobs/job_1",
        "DELETE /v1/jobs/job_1",
        "GET /v1/jobs/job_1/images/2.png",
        "GET /v1/jobs/job_1/animation",
        "GET /v1/models",
        "GET /v1/models/cats%2F32",
        "GET /v1/samplers",
        "GET /v1/stats",
        "POST /v1/jobs?dry_run=true",
    ]


def test_jobs_come_page_by_page_as_they_are_taken() -> None:
    pages = [["job_5", "job_4"], [], ["job_1"]]
    script = Script(
        *(
            answer(200, {"data": [job(id=name) for name in names], "next_cursor": f"after {k}" if k < 2 else None})
            for k, names in enumerate(pages)
        )
    )
    with Client("http://unfog.test", transport=script) as client:
        taken = client.jobs(status="queued", page_size=2)
        assert [next(taken).id, next(taken).id] == ["job_5", "job_4"]
        assert len(script.asked) == 1
        assert [job.id for job in taken] == ["job_1"], "an empty page is not the end"
    assert [dict(request.url.params) for request in script.asked] == [
        {"status": "queued", "limit": "2"},
        {"status": "queued", "limit": "2", "cursor": "after 0"},
        {"status": "queued", "limit": "2", "cursor": "after 1"},
    ]


def test_a_list_that_goes_in_a_circle_ends_in_an_error(kind: Kind) -> None:
    script = Script(*[answer(200, {"data": [job()], "next_cursor": "same"})] * 5)
    with pytest.raises(unfog.UnexpectedAnswer, match="circle"):
        Calls(kind, script).jobs()
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (answer(200, b"<html>", content_type="text/html"), "not JSON but text/html: is it an Unfog service"),
        (answer(200, {"hello": 1}), "lacks /id"),
        (
            answer(308, b"", location="https://unfog.test/v1/jobs"),
            "sends on to https://unfog.test/v1/jobs; ask there",
        ),
        (answer(200, Pieces(b"not packed"), content_encoding="gzip"), "cannot be read"),
    ],
    ids=["html", "other", "redirect", "damaged"],
)
def test_an_answer_from_somebody_else_is_an_error_that_says_so(kind: Kind, wrong: Told, reason: str) -> None:
    script = Script(wrong)
    with pytest.raises(unfog.UnexpectedAnswer, match=reason):
        Calls(kind, script).job("job_1")
    assert script.used_up


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_can_be_no_id_is_not_asked_for(kind: Kind, name: str) -> None:
    with pytest.raises(unfog.WrongArgument, match="is no id"):
        Calls(kind, Script()).cancel(name)


def test_an_id_stays_one_segment_of_the_path(kind: Kind) -> None:
    script = Script(answer(404, problem("job_not_found")))
    with pytest.raises(unfog.NotFound):
        Calls(kind, script).job("../models?x=1#y z")
    assert script.lines == ["GET /v1/jobs/..%2Fmodels%3Fx%3D1%23y%20z"]


def test_the_address_and_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_URL", "https://art.test/unfog/")
    monkeypatch.setenv("UNFOG_API_KEY", "key-of-the-environment\n")
    script = Script(*[answer(200, job())] * 2)
    with Client(transport=script) as client:
        client.job("job_1")
    with Client("http://other.test:81", "key-given", transport=script) as client:
        client.job("job_1")
    urls = [str(request.url) for request in script.asked]
    assert urls == ["https://art.test/unfog/v1/jobs/job_1", "http://other.test:81/v1/jobs/job_1"]
    keys = [request.headers["authorization"] for request in script.asked]
    assert keys == ["Bearer key-of-the-environment", "Bearer key-given"]


@pytest.mark.parametrize(
    "url",
    [
        *["ftp://x", "x", "127.0.0.1:8000", "http://", "http://x?a=b", "http://x#a", "http://[", "http://x:y"],
        *["http://x:99999", "http://me:secret@x"],
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(unfog.WrongArgument, match="the service's address") as raised:
        service_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", ["two words", "ümlaut", "line\nbreak"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(unfog.WrongArgument) as raised:
        Client(api_key=key)
    assert key not in str(raised.value)


def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "uf_do_not_show_me"
    script = Script(answer(401, problem("unauthorized")), REFUSED)
    client = Client("http://unfog.test", secret, retries=0, transport=script)
    shown = [repr(client), repr(vars(client)), str(client)]
    for error in (unfog.Unauthorized, unfog.ConnectionFailed):
        with pytest.raises(error) as raised:
            client.job("job_1")
        # What a tool that reports errors sends along: the error and the variables on its way.
        shown += [str(raised.value), repr(raised.value), repr(vars(raised.value))]
        shown += [repr(entry.frame.f_locals) for entry in raised.traceback[1:]]
        assert len(raised.traceback) > 3
    client.close()
    assert script.asked[0].headers["authorization"] == f"Bearer {secret}"
    assert secret not in "\n".join([*shown, caplog.text])


def test_a_broken_stream_is_let_go_of_when_the_caller_leaves() -> None:
    pieces = Pieces(event("snapshot", job()), event("progress", {"completed": 1, "total": 2, "fraction": 0.5}))
    with Client("http://unfog.test", transport=Script(answer(200, pieces))) as client:
        for _ in client.events("job_1"):
            break
    assert pieces.closed


def test_what_is_wrong_with_a_job_is_told_before_its_events(kind: Kind) -> None:
    for status, error in ((404, unfog.NotFound), (410, unfog.Gone), (401, unfog.Unauthorized)):
        with pytest.raises(error):
            Calls(kind, Script(answer(status, problem("a_code")))).events("job_1")
    with pytest.raises(unfog.UnexpectedAnswer, match="not JSON"):
        Calls(kind, Script(stream(b"event: done\ndata: {\n\n"))).events("job_1")
