"""From finished rows to stored files: animations, large jobs beside the loop, and jobs that fail with a reason."""

import hashlib
import io
import threading
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from jobs import keys
from jobs.record import Status
from tests.worker.consuming import Bench, consuming
from worker.consumer import encoding
from worker.engine_client import EngineDied

SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}
LARGE = {**SHORT, "num_images": 16, "scale": 16}
"""More pixels than are encoded in the loop."""


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


class Gate:
    """Keeps encoders waiting until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        produce = encoding.produce

        def waiting(*work: object) -> encoding.Product:
            self.reached.set()
            assert self._open.wait(60)
            return produce(*work)  # type: ignore[arg-type]

        monkeypatch.setattr(encoding, "produce", waiting)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    one = Gate(monkeypatch)
    yield one
    one.open()


def until_ended(bench: Bench) -> None:
    """Go round until the worker holds nothing."""
    deadline = time.monotonic() + 60
    while len(bench.worker._batch):
        assert time.monotonic() < deadline
        bench.turn()


def test_an_animation_is_stored_beside_the_pictures_and_named_by_the_job(bench: Bench) -> None:
    job = bench.submit(**SHORT, num_images=4, animation=True, scale=2)
    bench.turn()
    assert all(row.animate for row in bench.engine.rows.values())
    bench.engine.frames = 3
    bench.engine.finish()
    until_ended(bench)
    done = bench.read(job)
    assert done.status is Status.SUCCEEDED
    assert len(done.meta.pictures) == 4
    stored = done.meta.animation
    assert stored is not None
    data = bench.redis.get(stored.key)
    assert isinstance(data, bytes)
    assert hashlib.sha256(data).hexdigest() == stored.sha256
    with Image.open(io.BytesIO(data)) as image:
        assert image.is_animated  # type: ignore[attr-defined]
        assert image.size == (64, 64), "two by two pictures of 16 pixels, doubled"
    assert job.spec.ttl_s < bench.redis.ttl(stored.key) <= job.spec.ttl_s + 60


def test_without_the_wish_there_is_no_animation(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.turn()
    assert not any(row.animate for row in bench.engine.rows.values())
    bench.engine.finish()
    bench.turn()
    assert bench.read(job).meta.animation is None
    assert not bench.redis.keys(keys.animation(job.id, "*"))


def test_while_a_large_job_is_encoded_the_worker_breathes_and_ends_others(bench: Bench, gate: Gate) -> None:
    large = bench.submit(**LARGE)
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert gate.reached.wait(60)
    registry = bench.live(large).claimed.queue.started_job_registry.key
    bench.redis.zadd(registry, {bench.live(large).key: 1})
    bench.beat()
    assert (bench.redis.zscore(registry, bench.live(large).key) or 0) > time.time()
    other = bench.submit(**SHORT)
    bench.turn()
    assert bench.held() == {other.id}
    assert bench.read(large).status is Status.RUNNING
    gate.open()
    until_ended_but(bench, other.id)
    assert len(bench.read(large).meta.pictures) == 16
    bench.engine.finish()
    until_ended(bench)
    assert bench.read(other).status is Status.SUCCEEDED


def until_ended_but(bench: Bench, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while {one.id for one in bench.worker._batch.live} != {job_id}:
        assert time.monotonic() < deadline
        bench.turn()


@pytest.mark.parametrize("fields", [SHORT, LARGE, {**SHORT, "animation": True}])
def test_pixels_that_are_no_picture_fail_their_job_and_nobody_else(bench: Bench, fields: dict[str, object]) -> None:
    bad, good = bench.submit(**fields), bench.submit(**SHORT)
    bench.turn(2)
    whole = bench.engine.pixels
    bench.engine.pixels = whole[:-1]
    bench.engine.finish(bench.live(bad).key)
    bench.engine.pixels = whole
    bench.engine.finish()
    until_ended(bench)
    failed = bench.read(bad)
    assert failed.failure is not None
    assert (failed.status, failed.failure.code) == (Status.FAILED, "encoding_failed")
    assert "bytes" in failed.failure.detail
    assert bench.read(good).status is Status.SUCCEEDED


def test_frames_that_are_none_fail_their_job(bench: Bench) -> None:
    job = bench.submit(**SHORT, animation=True)
    bench.turn()
    bench.engine.frames = 0
    bench.engine.finish()
    until_ended(bench)
    failed = bench.read(job)
    assert failed.failure is not None
    assert failed.failure.code == "encoding_failed"


def test_a_file_that_is_too_large_to_keep_fails_its_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LARGEST_BYTES", 50)
    job = bench.submit(**SHORT)
    bench.turn()
    bench.engine.finish()
    bench.turn()
    failed = bench.read(job)
    assert failed.failure is not None
    assert failed.failure.code == "result_too_large"
    assert "ask for" in failed.failure.detail
    assert not bench.redis.keys(keys.picture(job.id, "*", 0))


def test_a_picture_that_the_store_refuses_fails_its_job_and_not_the_worker(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.turn()
    bench.engine.finish()
    bench.redis.acl_setuser("default", enabled=True, reset_keys=True, keys=["rq:*", "unfog:[^p]*"])
    try:
        bench.turn()
    finally:
        bench.redis.acl_setuser("default", enabled=True, keys=["*"])
    failed = bench.read(job)
    assert failed.failure is not None
    assert (failed.status, failed.failure.code) == (Status.FAILED, "not_stored")
    assert not len(bench.worker._batch)


def test_what_waits_to_be_stored_is_limited_in_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "WAITING_BYTES", 1)
    jobs = [bench.submit(**SHORT, seed=n) for n in range(3)]
    bench.turn(3)
    bench.engine.finish()
    for _ in range(3):
        bench.worker._batch.collect()
    assert [bool(one.encoded) for one in bench.worker._batch.live].count(True) == 1, "the others stay rows"
    bench.turn(3)
    assert {bench.read(job).status for job in jobs} == {Status.SUCCEEDED}


def test_a_job_that_is_stopped_while_it_is_encoded_ends_canceled(bench: Bench, gate: Gate) -> None:
    job = bench.submit(**LARGE)
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert gate.reached.wait(60)
    bench.worker._stops.append(job.id)
    bench.turn(2)
    assert bench.read(job).status is Status.CANCELED
    gate.open()
    deadline = time.monotonic() + 60
    while bench.worker._batch._encoder._running:
        assert time.monotonic() < deadline
        bench.turn()
    assert not bench.redis.keys(keys.picture(job.id, "*", 0))


def test_what_was_computed_before_the_engine_died_is_encoded_and_kept(bench: Bench, gate: Gate) -> None:
    job = bench.submit(**LARGE)
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert gate.reached.wait(60)
    bench.engine.dead = True
    with pytest.raises(EngineDied):
        bench.turn()
    gate.open()
    bench.worker._hand_back(crashed=True)
    assert bench.read(job).status is Status.SUCCEEDED


def test_a_job_says_in_its_rows_all_that_was_asked_for(bench: Bench) -> None:
    picture = "data:image/png;base64,AAAA"
    bench.submit(
        **{**SHORT, "steps": 40},
        num_images=2,
        seed=2**32 - 1,
        seed_to=7,
        seed_mix=0.25,
        init_image=picture,
        strength=0.5,
    )
    bench.turn()
    first, second = bench.engine.rows.values()
    assert (first.seed, first.seed_to, first.seed_mix) == (2**32 - 1, 7, 0.25)
    assert (second.seed, second.seed_to, second.seed_mix) == (0, 8, 0.25)
    assert (first.init_image, first.steps, first.walked_steps) == (picture, 40, 20)


def test_a_plain_job_starts_from_its_own_static_and_walks_all_steps(bench: Bench) -> None:
    bench.submit(**SHORT)
    bench.turn()
    (row,) = bench.engine.rows.values()
    assert (row.seed_to, row.seed_mix, row.init_image, row.walked_steps, row.animate) == (None,) * 4 + (False,)
