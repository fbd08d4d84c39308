"""What a worker does when it or its engine was away: nothing ended is undone, nobody else's job is touched."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from redis import Redis
from redis.exceptions import ResponseError

from jobs.connection import comes_back
from jobs.record import Status, write_running_meta
from tests.worker.consuming import consuming


def test_a_worker_that_stood_still_takes_nothing_back_for_one_ttl(redis_url: str) -> None:
    with consuming(redis_url, heartbeat_ttl_s=10) as bench:
        bench.submit()
        bench.turn(2)
        (one,) = bench.worker._batch.live
        bench.redis.zadd(one.claimed.queue.started_job_registry.key, {one.key: time.time() - 60})
        bench.worker._no_taking_back_until = 0.0
        bench.worker._turned_at -= 3600
        bench.worker.last_cleaned_at = None
        bench.turn()
        assert bench.held() == {one.id}
        registry = one.claimed.queue.started_job_registry.key
        assert (bench.redis.zscore(registry, one.key) or 0) > time.time(), "it breathed before all else"


def test_what_has_ended_is_committed_before_the_rest_is_handed_back(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        done, undone = bench.submit(steps=5), bench.submit(steps=5)
        bench.turn(4)
        assert bench.held() == {done.id, undone.id}
        (key,) = {key for key, _ in bench.engine.rows if key.startswith(done.id)}
        bench.engine.finish(key)
        bench.worker._batch.collect()
        bench.worker._hand_back(crashed=True)
        assert bench.read(done).status is Status.SUCCEEDED
        assert bench.read(undone).status is Status.QUEUED
        assert bench.read(undone).meta.crashes == 1


def test_a_stop_that_was_asked_for_survives_the_death_of_the_engine(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit()
        bench.turn(2)
        (one,) = bench.worker._batch.live
        one.stopped = True
        bench.worker._hand_back(crashed=True)
        assert bench.read(job).status is Status.CANCELED


def test_progress_is_written_only_by_the_worker_that_runs_the_job(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit()
        bench.turn(2)
        (one,) = bench.worker._batch.live
        job_key, name = one.record.key, bench.worker.name

        def write(completed: int, status: str, worker: str) -> None:
            bench.redis.hset(job_key, mapping={"status": status, "worker_name": worker})
            with bench.redis.pipeline() as pipe:
                write_running_meta(
                    pipe, one.record, bench.worker.name, one.meta.model_copy(update={"completed": completed})
                )
                pipe.execute()

        write(3, "started", name)
        write(4, "started", "another")
        write(5, "finished", name)
        assert bench.read(job).meta.completed == 3


@contextmanager
def full(redis: Redis) -> Iterator[None]:
    """Redis answers, and takes no writes."""
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


def test_a_full_redis_keeps_a_dying_engines_jobs_until_it_takes_writes_again(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit(steps=5)
        bench.turn(2)
        giving_back = threading.Thread(target=bench.worker._hand_back, kwargs={"crashed": True})
        with full(bench.redis), structlog.testing.capture_logs() as said:
            giving_back.start()
            while not said:
                giving_back.join(0.01)
            assert giving_back.is_alive()
            assert "maxmemory" in said[0]["error"]
        giving_back.join(60)
        assert not giving_back.is_alive()
        assert (bench.read(job).status, bench.read(job).meta.crashes) == (Status.QUEUED, 1)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_full_redis(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit(steps=5)
        bench.turn(2)
        bench.worker.request_stop()
        with full(bench.redis):
            bench.worker._hand_back(crashed=True)
            bench.worker._say_goodbye()
        assert bench.read(job).status is Status.RUNNING, "others take it back when the heartbeats have expired"


def test_what_has_ended_while_redis_was_full_is_committed_when_it_takes_writes_again(redis_url: str) -> None:
    with consuming(redis_url) as bench:
        job = bench.submit(steps=5)
        bench.turn(2)
        bench.engine.finish()
        with full(bench.redis), pytest.raises(ResponseError, match="maxmemory") as told:
            bench.turn()
        assert comes_back(told.value)
        assert bench.live(job).failure is None
        bench.turn()
        assert bench.read(job).status is Status.SUCCEEDED
