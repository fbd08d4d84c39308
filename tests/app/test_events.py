"""Who listens to a job learns how it is at once, how far it gets, and always how it ends."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi.routing
import httpx
import pytest
from redis import Redis

from app.dependencies import LOOKS_AT_ONCE
from jobs import keys
from jobs.connection import API_CONNECTIONS
from jobs.events import publish_moved
from jobs.record import Failure, Status
from jobs.settings import Settings
from jobs.watch import Preview, Progress, Word, count_listeners, tell
from service.redis_server import RedisServer, find_redis_server
from tests import cards
from tests.app.answers import problem
from tests.app.serving import PATIENCE_S, Served, listening, serving, until

JOB = {"model": "pebble-8", "steps": 10}


@pytest.fixture
def api(settings: Settings, redis: Redis) -> Iterator[Served]:
    """The API as it is served, with two models known."""
    cards.announce_both(redis)
    with serving(settings) as served:
        yield served


def submitted(api: Served, **body: object) -> dict[str, Any]:
    answer = httpx.post(f"{api.url}/v1/jobs", json={**JOB, **body})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def events_of(api: Served, job: dict[str, Any]) -> str:
    return api.url + str(job["urls"]["events"])


def read(api: Served, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(api.url + job["urls"]["self"]).json()
    return found


def wake(redis: Redis, job: dict[str, Any]) -> None:
    with redis.pipeline() as pipe:
        publish_moved(pipe, job["id"])
        pipe.execute()


def say(redis: Redis, job: dict[str, Any], *words: Word) -> None:
    """As the worker does when it sees a listener."""
    until(lambda: count_listeners(redis, [job["id"]]))
    tell(redis, [(job["id"], word) for word in words])


def progress(completed: int) -> Progress:
    return Progress(completed=completed, total=10, attempt=1)


def preview(index: int, completed: int, png: bytes = b"picture") -> Preview:
    return Preview(index=index, completed=completed, png=base64.b64encode(png).decode())


def test_a_listener_learns_all_of_a_jobs_life_in_order(api: Served, redis: Redis) -> None:
    job = submitted(api, preview=True)
    with listening(events_of(api, job)) as listener:
        assert listener.next() == ("snapshot", read(api, job))
        cards.start(redis, job["id"])
        say(redis, job, progress(0))
        told = listener.until("progress")
        assert (told["status"], told["completed"], told["queue_position"]) == ("running", 0, None)
        say(redis, job, progress(4), preview(0, 4))
        assert listener.next() == (
            "progress",
            {
                "completed": 4,
                "total": 10,
                "fraction": 0.4,
                "status": "running",
                "queue_position": None,
                "eta_s": None,
            },
        )
        name, shown = listener.next() or ("", {})
        assert (name, shown["index"], shown["completed"]) == ("preview", 0, 4)
        assert base64.b64decode(shown["image"].removeprefix("data:image/png;base64,")) == b"picture"
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3), (8, 8))])
        done = listener.until("done")
        assert done == read(api, job)
        assert done["status"] == "succeeded"
        assert listener.next() is None, "after the end there is nothing"


def test_the_stream_is_of_its_type_and_nobody_keeps_or_compresses_it(api: Served, redis: Redis) -> None:
    job = submitted(api)
    with listening(events_of(api, job), **{"Accept-Encoding": "gzip", "Accept": "text/event-stream"}) as listener:
        headers = listener.answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in headers
        assert headers["cache-control"] in ("no-cache", "no-store")
        assert headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_a_job_that_has_ended_is_told_at_once_and_the_stream_ends(api: Served, redis: Redis, end: str) -> None:
    job = submitted(api)
    if end == "succeeded":
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
    elif end == "failed":
        cards.fail(redis, job["id"], Failure(code="deadline", detail="too long"))
    else:
        cards.fetch(redis, job["id"]).cancel()
    # What a listener heard before counts for nothing.
    with listening(events_of(api, job), **{"Last-Event-ID": "7"}) as listener:
        (first, snapshot), (second, done) = listener.rest()
    assert (first, second) == ("snapshot", "done")
    assert snapshot == done == read(api, job)
    assert done["status"] == end


def test_a_queued_job_tells_that_its_place_has_changed(api: Served, redis: Redis) -> None:
    first, second = submitted(api), submitted(api)
    with listening(events_of(api, second)) as listener:
        assert listener.until("snapshot")["queue_position"] == 2
        httpx.post(api.url + first["urls"]["cancel"])
        told = listener.until("progress")
        assert (told["status"], told["queue_position"]) == ("queued", 1)


def test_an_end_that_nobody_spoke_of_is_found(api: Served, redis: Redis) -> None:
    job = submitted(api)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        cards.fetch(redis, job["id"]).cancel()
        assert listener.until("done")["status"] == "canceled"


def test_a_wake_without_an_end_claims_none(api: Served, redis: Redis) -> None:
    job = submitted(api)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        wake(redis, job)
        cards.start(redis, job["id"], completed=3)
        wake(redis, job)
        told = listener.until("progress")
        assert (told["status"], told["completed"]) == ("running", 3)


def test_what_the_record_says_later_does_not_undo_what_the_worker_told(api: Served, redis: Redis) -> None:
    job = submitted(api)
    cards.start(redis, job["id"], completed=2)
    with listening(events_of(api, job)) as listener:
        assert listener.until("snapshot")["progress"]["completed"] == 2
        say(redis, job, progress(7))
        assert listener.until("progress")["completed"] == 7
        wake(redis, job)  # the record says 2
        say(redis, job, progress(8))
        assert listener.until("progress")["completed"] == 8


def test_all_listeners_to_a_job_hear_it_and_nobody_elses(api: Served, redis: Redis) -> None:
    job, other = submitted(api), submitted(api)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(events_of(api, job))) for _ in range(5)]
        stranger = stack.enter_context(listening(events_of(api, other)))
        for listener in (*streams, stranger):
            listener.until("snapshot")
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
        assert {listener.until("done")["id"] for listener in streams} == {job["id"]}
        cards.fail(redis, other["id"], None)
        assert stranger.until("done")["id"] == other["id"]


def test_listeners_who_are_woken_together_leave_redis_to_other_callers_too(api: Served, redis: Redis) -> None:
    job, get = submitted(api), api.services.store.get
    reading = most = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0.02)
        try:
            return await get(*arguments)
        finally:
            reading -= 1

    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(events_of(api, job))) for _ in range(2 * LOOKS_AT_ONCE)]
        for listener in streams:
            listener.until("snapshot")
        api.services.store.get = counted
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
        assert {listener.until("done")["id"] for listener in streams} == {job["id"]}
    assert 1 < most <= LOOKS_AT_ONCE < API_CONNECTIONS


def test_a_slow_listener_loses_previews_and_never_the_end(api: Served, redis: Redis) -> None:
    job = submitted(api, preview=True)
    cards.start(redis, job["id"])
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        # More than any buffer between here and there holds, while nothing is read.
        picture = bytes(300_000)
        for n in range(100):
            say(redis, job, preview(0, n, picture))
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
        *shown, (last, done) = listener.rest()
    assert (last, done["status"]) == ("done", "succeeded")
    previews = [data["completed"] for name, data in shown if name == "preview"]
    assert 0 < len(previews) < 100
    assert previews == sorted(previews)


def test_a_quiet_stream_is_kept_alive_by_comments(
    api: Served, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fastapi.routing._PING_INTERVAL == 15.0  # type: ignore[attr-defined]
    monkeypatch.setattr(fastapi.routing, "_PING_INTERVAL", 0.02)
    job = submitted(api)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        assert listener.comment() == ": ping"
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
        listener.until("done")


def test_what_cannot_be_listened_to_is_a_problem_before_a_stream(api: Served, redis: Redis) -> None:
    unknown = "job_" + "0" * 24
    problem(httpx.get(f"{api.url}/v1/jobs/{unknown}/events"), 404, "job_not_found")
    job = submitted(api)
    accept = {"Accept": "application/json"}
    problem(httpx.get(events_of(api, job), headers=accept), 406, "not_acceptable")
    cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
    assert httpx.delete(api.url + job["urls"]["self"]).status_code == 204
    problem(httpx.get(events_of(api, job)), 410, "job_gone")


def test_a_job_that_is_gone_in_between_ends_the_stream_without_claiming_an_end(api: Served, redis: Redis) -> None:
    job = submitted(api)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        redis.delete(f"rq:job:{job['id']}")
        wake(redis, job)
        assert [name for name, _ in listener.rest() if name == "done"] == []
    problem(httpx.get(events_of(api, job)), 410, "job_gone")


def test_beyond_the_streams_that_may_be_open_the_answer_is_503_until_one_leaves(
    settings: Settings, redis: Redis
) -> None:
    cards.announce_both(redis)
    with serving(settings.model_copy(update={"max_listeners": 2})) as api:
        job = submitted(api)
        with listening(events_of(api, job)), contextlib.ExitStack() as second:
            second.enter_context(listening(events_of(api, job)))
            answer = httpx.get(events_of(api, job))
            problem(answer, 503, "too_many_listeners")
            assert int(answer.headers["retry-after"]) >= 1
            second.close()
            until(lambda: api.services.listeners.streams == 1)
            with listening(events_of(api, job)) as again:
                again.until("snapshot")
        until(lambda: api.services.listeners.streams == 0)


def test_a_head_tells_the_headers_and_listens_to_nothing(api: Served, redis: Redis) -> None:
    job = submitted(api, cancel_on_disconnect=True)
    answer = httpx.head(events_of(api, job))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert api.services.listeners.streams == 0
    assert read(api, job)["status"] == "queued"


# Who leaves


def test_when_the_last_listener_leaves_a_job_that_asked_for_it_is_canceled(api: Served, redis: Redis) -> None:
    job = submitted(api, cancel_on_disconnect=True)
    with listening(events_of(api, job)) as first:
        first.until("snapshot")
        with listening(events_of(api, job)) as second:
            second.until("snapshot")
        until(lambda: api.services.listeners.streams == 1)
        assert read(api, job)["status"] == "queued", "one is still there"
    until(lambda: read(api, job)["status"] == "canceled")


def test_a_running_job_whose_listener_leaves_is_told_to_stop(api: Served, redis: Redis) -> None:
    job = submitted(api, cancel_on_disconnect=True)
    cards.start(redis, job["id"])
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
    until(lambda: redis.hget(f"rq:job:{job['id']}", keys.CANCEL_FIELD))


def test_a_job_that_did_not_ask_for_it_goes_on_without_listeners(api: Served, redis: Redis) -> None:
    job = submitted(api)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
    until(lambda: api.services.listeners.streams == 0)
    assert read(api, job)["status"] == "queued"


def test_one_who_hears_the_end_and_leaves_cancels_nothing(api: Served, redis: Redis) -> None:
    job = submitted(api, cancel_on_disconnect=True)
    with listening(events_of(api, job)) as listener:
        listener.until("snapshot")
        cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
        listener.until("done")
    until(lambda: api.services.listeners.streams == 0)
    assert read(api, job)["status"] == "succeeded"


@pytest.mark.parametrize("asked", [True, False])
def test_one_who_hangs_up_while_the_submit_waits_has_left_too(api: Served, redis: Redis, asked: bool) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{api.url}/v1/jobs",
            json={**JOB, "cancel_on_disconnect": asked},
            headers={"Prefer": "wait=60"},
            timeout=httpx.Timeout(PATIENCE_S, read=0.5),
        )
    job_id = cards.wait_for_job(redis)
    until(lambda: not api.services.listeners.followers(job_id))
    status = Status.CANCELED if asked else Status.QUEUED
    until(lambda: httpx.get(f"{api.url}/v1/jobs/{job_id}").json()["status"] == status)


# Redis away


def test_while_redis_is_away_the_stream_stays_open_and_tells_the_end_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    binary = find_redis_server()
    assert binary is not None
    server = RedisServer(binary, tmp_path / "redis")
    settings = Settings(redis_url=server.url)
    with contextlib.ExitStack() as stack:
        with server:
            with Redis.from_url(server.url) as redis:
                cards.announce_both(redis)
            api = stack.enter_context(serving(settings))
            job = submitted(api)
            listener = stack.enter_context(listening(events_of(api, job)))
            listener.until("snapshot")
        problem(httpx.get(api.url + job["urls"]["self"]), 503, "store_unavailable")
        assert api.services.listeners.streams == 1
        with server, Redis.from_url(server.url) as redis:
            cards.succeed(redis, job["id"], [cards.png((1, 2, 3))])
            assert listener.until("done")["status"] == "succeeded"
            stack.close()
