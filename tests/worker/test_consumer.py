"""The consumer on a real Redis: claims, commits, fences, stops, gives back; the engine is a fake."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from jobs import keys
from jobs.lanes import suspects_name
from jobs.queue import ServiceJob
from jobs.record import JobRecord, Status
from jobs.recovery import ALONE_DEATHS, SUSPECT_AFTER
from tests.cards import FRUIT, fetch
from tests.worker.consuming import Bench, consuming
from worker.engine_client import EngineDied

SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}
LONG = {"sampler": "ddpm", "steps": 1000, "guidance_scale": 1.0}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


def work_counters(redis: Redis) -> tuple[int, int]:
    queued, running = redis.hmget(keys.WORK, ["queued", "running"])
    return int(queued or 0), int(running or 0)


def test_a_job_goes_from_its_lane_through_the_engine_to_its_pictures(bench: Bench) -> None:
    job = bench.submit(**SHORT, num_images=2, seed=3, scale=2)
    assert work_counters(bench.redis) == (20, 0)
    bench.turn()
    assert bench.read(job).status is Status.RUNNING
    assert work_counters(bench.redis) == (0, 20)
    assert [(row.index, row.seed, row.class_label) for row in bench.engine.rows.values()] == [(0, 3, 0), (1, 4, 1)]
    bench.engine.finish()
    bench.turn()
    done = bench.read(job)
    assert done.status is Status.SUCCEEDED
    assert [(p.width, p.class_label) for p in done.meta.pictures] == [(32, "apple"), (32, "pear")]
    assert all(bench.redis.get(p.key).startswith(b"\x89PNG") for p in done.meta.pictures)  # type: ignore[union-attr]
    assert work_counters(bench.redis) == (0, 0)
    assert not bench.redis.keys("rq:execution*")


def test_a_failed_row_fails_its_job_with_the_reason_and_nobody_else(bench: Bench) -> None:
    bad, good = bench.submit(**SHORT), bench.submit(**SHORT)
    bench.turn(2)
    key = next(key for key, _ in bench.engine.rows if key.startswith(bad.id))
    bench.engine.finish(key, failure=("not_finite", "the picture became NaN"))
    bench.engine.finish()
    bench.turn()
    failed = bench.read(bad)
    assert failed.failure is not None
    assert (failed.status, failed.failure.code) == (Status.FAILED, "not_finite")
    assert bench.read(good).status is Status.SUCCEEDED


def test_a_job_that_was_cancelled_in_the_queue_is_never_started(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    fetch(bench.redis, job.id).cancel()
    bench.redis.rpush(f"rq:queue:{fetch(bench.redis, job.id).origin}", job.id)  # a stale entry, as a race leaves it
    bench.turn()
    assert not bench.engine.rows
    assert bench.read(job).status is Status.CANCELED


def test_a_job_that_is_twice_in_its_lane_runs_once(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.redis.rpush(f"rq:queue:{fetch(bench.redis, job.id).origin}", job.id)
    bench.turn(3)
    assert len(bench.engine.rows) == 1
    bench.engine.finish()
    bench.turn()
    done = fetch(bench.redis, job.id)
    assert len(done.results()) == 1
    assert not bench.redis.llen(f"rq:queue:{done.origin}:intermediate")


def test_a_commit_is_dropped_when_another_worker_has_the_job(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.turn()
    bench.redis.hset(ServiceJob.key_for(job.id), "worker_name", "somebody-else")
    bench.engine.finish()
    bench.turn()
    assert bench.read(job).status is Status.RUNNING
    assert not fetch(bench.redis, job.id).results()


def test_a_lost_job_is_noticed_with_the_next_heartbeat(bench: Bench) -> None:
    job = bench.submit(**LONG)
    bench.turn()
    fetch(bench.redis, job.id).cancel()
    bench.beat()
    assert not bench.engine.rows
    bench.turn()
    assert bench.read(job).status is Status.CANCELED


def test_a_planned_stop_gives_jobs_back_without_counting_a_crash(bench: Bench) -> None:
    job = bench.submit(**LONG)
    bench.turn()
    bench.worker._hand_back(crashed=False)
    back = bench.read(job)
    assert (back.status, back.meta.crashes) == (Status.QUEUED, 0)
    assert work_counters(bench.redis) == (1000, 0)
    bench.turn()
    assert bench.read(job).meta.attempt == 2


def test_jobs_of_a_dead_engine_are_queued_again_and_become_suspects_the_second_time(bench: Bench) -> None:
    jobs = [bench.submit(**LONG) for _ in range(4)]
    for crash in (1, 2):
        bench.engine.dead = False
        bench.turn(5)
        assert len(bench.held()) == 4
        bench.engine.dead = True
        with pytest.raises(EngineDied):
            bench.turn()
        bench.worker._hand_back(crashed=True)
        bench.engine.rows.clear()
        assert {bench.read(job).meta.crashes for job in jobs} == {crash}
    assert bench.redis.llen(f"rq:queue:{suspects_name(FRUIT.id)}") == 4
    assert {bench.read(job).meta.group for job in jobs} == {2}


def test_suspects_run_only_among_themselves_and_in_their_group(bench: Bench) -> None:
    test_jobs_of_a_dead_engine_are_queued_again_and_become_suspects_the_second_time(bench)
    bench.engine.dead = False
    other = bench.submit(**SHORT)
    bench.turn()
    assert bench.held() == {other.id}, "the suspects wait until the batch is empty"
    bench.beat()
    bench.engine.finish()
    later = bench.submit(**SHORT)
    bench.turn(3)
    assert len(bench.held()) == 2
    assert later.id not in bench.held()
    bench.engine.finish()
    bench.turn(3)
    bench.engine.finish()
    bench.turn(3)
    assert bench.held() == {later.id}, "when all suspects are through, others go on"


def test_a_suspect_that_kills_alone_fails_and_says_so(bench: Bench) -> None:
    job = bench.submit(**LONG)
    for _ in range(SUSPECT_AFTER + ALONE_DEATHS):
        bench.engine.dead = False
        bench.turn(3)
        assert bench.held() == {job.id}
        bench.engine.dead = True
        with pytest.raises(EngineDied):
            bench.turn()
        bench.worker._hand_back(crashed=True)
        bench.engine.rows.clear()
    failed = bench.read(job)
    assert failed.failure is not None
    assert (failed.status, failed.failure.code) == (Status.FAILED, "worker_died")
    assert "3 times" in failed.failure.detail
    assert work_counters(bench.redis) == (0, 0)


def test_a_silent_engine_is_killed_by_the_watchdog(bench: Bench) -> None:
    bench.engine.silence_s = bench.settings.engine_hang_s + 1
    bench.turn()
    assert bench.engine.killed


def test_the_deadline_counts_only_the_time_in_which_a_job_gets_on(redis_url: str) -> None:
    with consuming(redis_url, deadline_s=0.5, deadline_per_evaluation_s=1e-6) as bench:
        job = bench.submit(**LONG)
        bench.turn()
        (one,) = bench.worker._batch.live
        one.progress_at -= 100
        bench.beat()
        assert one.computing_s == 0, "parked: no evaluation was done meanwhile"
        one.progress_at -= 100
        bench.engine.done = {one.key: 5}
        bench.beat()
        bench.turn(2)
        failed = bench.read(job)
        assert failed.failure is not None
        assert (failed.status, failed.failure.code) == (Status.FAILED, "deadline")


def test_a_job_for_other_weights_fails_with_the_reason(bench: Bench) -> None:
    bench.worker._batch._cards[FRUIT.id] = FRUIT.model_copy(update={"fingerprint": "other"})
    job = bench.submit(**SHORT)
    bench.turn(2)
    failed = bench.read(job)
    assert failed.failure is not None
    assert failed.failure.code == "model_changed"


@pytest.mark.parametrize(
    "forged",
    [
        {"data": b"\x80\x04 no json", "status": "queued"},
        {"status": "queued"},
        {"data": b'["os.system", null, ["true"], {}]', "status": "queued", "created_at": "x"},
        {"data": b'["os.system", null, ["true"], {}]', "status": "queued", "success_callback_name": "os.system"},
    ],
)
def test_a_forged_job_is_marked_failed_and_blocks_nobody(bench: Bench, forged: dict[str, bytes]) -> None:
    real = bench.submit(**SHORT)
    lane = f"rq:queue:{fetch(bench.redis, real.id).origin}"
    bench.redis.hset(ServiceJob.key_for("forged"), mapping=forged)  # type: ignore[arg-type]
    bench.redis.lpush(lane, "forged")
    bench.turn(3)
    assert bench.held() == {real.id}
    assert bench.redis.hget(ServiceJob.key_for("forged"), "status") == b"failed"
    assert bench.redis.ttl(ServiceJob.key_for("forged")) > 0
    assert not bench.redis.llen(lane + ":intermediate")


def forge(bench: Bench, job: JobRecord, **changes: Any) -> None:
    """Change the spec that a job carries."""
    inside = fetch(bench.redis, job.id)
    spec = json.loads(inside.kwargs["spec"]) | changes
    inside.kwargs = {"spec": json.dumps(spec)}
    inside.save()


def test_a_job_of_another_model_in_a_lane_of_ours_fails_and_ends_nobody(bench: Bench) -> None:
    job, other = bench.submit(**SHORT), bench.submit(**SHORT)
    forge(bench, job, model="no-such-model")
    bench.turn(2)
    assert bench.held() == {other.id}
    failed = bench.read(job)
    assert failed.failure is not None
    assert failed.failure.code == "model_changed"


def test_a_job_without_a_label_for_each_image_is_malformed(bench: Bench) -> None:
    job, other = bench.submit(**SHORT, num_images=2), bench.submit(**SHORT)
    forge(bench, job, class_labels=[0])
    bench.turn(2)
    assert bench.held() == {other.id}
    assert bench.redis.hget(ServiceJob.key_for(job.id), "status") == b"failed"


def test_short_work_is_taken_beyond_a_full_batch_and_long_work_is_not(bench: Bench) -> None:
    longs = [bench.submit(**LONG, seed=n) for n in range(20)]
    bench.turn(25)
    assert len(bench.held()) == bench.settings.max_batch_places
    short = bench.submit(**SHORT)
    bench.turn()
    assert short.id in bench.held()
    assert len(bench.held() & {job.id for job in longs}) == bench.settings.max_batch_places


def test_a_caller_with_many_jobs_does_not_keep_another_waiting(bench: Bench) -> None:
    for n in range(30):
        bench.submit(**LONG, seed=n, caller="greedy")
    other = bench.submit(**LONG, caller="modest")
    bench.turn(2)
    assert other.id in bench.held()


def test_low_priority_waits_for_normal_work(bench: Bench) -> None:
    low = bench.submit(**SHORT, priority="low")
    normal = bench.submit(**SHORT)
    bench.turn()
    assert bench.held() == {normal.id}
    bench.turn()
    assert bench.held() == {normal.id, low.id}
