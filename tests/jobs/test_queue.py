"""RQ's queue, narrowed: a crash keeps no job, and cleaning is never locked for long."""

import pytest
from redis import Redis
from rq import Queue
from rq.utils import now

from jobs.queue import MAINTENANCE_LOCK_S, ReturningIntermediateQueue, ServiceJob, ServiceQueue


@pytest.fixture
def queue(redis: Redis) -> ServiceQueue:
    """An empty queue."""
    return ServiceQueue("unfog.fruit-16", connection=redis)


def popped(queue: ServiceQueue, job_id: str, seconds_ago: float) -> ReturningIntermediateQueue:
    """A job that a worker popped and did not claim; the cleaning has seen it so long ago."""
    intermediate = queue.intermediate_queue
    assert isinstance(intermediate, ReturningIntermediateQueue)
    queue.connection.rpush(queue.key, job_id)
    queue.connection.lmove(queue.key, intermediate.key, "LEFT", "RIGHT")
    queue.connection.set(intermediate.get_first_seen_key(job_id), now().timestamp() - seconds_ago)
    return intermediate


def test_a_queue_makes_jobs_of_ours_in_json(queue: ServiceQueue) -> None:
    job = queue.enqueue_call("unfog.generate", kwargs={"spec": "{}"})
    assert isinstance(job, ServiceJob)
    assert queue.connection.hget(job.key, "data") is not None
    assert isinstance(queue.fetch_job(job.id), ServiceJob)


def test_stock_rq_sees_the_same_queue(queue: ServiceQueue, redis: Redis) -> None:
    queue.enqueue_call("unfog.generate", kwargs={"spec": "{}"})
    assert Queue("unfog.fruit-16", connection=redis).count == 1


def test_a_job_that_was_popped_just_now_is_left_to_its_worker(queue: ServiceQueue) -> None:
    intermediate = popped(queue, "job", seconds_ago=0)
    intermediate.cleanup(None, queue)
    assert (queue.job_ids, intermediate.get_job_ids()) == ([], ["job"])


def test_a_job_that_nobody_claimed_is_put_back_at_the_front(queue: ServiceQueue) -> None:
    intermediate = popped(queue, "lost", seconds_ago=ReturningIntermediateQueue.grace_s + 1)
    queue.connection.rpush(queue.key, "other")
    intermediate.cleanup(None, queue)
    assert (queue.job_ids, intermediate.get_job_ids()) == (["lost", "other"], [])
    assert not queue.connection.exists(intermediate.get_first_seen_key("lost"))


def test_an_accepted_job_is_back_within_seconds() -> None:
    assert ReturningIntermediateQueue.grace_s < 10


def test_the_first_cleaning_that_sees_a_job_only_takes_note(queue: ServiceQueue) -> None:
    intermediate = queue.intermediate_queue
    queue.connection.rpush(intermediate.key, "job")
    intermediate.cleanup(None, queue)  # type: ignore[arg-type]
    assert intermediate.get_job_ids() == ["job"]
    assert intermediate.get_first_seen("job") is not None


def test_the_cleaning_lock_is_held_by_one_and_for_seconds(queue: ServiceQueue) -> None:
    assert queue.acquire_maintenance_lock()
    assert not queue.acquire_maintenance_lock()
    left = queue.connection.pttl(queue.registry_cleaning_key)
    assert 0 < left <= MAINTENANCE_LOCK_S * 1000


def test_the_cleaning_lock_of_one_queue_does_not_hold_another(queue: ServiceQueue, redis: Redis) -> None:
    assert queue.acquire_maintenance_lock()
    assert ServiceQueue("unfog.pebble-8", connection=redis).acquire_maintenance_lock()
