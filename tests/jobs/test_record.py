"""A job's hash is read the same way as RQ reads it, whatever has happened to the job, and forged ones are none."""

import base64
import json
import random
import zlib
from typing import Any

import pytest
from redis import Redis

from jobs.queue import ServiceJob
from jobs.record import FIELDS, KEPT_BYTES, Failure, JobRecord, read_record, record_of, restore
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


def test_the_same_bytes_are_parsed_once_and_others_at_once(desk: Desk) -> None:
    redis, job_id = desk.redis, desk.submit().id
    queued, _ = both(redis, job_id)
    assert both(redis, job_id)[0] is queued
    cards.start(redis, job_id, completed=1)
    running, theirs = both(redis, job_id)
    assert running is not None
    assert running == theirs
    assert running != queued
    cards.start(redis, job_id, completed=2)
    later, _ = both(redis, job_id)
    assert later is not None
    assert (running.meta.completed, later.meta.completed) == (1, 2)
    assert running.spec is later.spec, "it never changes"


def test_two_jobs_of_the_same_bytes_keep_their_ids(desk: Desk) -> None:
    raw: Any = desk.redis.hgetall(ServiceJob.key_for(desk.submit().id))
    found = [read_record(job_id, raw) for job_id in ("job_a", "job_b", "job_a")]
    assert [record and record.id for record in found] == ["job_a", "job_b", "job_a"]


def test_a_long_job_is_not_kept(desk: Desk) -> None:
    job = desk.submit()
    raw: Any = desk.redis.hgetall(ServiceJob.key_for(job.id))
    noise = base64.b64encode(random.Random(0).randbytes(2 * KEPT_BYTES)).decode()
    spec = job.spec.model_copy(update={"init_image": noise, "strength": 0.5})
    raw[b"data"] = zlib.compress(json.dumps(["unfog.generate", None, [], {"spec": spec.written()}]).encode())
    first, second = read_record(job.id, raw), read_record(job.id, raw)
    assert first is not None
    assert first == second
    assert first is not second
    assert first.spec is not (second and second.spec)
