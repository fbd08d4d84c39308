"""A caller's jobs, newest first, page by page, of one status or of all."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from tests import cards
from tests.app.answers import errors


def submitted(client: TestClient, count: int) -> list[str]:
    """The ids of new jobs, oldest first."""
    return [client.post("/v1/jobs", json={"seed": n}).json()["id"] for n in range(count)]


def page(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["object"] == "list"
    return body


def walked(client: TestClient, **query: Any) -> list[str]:
    """The ids of all pages, in order."""
    found: list[str] = []
    body = page(client, **query)
    for _ in range(100):
        found += [job["id"] for job in body["data"]]
        if body["next_cursor"] is None:
            return found
        body = page(client, **query, cursor=body["next_cursor"])
    raise AssertionError("the pages have no end")


def test_without_jobs_the_list_is_empty(client: TestClient) -> None:
    assert page(client) == {"object": "list", "data": [], "next_cursor": None}


def test_every_job_is_there_as_it_is_by_itself(client: TestClient, redis: Redis) -> None:
    first, second, third = submitted(client, 3)
    cards.succeed(redis, first, [cards.png((1, 2, 3))])
    cards.start(redis, second, completed=3)
    data = page(client)["data"]
    assert {job["id"] for job in data} == {first, second, third}
    for job in data:
        assert client.get(job["urls"]["self"]).json() == job


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_pages_of_any_size_have_every_job_once(client: TestClient, limit: int) -> None:
    ids = submitted(client, 7)
    found = walked(client, limit=limit)
    assert sorted(found) == sorted(ids)
    assert len(page(client, limit=limit)["data"]) == min(limit, 7)


def test_jobs_that_come_while_one_reads_do_not_shift_the_pages(client: TestClient) -> None:
    ids = submitted(client, 4)
    first = page(client, limit=2)
    submitted(client, 3)
    second = page(client, limit=2, cursor=first["next_cursor"])
    assert sorted(job["id"] for job in first["data"] + second["data"]) == sorted(ids)


def test_only_those_of_a_status_are_listed(client: TestClient, redis: Redis) -> None:
    queued, running, succeeded, failed, canceled = submitted(client, 5)
    cards.start(redis, running)
    cards.succeed(redis, succeeded, [cards.png((1, 2, 3))])
    cards.fail(redis, failed, None)
    client.post(f"/v1/jobs/{canceled}/cancel")
    ids = {
        "queued": queued,
        "running": running,
        "succeeded": succeeded,
        "failed": failed,
        "canceled": canceled,
    }
    for status, job_id in ids.items():
        assert walked(client, status=status) == [job_id]
        assert walked(client, status=status, limit=1) == [job_id]


def test_places_in_the_queue_are_told(client: TestClient) -> None:
    submitted(client, 3)
    assert sorted(job["queue_position"] for job in page(client)["data"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "?limit", "out_of_range"),
        ("limit=101", "?limit", "out_of_range"),
        ("limit=-1", "?limit", "out_of_range"),
        ("limit=ten", "?limit", "wrong_type"),
        ("limit=", "?limit", "wrong_type"),
        ("limit=1.5", "?limit", "wrong_type"),
        ("status=done", "?status", "unknown_value"),
        ("status=", "?status", "unknown_value"),
        ("cursor=nonsense", "?cursor", "unknown_value"),
        ("cursor=", "?cursor", "unknown_value"),
        ("cursor=%00", "?cursor", "unknown_value"),
        ("cursor=" + "a" * 257, "?cursor", "out_of_range"),
        ("staus=queued", "?staus", "unknown_field"),
    ],
)
def test_a_query_that_is_wrong_is_pointed_at(client: TestClient, query: str, pointer: str, code: str) -> None:
    found = errors(client.get(f"/v1/jobs?{query}"))
    assert list(found) == [pointer]
    assert found[pointer][0] == code


def test_a_cursor_that_was_cut_is_none(client: TestClient) -> None:
    submitted(client, 3)
    cursor = page(client, limit=1)["next_cursor"]
    for changed in (cursor[:-4], cursor[4:], cursor * 2):
        assert "?cursor" in errors(client.get("/v1/jobs", params={"cursor": changed}))
