"""Jobs that are to go no further, and a worker that is to take none: by RQ's tools and by our own word."""

import itertools
from collections.abc import Iterator

import pytest
from rq.command import send_stop_job_command
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from jobs import keys
from jobs.queue import ServiceJob
from jobs.record import JobRecord, Status
from tests.cards import fetch
from tests.worker.consuming import Bench, consuming
from worker.consumer.heartbeat import breathe

SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}
LONG = {"sampler": "ddpm", "steps": 1000, "guidance_scale": 1.0}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


def want_canceled(bench: Bench, job: JobRecord) -> None:
    """Leave the word that the API leaves, without RQ's command that goes with it."""
    bench.redis.hset(ServiceJob.key_for(job.id), keys.CANCEL_FIELD, 1)


def test_rqs_stop_command_cancels_one_of_many(bench: Bench) -> None:
    stopped, other = bench.submit(**LONG), bench.submit(**LONG)
    bench.turn(2)
    send_stop_job_command(bench.redis, stopped.id, serializer=JSONSerializer)
    for _ in range(200):
        bench.turn()
        if bench.held() == {other.id}:
            break
    assert bench.held() == {other.id}
    bench.turn()
    assert bench.read(stopped).status is Status.CANCELED
    assert fetch(bench.redis, stopped.id).get_status() is JobStatus.STOPPED


def test_a_suspended_worker_takes_nothing_until_it_is_resumed(bench: Bench) -> None:
    suspend(bench.redis)
    bench.beat()
    job = bench.submit(**SHORT)
    bench.turn(3)
    assert bench.read(job).status is Status.QUEUED
    resume(bench.redis)
    bench.beat()
    bench.turn()
    assert bench.read(job).status is Status.RUNNING


def test_a_wish_to_cancel_is_seen_with_the_next_heartbeat_also_if_the_command_was_lost(bench: Bench) -> None:
    unwanted, other = bench.submit(**LONG), bench.submit(**LONG)
    bench.turn(2)
    want_canceled(bench, unwanted)
    bench.turn()
    assert bench.held() == {unwanted.id, other.id}
    bench.beat()
    assert bench.held() == {other.id}, "it leaves the engine at once"
    bench.turn()
    assert bench.read(unwanted).status is Status.CANCELED
    assert bench.read(other).status is Status.RUNNING


def is_greeting(line: str) -> bool:
    """Whether a client said it when it connected, or the test before it began."""
    return line.startswith(("HELLO", "CLIENT", "PING"))


def test_the_wish_costs_no_round_trip_of_its_own(bench: Bench) -> None:
    jobs = [bench.submit(**LONG, seed=n) for n in range(3)]
    bench.turn(3)
    with bench.redis.monitor() as monitor:
        bench.redis.ping()  # a connection that is there
        breathe(bench.worker, bench.worker._batch.live, 6)
        bench.redis.ping()
        heard = (one["command"] for one in monitor.listen())
        said = list(itertools.takewhile(lambda line: line != "PING", itertools.dropwhile(is_greeting, heard)))
    assert (said[0], said[-1]) == ("MULTI", "EXEC")
    for job in jobs:
        assert sum(keys.CANCEL_FIELD in line and job.id in line for line in said) == 1


def test_a_job_that_had_ended_before_the_wish_stays_as_it_ended(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.turn()
    bench.engine.finish()
    bench.worker._batch.collect()
    want_canceled(bench, job)
    bench.beat()
    assert bench.read(job).status is Status.SUCCEEDED


def test_a_job_with_the_wish_does_not_run_again_when_it_is_given_back(bench: Bench) -> None:
    job = bench.submit(**LONG)
    bench.turn()
    want_canceled(bench, job)
    bench.worker._hand_back(crashed=False)
    assert bench.read(job).status is Status.CANCELED
    bench.turn(3)
    assert fetch(bench.redis, job.id).get_status() is not JobStatus.STARTED


def test_a_stop_for_a_job_that_is_not_held_is_passed_over(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.worker._stops.append("job_of_another")
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert bench.read(job).status is Status.SUCCEEDED
