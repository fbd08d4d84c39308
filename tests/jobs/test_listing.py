"""A caller's jobs are listed newest first, page by page, each once."""

import base64
from collections.abc import Iterator

import pytest

from jobs import keys, listing
from jobs.errors import CursorUnknown
from jobs.listing import Page
from jobs.record import JobRecord, Status
from jobs.recovery import worker_name
from tests.jobs.submitting import Desk

A = worker_name("here", 1, 1)


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def page(
    desk: Desk, cursor: str | None = None, *, caller: str = "ada", status: Status | None = None, limit: int = 3
) -> Page:
    return desk.ask(lambda store: store.jobs_of(caller, status, cursor, limit))


def pages(desk: Desk, **fields: object) -> list[list[str]]:
    found, cursor = [], None
    while True:
        one = page(desk, cursor, **fields)  # type: ignore[arg-type]
        found.append([record.id for record in one.records])
        cursor = one.next_cursor
        if cursor is None:
            return found


def submitted(desk: Desk, count: int) -> list[JobRecord]:
    """Newest first."""
    return [desk.submit(caller="ada") for _ in range(count)][::-1]


def test_nobody_has_no_jobs(desk: Desk) -> None:
    assert page(desk) == Page((), None)


def test_the_newest_come_first_and_each_once(desk: Desk) -> None:
    ids = [job.id for job in submitted(desk, 7)]
    desk.submit(caller="bob")
    assert pages(desk) == [ids[:3], ids[3:6], ids[6:]]


def test_a_page_that_ends_with_the_last_job_says_that_it_is_the_last(desk: Desk) -> None:
    ids = [job.id for job in submitted(desk, 3)]
    assert pages(desk) == [ids]


def test_records_are_whole(desk: Desk) -> None:
    jobs = submitted(desk, 2)
    assert page(desk).records == tuple(jobs)


def test_jobs_that_come_while_one_turns_the_pages_move_nothing(desk: Desk) -> None:
    ids = [job.id for job in submitted(desk, 5)]
    first = page(desk)
    desk.submit(caller="ada")
    assert [job.id for job in page(desk, first.next_cursor).records] == ids[3:]


def test_expired_and_erased_jobs_are_skipped(desk: Desk) -> None:
    jobs = submitted(desk, 6)
    desk.redis.delete(*(f"rq:job:{job.id}" for job in (jobs[0], jobs[2], jobs[5])))
    assert pages(desk, limit=2) == [[jobs[1].id, jobs[3].id], [jobs[4].id]]


@pytest.mark.parametrize("status", list(Status))
def test_a_page_of_one_status_has_only_such_jobs(desk: Desk, status: Status) -> None:
    jobs = {}
    for wanted in ("succeeded", "failed", "stopped"):
        jobs[wanted] = desk.submit(caller="ada")
        live = desk.live(desk.claim_all(A)[0])
        if wanted == "stopped":
            desk.stop(A, live)
        else:
            desk.finish(A, live)
            if wanted == "failed":
                desk.redis.hset(f"rq:job:{jobs[wanted].id}", "status", "failed")
    jobs["running"] = desk.submit(caller="ada")
    desk.claim_all(A)
    jobs["canceled"], jobs["queued"] = desk.submit(caller="ada"), desk.submit(caller="ada")
    desk.cancel(jobs["canceled"].id)
    wanted_ids = {jobs[status.value].id} | ({jobs["stopped"].id} if status is Status.CANCELED else set())
    listed = page(desk, status=status, limit=10).records
    assert {job.id for job in listed} == wanted_ids
    assert {job.status for job in listed} == {status}


def test_a_page_looks_at_so_many_entries_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it may be empty though there are more."""
    monkeypatch.setattr(listing, "SCANNED", 4)
    jobs = submitted(desk, 10)
    desk.redis.delete(*(f"rq:job:{job.id}" for job in jobs[:9]))
    assert pages(desk) == [[], [], [jobs[9].id]]


def test_jobs_of_the_same_moment_are_listed_each_once(desk: Desk) -> None:
    ids = [job.id for job in submitted(desk, 9)]
    desk.redis.zadd(keys.caller_jobs("ada"), dict.fromkeys(ids, 1e9))
    listed = pages(desk, limit=2)
    assert sorted(job_id for part in listed for job_id in part) == sorted(ids)


def test_after_the_index_has_forgotten_the_cursor_there_is_nothing_more(desk: Desk) -> None:
    submitted(desk, 5)
    first = page(desk)
    for job_id in desk.redis.zrange(keys.caller_jobs("ada"), 0, 2):
        desk.redis.zrem(keys.caller_jobs("ada"), job_id)
    assert page(desk, first.next_cursor) == Page((), None)


def test_a_cursor_is_none_of_ones_own_making(desk: Desk) -> None:
    submitted(desk, 1)
    short, long = (base64.urlsafe_b64encode(bytes(n)).decode() for n in (11, 13))
    for cursor in ("", "x", "job_" + "0" * 24, "ü", "\0", short, long, "A" * 15 + " ", "=" * 16, "9" * 10_000):
        with pytest.raises(CursorUnknown, match="begin without one"):
            page(desk, cursor)


def test_the_cursor_of_another_caller_shows_nothing_of_theirs(desk: Desk) -> None:
    submitted(desk, 5)
    cursor = page(desk).next_cursor
    desk.submit(caller="bob")
    assert page(desk, cursor, caller="bob") == Page((), None)


def test_what_was_forged_into_the_index_is_not_listed(desk: Desk) -> None:
    of_bob = desk.submit(caller="bob")
    desk.redis.set("rq:job:text", "text")
    desk.redis.hset("rq:job:forged", "status", "queued")
    desk.redis.zadd(keys.caller_jobs("ada"), {of_bob.id: 1, "text": 2, "forged": 3})
    assert page(desk) == Page((), None)
