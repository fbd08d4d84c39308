"""What an autoscaler reads: how much work there is and who does it."""

from collections.abc import Iterator

import pytest

from jobs.catalogue import announce
from jobs.recovery import worker_name
from jobs.stats import ModelWork, Stats
from tests.cards import FRUIT, PEBBLE
from tests.jobs.submitting import Desk

A, B = worker_name("here", 1, 1), worker_name("here", 2, 1)


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    desk = Desk(redis_url)
    yield desk
    desk.redis.close()


def stats(desk: Desk) -> Stats:
    return desk.ask(lambda store: store.stats())


def work(queued: tuple[int, int], running: tuple[int, int], workers: int, rate: float | None) -> ModelWork:
    return ModelWork(
        queued_jobs=queued[0],
        queued_evaluations=queued[1],
        running_jobs=running[0],
        running_evaluations=running[1],
        workers=workers,
        rate=rate,
    )


def test_before_any_worker_there_is_nothing(desk: Desk) -> None:
    assert stats(desk).model_dump() == {
        "queued_jobs": 0,
        "queued_evaluations": 0,
        "running_jobs": 0,
        "running_evaluations": 0,
        "workers": 0,
        "models": {},
    }


def test_work_and_workers_are_counted_by_model_and_in_all(desk: Desk) -> None:
    announce(desk.redis, A, (FRUIT, PEBBLE), 60, {FRUIT.id: 100.0, PEBBLE.id: 50.0})
    announce(desk.redis, B, (FRUIT,), 60, {FRUIT.id: 11.5})
    for steps in (10, 20):
        desk.submit(steps=steps, num_images=2)
    desk.claim_all(A)
    desk.submit(steps=30)
    spec, _ = desk.resolved(steps=5)
    desk.ask(lambda store: store.submit(spec.model_copy(update={"model": PEBBLE.id}), 5))
    found = stats(desk)
    assert found.models == {
        FRUIT.id: work((1, 30), (2, 60), 2, 111.5),
        PEBBLE.id: work((1, 5), (0, 0), 1, 50.0),
    }
    assert (found.queued_jobs, found.queued_evaluations) == (2, 35)
    assert (found.running_jobs, found.running_evaluations) == (2, 60)
    assert found.workers == 2, "one of them serves both"


def test_a_model_without_a_live_worker_keeps_its_work_and_has_no_rate(desk: Desk) -> None:
    announce(desk.redis, A, (FRUIT,), -1, {FRUIT.id: 100.0})
    desk.submit(steps=10)
    assert stats(desk).models == {FRUIT.id: work((1, 10), (0, 0), 0, None)}
