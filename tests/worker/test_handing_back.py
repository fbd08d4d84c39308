"""What a worker does when it or its engine was away: nothing ended is undone, nobody else's job is touched."""

import time

from jobs.record import Status, write_running_meta
from tests.worker.consuming import consuming


def test_a_worker_that_stood_still_takes_nothing_back_for_one_ttl(redis_url: str) -> None:
    with consuming(redis_url, heartbeat_ttl_s=10) as bench:
        bench.submit()
        bench.turn(2)
        (one,) = bench.worker._live.values()
        bench.redis.zadd(one.job.started_job_registry.key, {one.key: time.time() - 60})
        bench.worker._no_taking_back_until = 0.0
        bench.worker._turned_at -= 3600
        bench.worker.last_cleaned_at = None
        bench.turn()
        assert bench.held() == {one.job.id}
        registry = one.job.started_job_registry.key
        assert (bench.redis.zscore(registry, one.key) or 0) > time.time(), "it breathed before all else"


def test_what_has_ended_is_committed_before_the_rest_is_handed_back(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        done, undone = bench.submit(steps=5), bench.submit(steps=5)
        bench.turn(4)
        assert bench.held() == {done.id, undone.id}
        (key,) = {key for key, _ in bench.engine.rows if key.startswith(done.id)}
        bench.engine.finish(key)
        bench.worker._collect()
        bench.worker._hand_back(crashed=True)
        assert bench.read(done).status is Status.SUCCEEDED
        assert bench.read(undone).status is Status.QUEUED
        assert bench.read(undone).meta.crashes == 1


def test_a_stop_that_was_asked_for_survives_the_death_of_the_engine(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit()
        bench.turn(2)
        (one,) = bench.worker._live.values()
        one.stopped = True
        bench.worker._hand_back(crashed=True)
        assert bench.read(job).status is Status.CANCELED


def test_progress_is_written_only_by_the_worker_that_runs_the_job(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit()
        bench.turn(2)
        (one,) = bench.worker._live.values()
        job_key, name = one.job.key, bench.worker.name

        def write(completed: int, status: str, worker: str) -> None:
            bench.redis.hset(job_key, mapping={"status": status, "worker_name": worker})
            with bench.redis.pipeline() as pipe:
                write_running_meta(pipe, one.job, one.meta.model_copy(update={"completed": completed}))
                pipe.execute()

        write(3, "started", name)
        write(4, "started", "another")
        write(5, "finished", name)
        assert bench.read(job).meta.completed == 3
