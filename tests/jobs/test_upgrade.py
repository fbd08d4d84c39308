"""Releases side by side: what each makes of the other's jobs. `formats/` has what a release wrote, for ever."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis

from jobs.queue import ServiceJob
from jobs.record import FromNewerRelease, JobRecord, Status, restore, spec_of, whole_record
from jobs.recovery import alive_key, take_back_overdue
from jobs.spec import JobSpec
from tests.jobs.submitting import Desk
from worker.consumer.claim import pop

FORMATS = sorted((Path(__file__).parent / "formats").glob("*.json"))
"""A file is written when a release is made, and never changed."""


@pytest.fixture
def desk(redis_url: str) -> Desk:
    return Desk(redis_url)


@pytest.fixture(params=FORMATS, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(request.param.read_text())
    return read


def put(desk: Desk, written: dict[str, Any]) -> str:
    """The hash of a job as that release wrote it."""
    fields = {name: base64.b64decode(value) for name, value in written["hash"].items()}
    desk.redis.hset(ServiceJob.key_for(written["id"]), mapping=fields)  # type: ignore[arg-type]
    return str(written["id"])


def test_a_job_that_an_old_release_queued_is_read_and_claimed(desk: Desk, recorded: dict[str, Any]) -> None:
    for name in ("queued", "plain"):
        written = recorded[name]
        job_id = put(desk, written)
        assert desk.read(job_id).status is Status.QUEUED
        desk.redis.rpush(f"rq:queue:{written['queue']}", job_id)
        (claimed,) = desk.claim_all("a-worker")
        assert (claimed.record.id, claimed.record.meta.total) == (job_id, written["total"])
        assert desk.finish("a-worker", desk.live(claimed))
        assert desk.read(job_id).status is Status.SUCCEEDED


def test_everything_that_an_old_release_could_ask_for_still_means_the_same(recorded: dict[str, Any]) -> None:
    spec = JobSpec.model_validate_json(json.dumps(recorded["spec"]))
    assert {name: getattr(spec, name) for name in recorded["spec"]} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in recorded["spec"].items()
    }


def test_the_pictures_of_an_old_release_are_found_where_they_lie(desk: Desk, recorded: dict[str, Any]) -> None:
    job_id = put(desk, recorded["finished"])
    record = desk.read(job_id)
    assert len(record.meta.pictures) == 2
    desk.redis.set(record.meta.pictures[0].key, b"png")
    assert desk.ask(lambda store: store.picture(record.meta.pictures[0])) == b"png"


def test_a_job_that_asks_for_nothing_new_is_written_as_an_old_release_can_read_it(
    desk: Desk, recorded: dict[str, Any]
) -> None:
    spec, _ = desk.resolved(num_images=2)
    assert set(json.loads(spec.written())) <= set(recorded["spec"]), "a field that came later needs a default"
    assert JobSpec.model_validate_json(spec.written()) == spec


# This release as the old one: jobs of a newer one, which have a field more.


def from_newer(desk: Desk, record: JobRecord, **fields: Any) -> None:
    """Have a job ask for what this release does not know."""
    rewrite(desk.redis, record.id, lambda spec: spec | fields)


def rewrite(redis: Redis, job_id: str, change: Any) -> None:
    key = ServiceJob.key_for(job_id)
    function, instance, arguments, named = json.loads(zlib.decompress(redis.hget(key, "data")))  # type: ignore[arg-type]
    named["spec"] = json.dumps(change(json.loads(named["spec"])))
    redis.hset(key, "data", zlib.compress(json.dumps([function, instance, arguments, named]).encode()))


def raw_of(desk: Desk, record: JobRecord) -> dict[bytes, bytes]:
    return desk.redis.hgetall(record.key)  # type: ignore[return-value]


def test_a_job_with_an_unknown_field_is_read_and_waits_for_a_worker_that_knows_it(desk: Desk) -> None:
    newer, plain = desk.submit(seed=1), desk.submit(seed=2)
    from_newer(desk, newer, upscale=2)
    assert desk.read(newer.id).spec == newer.spec
    popped = pop(desk.redis, desk.queues())
    from worker.consumer.claim import claim

    assert claim(desk.redis, popped, "an-old-worker", 10) == []
    assert desk.read(newer.id).status is Status.QUEUED
    assert desk.redis.lrange(f"rq:queue:{newer.queue}", 0, -1) == [plain.id.encode(), newer.id.encode()]
    assert not desk.redis.exists(f"rq:queue:{newer.queue}:intermediate")
    rewrite(desk.redis, newer.id, lambda spec: {name: v for name, v in spec.items() if name != "upscale"})
    assert {one.record.id for one in desk.claim_all("a-new-worker")} == {newer.id, plain.id}


def test_what_is_wrong_and_not_only_new_is_no_job_of_a_newer_release(desk: Desk) -> None:
    record = desk.submit()
    from_newer(desk, record, upscale=2)
    with pytest.raises(FromNewerRelease, match="upscale"):
        whole_record(record.id, raw_of(desk, record))
    from_newer(desk, record, steps="many")
    with pytest.raises(ValidationError):
        whole_record(record.id, raw_of(desk, record))


def test_an_old_worker_takes_back_what_a_dead_new_one_ran_and_loses_nothing_of_it(desk: Desk) -> None:
    record = desk.submit()
    (claimed,) = desk.claim_all("a-new-worker")
    from_newer(desk, record, upscale=2)
    desk.redis.delete(alive_key("a-new-worker"))
    desk.redis.zadd(claimed.queue.started_job_registry.key, {claimed.execution.composite_key: 1})
    assert take_back_overdue(desk.redis, desk.queue_names).requeued == (record.id,)
    assert desk.read(record.id).status is Status.QUEUED
    with pytest.raises(FromNewerRelease):
        whole_record(record.id, raw_of(desk, record))
    assert spec_of(restore(record.id, raw_of(desk, record), desk.redis)) == record.spec


def test_a_caller_of_an_old_api_can_cancel_a_new_job(desk: Desk) -> None:
    record = desk.submit()
    from_newer(desk, record, upscale=2)
    assert desk.cancel(record.id).status is Status.CANCELED
