"""A worker whose pictures go elsewhere than into Redis: written aside, kept while that is away, never lost."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.connection import connect
from jobs.record import JobRecord, Status
from jobs.results.in_folder import FolderResults
from tests.worker.consuming import Bench, consuming
from worker.consumer import encoding, storing
from worker.engine_client import EngineDied


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def bench(redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(storing, "PAUSE_S", 0.01)
    with consuming(redis_url, result_store=f"folder:{folder}", heartbeat_ttl_s=2) as one:
        yield one


def take_away(folder: Path) -> None:
    """Where the folder was there is a file, as where a disk is not mounted there is no folder."""
    if folder.exists():
        folder.rename(folder.with_name("elsewhere"))
    folder.write_text("")


def bring_back(folder: Path) -> None:
    folder.unlink()
    if folder.with_name("elsewhere").exists():
        folder.with_name("elsewhere").rename(folder)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def begun(bench: Bench, **fields: object) -> JobRecord:
    """A job whose rows are about to leave the engine."""
    job = bench.submit(**fields)
    bench.turn(2)
    bench.engine.finish()
    return job


def until_ended(bench: Bench, job: JobRecord) -> JobRecord:
    deadline = time.monotonic() + 20
    while not (found := bench.read(job)).status.ended:
        assert time.monotonic() < deadline, found
        bench.turn()
        time.sleep(0.005)
    return found


def several_turns(bench: Bench) -> None:
    """As many as would do if the store were there."""
    for _ in range(20):
        bench.turn()
        time.sleep(0.01)


def test_pictures_and_the_animation_lie_in_the_folder_and_nothing_of_them_in_redis(
    bench: Bench, folder: Path
) -> None:
    job = until_ended(bench, begun(bench, num_images=2, animation=True))
    assert job.status is Status.SUCCEEDED
    assert len(job.meta.references) == 3
    assert all(reference.startswith(f"folder:{folder}/") for reference in job.meta.references)
    assert {str(path) for path in files(folder)} == {one.removeprefix("folder:") for one in job.meta.references}
    assert not [key for key in bench.redis.keys("unfog:*") if b"picture" in key or b"animation" in key]


def test_while_the_store_is_away_results_are_kept_and_the_worker_breathes(bench: Bench, folder: Path) -> None:
    take_away(folder)
    job = begun(bench)
    several_turns(bench)
    bench.beat()
    assert bench.read(job).status is Status.RUNNING
    assert bench.live(job).encoded
    bring_back(folder)
    found = until_ended(bench, job)
    assert (found.status, found.meta.attempt, len(files(folder))) == (Status.SUCCEEDED, 1, 1)


def test_what_is_kept_is_limited_in_bytes(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "WAITING_BYTES", 1)
    take_away(folder)
    jobs = [bench.submit(seed=seed) for seed in range(4)]
    bench.turn(4)
    bench.engine.finish()
    several_turns(bench)
    assert [bool(bench.live(job).encoded) for job in jobs].count(True) == 1
    bring_back(folder)
    assert {until_ended(bench, job).status for job in jobs} == {Status.SUCCEEDED}


def test_no_more_jobs_are_held_than_without_the_trouble(redis_url: str, folder: Path) -> None:
    with consuming(redis_url, result_store=f"folder:{folder}", max_batch_places=2) as bench:
        take_away(folder)
        for seed in range(12):
            bench.submit(seed=seed)
        for _ in range(10):
            bench.turn()
            bench.engine.finish()
        assert 0 < bench.worker._batch.rows <= 2 * 2


def test_a_job_that_waits_for_the_store_can_be_canceled(bench: Bench, folder: Path) -> None:
    take_away(folder)
    job = begun(bench)
    several_turns(bench)
    bench.redis.hset(f"rq:job:{job.id}", "unfog_cancel", 1)
    bench.beat()
    assert until_ended(bench, job).status is Status.CANCELED
    bring_back(folder)
    assert not files(folder)


def test_told_to_stop_while_the_store_is_away_the_job_is_queued_again_at_no_cost(
    bench: Bench, folder: Path
) -> None:
    take_away(folder)
    job = begun(bench)
    several_turns(bench)
    bench.worker._hand_back(crashed=False)
    found = bench.read(job)
    assert (found.status, found.meta.crashes) == (Status.QUEUED, 0)


def test_the_death_of_the_engine_is_no_crash_of_a_job_that_only_waits_for_the_store(
    bench: Bench, folder: Path
) -> None:
    take_away(folder)
    done = begun(bench, seed=1)
    several_turns(bench)
    running = bench.submit(seed=2)
    bench.turn(2)
    bench.engine.kill()
    with pytest.raises(EngineDied):
        bench.turn()
    bench.worker._hand_back(crashed=True)
    assert [bench.read(job).meta.crashes for job in (done, running)] == [0, 1]


def test_files_whose_commit_is_late_are_stored_again_to_outlive_the_job(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(bench)
    one = bench.live(job)
    bench.worker._batch.collect()
    while not bench.worker._storing.stored([one]):
        time.sleep(0.005)
    monkeypatch.setattr(storing, "MARGIN_S", 0)
    assert bench.worker._storing.stored([one]) == []
    monkeypatch.undo()
    assert until_ended(bench, job).status is Status.SUCCEEDED


def test_what_a_late_execution_stored_is_named_by_nobody_and_swept(
    bench: Bench, folder: Path, redis_url: str
) -> None:
    job = begun(bench, ttl_s=60)
    taken = connect(bench.settings)
    key = bench.live(job).key
    taken.zrem(bench.live(job).claimed.queue.started_job_registry.key, key)  # as when it was taken back
    deadline = time.monotonic() + 20
    while bench.worker._batch.live and time.monotonic() < deadline:
        bench.turn()
    taken.close()
    assert bench.read(job).meta.references == ()
    assert len(files(folder)) == 1
    results = FolderResults(f"folder:{folder}", folder)
    assert asyncio.run(results.sweep(time.time())) == 0
    assert asyncio.run(results.sweep(time.time() + 60 + storing.MARGIN_S + 60)) == 1
    assert not files(folder)
