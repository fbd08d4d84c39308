"""The ledger moves with the jobs, and the recount finds what went around it."""

from collections.abc import Iterator

import pytest
from rq.serializers import JSONSerializer

from jobs import keys, ledger
from jobs.lanes import lanes_of, split, suspects_name
from jobs.ledger import RUNNING
from jobs.queue import ServiceJob, ServiceQueue
from jobs.recovery import take_back, worker_name
from jobs.work import recount
from tests.cards import FRUIT
from tests.jobs.submitting import Desk

A = worker_name("here", 1, 1)


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def recounted(desk: Desk) -> None:
    desk.redis.delete(keys.WORK_LOCK)
    assert recount(desk.redis)


def of_rq(desk: Desk, job_id: str) -> ServiceJob:
    job = ServiceJob.fetch(job_id, connection=desk.redis, serializer=JSONSerializer)
    assert isinstance(job, ServiceJob)
    return job


# Names


@pytest.mark.parametrize("model", ["cats-32", "a.b.c.d", "suspects", "x.suspects", "normal.short.0"])
def test_a_queue_is_split_into_its_model_and_the_rest(model: str) -> None:
    for lane in lanes_of(model):
        assert split(lane.name) == (model, lane.tail)
    assert split(suspects_name(model)) == (model, "suspects")


@pytest.mark.parametrize(
    "name", ["", "default", "unfog", "unfog.cats", "other.cats.normal.short.0", "unfog..suspects"]
)
def test_the_queue_of_another_is_not_split(name: str) -> None:
    with pytest.raises(ValueError, match="no queue of this service"):
        split(name)


# The moves of one job


def test_a_job_is_counted_where_it_is_until_it_ends(desk: Desk) -> None:
    job = desk.submit(steps=10, num_images=2, caller="ada")
    lane = split(job.queue)[1]
    assert desk.model_counters() == {
        "queued.jobs": 1,
        "queued.evaluations": 20,
        f"{lane}.jobs": 1,
        f"{lane}.evaluations": 20,
    }
    assert (desk.callers(), desk.order(lane), desk.counters()) == ({"ada": 20}, [job.id], {"queued": 20})
    (claimed,) = desk.claim_all(A)
    assert desk.model_counters() == {"running.jobs": 1, "running.evaluations": 20}
    assert (desk.callers(), desk.order(lane), desk.counters()) == ({}, [], {"queued": 0, "running": 20})
    live = desk.live(claimed)
    desk.progress(live, 12)
    assert desk.model_counters() == {"running.jobs": 1, "running.evaluations": 20, "running.done": 12}
    assert desk.finish(A, live)
    assert (desk.model_counters(), desk.ledger()) == ({}, {})
    assert desk.counters() == {"queued": 0, "running": 0}


def test_what_is_put_back_stands_in_front_and_has_done_nothing(desk: Desk) -> None:
    first = desk.submit(steps=10)
    (claimed,) = desk.claim_all(A)
    desk.progress(desk.live(claimed), 4)
    others = [desk.submit(steps=10).id for _ in range(2)]
    assert take_back(desk.redis, [claimed.execution.composite_key])
    lane = split(first.queue)[1]
    assert desk.order(lane) == [first.id, *others]
    assert desk.model_counters()["queued.evaluations"] == 30
    assert "running.done" not in desk.model_counters()


def test_the_progress_of_a_job_that_is_no_longer_the_workers_counts_nothing(desk: Desk) -> None:
    desk.submit(steps=10)
    (claimed,) = desk.claim_all(A)
    assert take_back(desk.redis, [claimed.execution.composite_key])
    before = desk.model_counters()
    desk.progress(desk.live(claimed), 4)
    assert desk.model_counters() == before


def test_a_move_that_is_written_twice_counts_once(desk: Desk) -> None:
    job = desk.submit(steps=10)
    for _ in range(3):
        ledger.waits_in_front(desk.redis, job.queue, job.id, 10, "anonymous")
    assert desk.counters() == {"queued": 10}
    for _ in range(3):
        ledger.gone(desk.redis, job.queue, job.id)
    assert desk.counters() == {"queued": 0}
    assert desk.model_counters() == {}


def test_a_caller_of_any_name_is_counted(desk: Desk) -> None:
    names = ["", "ü:\n|", '"[1]"', "running", "normal.short.0"]
    for name in names:
        desk.submit(steps=10, caller=name)
    assert desk.callers() == dict.fromkeys(names, 10)
    desk.claim_all(A)
    assert desk.callers() == {}


def test_jobs_that_are_malformed_when_they_are_claimed_leave_the_ledger(desk: Desk) -> None:
    broken, erased = desk.submit().id, desk.submit().id
    desk.redis.hset(f"rq:job:{broken}", "data", "no JSON")
    desk.redis.delete(f"rq:job:{erased}")
    assert desk.claim_all(A) == []
    assert (desk.ledger(), desk.model_counters()) == ({}, {})


# The recount


def test_what_rqs_tools_cancelled_deleted_or_emptied_is_found(desk: Desk) -> None:
    canceled, deleted = desk.submit().id, desk.submit().id
    running = desk.submit().id
    of_rq(desk, canceled).cancel()
    of_rq(desk, deleted).delete()
    desk.claim_all(A)
    of_rq(desk, running).cancel()
    desk.submit(caller="emptied")
    for queue in desk.queues():
        queue.empty()
    assert len(desk.ledger()) == 4
    recounted(desk)
    assert (desk.ledger(), desk.model_counters(), desk.callers()) == ({}, {}, {})
    assert desk.counters() == {"queued": 0, "running": 0}


def test_what_rqs_tools_queued_again_is_found_and_has_a_place(desk: Desk) -> None:
    job = desk.submit(steps=7)
    (claimed,) = desk.claim_all(A)
    desk.stop(A, desk.live(claimed))
    assert desk.ledger() == {}
    of_rq(desk, job.id).requeue()
    recounted(desk)
    lane = split(job.queue)[1]
    assert desk.ledger()[job.id].lane == lane
    assert (desk.order(lane), desk.counters()) == ([job.id], {"queued": 7, "running": 0})
    assert desk.redis.ttl(f"rq:job:{job.id}") == -1, "it would expire while it waits"


def test_a_job_that_was_popped_and_not_claimed_still_waits(desk: Desk) -> None:
    job = desk.submit()
    queue = ServiceQueue(job.queue, connection=desk.redis)
    desk.redis.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    recounted(desk)
    assert desk.counters() == {"queued": 10}


def test_a_job_that_says_it_waits_and_is_in_no_list_is_not_counted(desk: Desk) -> None:
    job = desk.submit()
    desk.redis.delete(f"rq:queue:{job.queue}")
    recounted(desk)
    assert (desk.ledger(), desk.counters()) == ({}, {"queued": 0})


def test_jobs_from_before_the_ledger_are_entered(desk: Desk) -> None:
    waits = desk.submit(steps=3)
    runs = desk.submit(steps=5, priority="low")
    queue = ServiceQueue(runs.queue, connection=desk.redis)
    claimed = desk.claim_all(A)
    assert len(claimed) == 2
    take_back(desk.redis, [one.execution.composite_key for one in claimed if one.record.id == waits.id])
    before = (desk.ledger(), desk.model_counters(), desk.counters(), desk.callers())
    stale = [keys.model_ledger(FRUIT.id), keys.model_work(FRUIT.id), keys.WORK, keys.CALLERS_QUEUED]
    desk.redis.delete(*stale, keys.lane_order(FRUIT.id, split(waits.queue)[1]))
    recounted(desk)
    assert (desk.ledger(), desk.model_counters(), desk.counters(), desk.callers()) == before
    assert desk.ledger()[runs.id].lane == RUNNING
    assert queue.started_job_registry.key == f"rq:wip:{runs.queue}"


def test_counters_that_somebody_changed_are_set_right(desk: Desk) -> None:
    desk.submit(steps=10, caller="ada")
    before = desk.model_counters()
    desk.redis.hset(keys.WORK, mapping={"queued": -5, "running": 3})
    desk.redis.hset(keys.CALLERS_QUEUED, mapping={"ada": 1, "bob": 9})
    desk.redis.hset(keys.model_work(FRUIT.id), "queued.jobs", 100)
    recounted(desk)
    assert desk.model_counters() == before
    assert desk.counters() == {"queued": 10}
    assert desk.callers() == {"ada": 10}


def test_a_foreign_key_in_a_lane_does_not_stop_the_recount(desk: Desk) -> None:
    job = desk.submit()
    desk.redis.rpush(f"rq:queue:{job.queue}", "text", "forged")
    desk.redis.set("rq:job:text", "text")
    desk.redis.hset("rq:job:forged", mapping={"status": b"\xff", "origin": b"\xfe"})
    desk.redis.sadd("rq:queues", "rq:queue:default", b"rq:queue:unfog.\xff.suspects")
    recounted(desk)
    assert list(desk.ledger()) == [job.id]


def test_the_jobs_of_models_that_no_worker_serves_stay_counted(desk: Desk) -> None:
    desk.submit(steps=10)
    spec, cost = desk.resolved(steps=5)
    other = spec.model_copy(update={"model": "other-16"})
    job = desk.ask(lambda store: store.submit(other, cost))
    recounted(desk)
    assert desk.counters() == {"queued": 15}
    of_rq(desk, job.id).cancel()
    recounted(desk)
    assert desk.counters() == {"queued": 10}
