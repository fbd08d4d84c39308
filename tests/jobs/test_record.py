"""A job's hash is read the same way as RQ reads it, whatever has happened to the job, and forged ones are none."""

import json
import zlib
from typing import Any

import pytest
from redis import Redis

from jobs.queue import ServiceJob
from jobs.record import FIELDS, Failure, JobRecord, read_record, record_of, restore
from tests import cards
from tests.jobs.submitting import Desk


@pytest.fixture
def desk(redis_url: str) -> Desk:
    """Submits jobs."""
    return Desk(redis_url)


def both(redis: Redis, job_id: str) -> tuple[JobRecord | None, JobRecord]:
    """The record as it is read, and as RQ's own classes have it."""
    raw: Any = redis.hgetall(ServiceJob.key_for(job_id))
    few = {field: raw.get(field) for field in FIELDS}
    assert read_record(job_id, raw) == read_record(job_id, few)
    return read_record(job_id, raw), record_of(restore(job_id, raw, redis))


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "given up", "canceled", "requeued"])
def test_it_reads_as_rq_does(desk: Desk, state: str) -> None:
    redis, job_id = desk.redis, desk.submit(num_images=2, metadata={"ключ": "значение"}).id
    if state == "running":
        cards.start(redis, job_id, completed=3)
    elif state == "succeeded":
        cards.succeed(redis, job_id, [cards.png((1, 2, 3)), cards.png((4, 5, 6))])
    elif state in ("failed", "requeued"):
        cards.fail(redis, job_id, Failure(code="deadline", detail="too long"))
    elif state == "given up":
        cards.fail(redis, job_id, None)
    elif state == "canceled":
        cards.fetch(redis, job_id).cancel()
    if state == "requeued":
        redis.hset(ServiceJob.key_for(job_id), "status", "queued")
    ours, theirs = both(redis, job_id)
    assert ours == theirs


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {b"data": None},
        {b"data": b"no zlib"},
        {b"data": zlib.compress(b"no json")},
        {b"data": zlib.compress(b'["os.system", null, [], {"spec": "{}"}]')},
        {b"data": zlib.compress(json.dumps(["unfog.generate", None, [], {"spec": "{}"}]).encode())},
        {b"data": zlib.compress(b'["unfog.generate"]')},
    ],
)
def test_a_forged_hash_is_no_job(forged: dict[bytes, bytes | None]) -> None:
    assert read_record("job_0", forged) is None


@pytest.mark.parametrize("field", FIELDS)
def test_a_hash_with_nonsense_in_a_field_is_no_job_or_reads_as_before(desk: Desk, field: bytes) -> None:
    job_id = desk.submit().id
    raw: Any = desk.redis.hgetall(ServiceJob.key_for(job_id))
    found = read_record(job_id, {**raw, field: b"\xff"})
    assert found is None or field == b"ended_at"
