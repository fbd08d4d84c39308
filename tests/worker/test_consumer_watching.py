"""What the worker tells of running jobs, to whom, and what it costs; the engine is a fake, the listener real."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image
from redis import Redis

from jobs import keys
from jobs.record import JobRecord, Status
from tests.worker.consuming import Bench, consuming

SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


class Ear:
    """One subscriber."""

    def __init__(self, redis: Redis, job: JobRecord) -> None:
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(keys.watch(job.id))
        self._pubsub.get_message(timeout=1)

    def heard(self) -> list[dict[str, Any]]:
        """All words that have come."""
        words = []
        while (message := self._pubsub.get_message(timeout=0.1)) is not None:
            words.append(json.loads(message["data"]))
        return words

    def close(self) -> None:
        self._pubsub.close()


@contextmanager
def listening(bench: Bench, job: JobRecord) -> Iterator[Ear]:
    ear = Ear(bench.redis, job)
    try:
        yield ear
    finally:
        ear.close()


def progress(completed: int, total: int = 10, attempt: int = 1) -> dict[str, Any]:
    return {"type": "progress", "status": "running", "completed": completed, "total": total, "attempt": attempt}


def calls(redis: Redis, command: str) -> int:
    """How often a command was called so far."""
    found = redis.info("commandstats")
    return sum(int(stats["calls"]) for name, stats in found.items() if name.startswith(f"cmdstat_{command}"))


def test_who_listens_already_hears_the_start_at_once(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    with listening(bench, job) as ear:
        bench.worker._watching._due = float("inf")
        bench.turn()
        assert ear.heard() == [progress(0)]


def test_progress_is_told_when_there_is_some(bench: Bench) -> None:
    job = bench.submit(**SHORT, num_images=2)
    bench.turn()
    key = bench.live(job).key
    with listening(bench, job) as ear:
        bench.engine.done = {key: 6}
        for _ in range(3):
            bench.look()
        bench.engine.finish(key, index=0)
        bench.engine.done = {key: 8}
        bench.look()
        assert ear.heard() == [progress(6, total=20), progress(18, total=20)]


def test_the_rounds_are_200_ms_apart(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    with listening(bench, job) as ear:
        bench.look()
        ear.heard()
        bench.engine.done = {bench.live(job).key: 6}
        bench.worker._watching._due = float("inf")
        bench.turn(3)
        assert ear.heard() == []


def test_previews_are_wanted_and_told_only_while_somebody_watches_a_job_that_asked_for_them(bench: Bench) -> None:
    plain, job = bench.submit(**SHORT), bench.submit(**SHORT, preview=True)
    bench.turn(2)
    key = bench.live(job).key
    bench.look()
    assert bench.engine.watched == set()
    with listening(bench, job) as ear, listening(bench, plain) as other:
        bench.look()
        assert bench.engine.watched == {key}
        bench.engine.show(key, 0, 4)
        bench.engine.show(key, 0, 5)
        bench.look()
        _, preview = ear.heard()
        assert (preview["type"], preview["index"], preview["completed"]) == ("preview", 0, 5)
        with Image.open(io.BytesIO(base64.b64decode(preview["png"]))) as image:
            assert (image.size, image.mode) == ((16, 16), "RGB")
        bench.look()
        assert ear.heard() == [], "the same is not told twice"
        assert other.heard() == [progress(0)]
    bench.look()
    assert bench.engine.watched == set()


def test_an_image_that_is_done_before_the_others_is_shown_as_it_is(bench: Bench) -> None:
    job = bench.submit(**SHORT, num_images=2, preview=True)
    bench.turn()
    with listening(bench, job) as ear:
        bench.look()
        ear.heard()
        bench.engine.finish(index=1)
        bench.look()
        _, preview = ear.heard()
        assert (preview["index"], preview["completed"]) == (1, 10)


def test_who_comes_later_is_told_all_that_is_there(bench: Bench, redis_url: str) -> None:
    job = bench.submit(**SHORT, preview=True)
    bench.turn()
    with listening(bench, job) as first:
        bench.look()
        bench.engine.show(bench.live(job).key, 0, 4)
        bench.look()
        first.heard()
        with listening(bench, job) as second:
            bench.look()
            assert [word["type"] for word in second.heard()] == ["progress", "preview"]


def test_many_previews_are_told_over_several_rounds_and_none_starves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consumer.watching.BUDGET_S", 0.0)
    job = bench.submit(**SHORT, num_images=4, preview=True)
    bench.turn()
    key = bench.live(job).key
    with listening(bench, job) as ear:
        bench.look()
        shown = []
        for n in range(1, 9):
            for index in range(4):
                bench.engine.show(key, index, n)
            bench.look()
            shown += [(word["index"], word["completed"]) for word in ear.heard() if word["type"] == "preview"]
        assert sorted(index for index, _ in shown) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [n for _, n in shown] == [1, 2, 3, 4, 5, 6, 7, 8], "and each is the newest there is"


def test_all_jobs_are_asked_about_at_once_and_none_when_none_runs(bench: Bench) -> None:
    before = calls(bench.redis, "pubsub")
    for _ in range(5):
        bench.look()
    assert calls(bench.redis, "pubsub") == before, "nothing runs"
    for n in range(4):
        bench.submit(**SHORT, seed=n)
    bench.turn(4)
    before, published = calls(bench.redis, "pubsub"), calls(bench.redis, "publish")
    for _ in range(5):
        bench.look()
    assert calls(bench.redis, "pubsub") == before + 5
    assert calls(bench.redis, "publish") == published, "nobody listens"


def test_a_redis_that_refuses_to_tell_hurts_no_job(bench: Bench) -> None:
    bench.redis.acl_setuser("default", enabled=True, commands=["-pubsub", "-publish"])
    try:
        job = bench.submit(**SHORT, preview=True)
        for _ in range(3):
            bench.look()
        asked = calls(bench.redis, "pubsub")
        bench.turn(3)
        assert calls(bench.redis, "pubsub") == asked, "it asks no more for a while"
        bench.engine.finish()
        bench.look()
    finally:
        bench.redis.acl_setuser("default", enabled=True, commands=["+pubsub", "+publish"])
    assert bench.read(job).status is Status.SUCCEEDED


def test_a_preview_of_another_size_is_left_out(bench: Bench) -> None:
    job = bench.submit(**SHORT, preview=True)
    bench.turn()
    with listening(bench, job) as ear:
        bench.look()
        bench.engine.pixels = b"short"
        bench.engine.show(bench.live(job).key, 0, 4)
        bench.look()
        assert [word["type"] for word in ear.heard()] == ["progress"]
