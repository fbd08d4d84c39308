"""Workers of two releases, or with two sets of weights, on one Redis: real processes."""

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.chaos.clockwork_engine import CARD
from tests.jobs.test_upgrade import rewrite
from tests.worker.test_main import served, started, submitted, until

CHANGED = ("tests.chaos.poisoned_worker", "tests.worker.changed_clockwork")


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


def status(redis: Redis, job_id: str) -> str:
    return str(redis.hget(f"rq:job:{job_id}", "status").decode())  # type: ignore[union-attr]


def failure(redis: Redis, job_id: str) -> Any:
    return json.loads(redis.hget(f"rq:job:{job_id}", "meta"))["failure"]["code"]  # type: ignore[arg-type]


def test_an_old_worker_leaves_a_new_job_waiting_and_does_what_it_can(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    newer = submitted(redis_url, CARD)
    rewrite(redis, newer.id, lambda spec: spec | {"upscale": 2})
    plain = [submitted(redis_url, CARD, seed=seed) for seed in range(3)]
    with started(tmp_path, redis_url, log_format="json") as old:
        until(lambda: all(status(redis, job.id) == "finished" for job in plain))
        assert status(redis, newer.id) == "queued"
        left = old.events("left for a newer worker")
        assert {(line["job"], line["unknown"]) for line in left} == {(newer.id, "upscale")}
        rewrite(redis, newer.id, lambda spec: {name: v for name, v in spec.items() if name != "upscale"})
        until(lambda: status(redis, newer.id) == "finished")
        assert old.stop() == 0
    redis.close()


def test_a_worker_with_other_weights_refuses_the_jobs_of_the_old_ones(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(redis_url, CARD)
    monkeypatch.setenv("CLOCKWORK_CARD", json.dumps({"fingerprint": "sha256:new"}))
    with started(tmp_path, redis_url, *CHANGED):
        until(lambda: status(redis, job.id) == "failed")
    assert failure(redis, job.id) == "model_changed"
    redis.close()


def test_old_and_new_weights_serve_side_by_side_under_two_names(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"id": "clockwork-next", "fingerprint": "sha256:new"}
    monkeypatch.setenv("CLOCKWORK_CARD", json.dumps(changes))
    (tmp_path / "next").mkdir()
    with started(tmp_path, redis_url), started(tmp_path / "next", redis_url, *CHANGED):
        until(lambda: len(served(redis_url)) == 2)
        cards = (CARD, CARD.model_copy(update=changes))
        jobs = [submitted(redis_url, card, seed=seed) for seed in range(3) for card in cards]
        until(lambda: all(status(redis, job.id) == "finished" for job in jobs))
    redis.close()
