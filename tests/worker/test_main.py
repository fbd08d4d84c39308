"""A worker's process: what it waits for, what it refuses, and what its logs and metrics say of a job."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ConnectionError

import worker.main
from jobs.catalogue import Catalogue, ModelCard, read_catalogue
from jobs.connection import connect, connect_async
from jobs.keys import CANCEL_FIELD
from jobs.record import JobRecord
from jobs.request import JobRequest, evaluations, resolve
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.watch import Preview, Progress, Watcher
from service.redis_server import RedisServer, find_redis_server
from tests.chaos.clockwork_engine import CARD
from tests.chaos.poison import POISON
from tests.models.small_model import write_model

CLOCKWORK = ("tests.chaos.poisoned_worker", "tests.chaos.clockwork_engine")
"""A real worker whose engine computes nothing and starts at once."""
REQUEST_ID = "req-from-a-test"
WAITING = "redis does not answer, waiting for it; is UNFOG_REDIS_URL right?"


@dataclass
class Worker:
    """A worker process and what it said."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.said() if line["event"] == name]

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def until(condition: Callable[[], object], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@contextmanager
def started(tmp_path: Path, redis_url: str, *module: str, **settings: str) -> Iterator[Worker]:
    """Start a worker; whatever happens, it does not outlive the test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    environment |= {"UNFOG_REDIS_URL": redis_url, "OMP_NUM_THREADS": "1"}
    environment |= {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *(module or CLOCKWORK)], env=environment, stdout=out, stderr=out
        )
    try:
        yield Worker(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def server(tmp_path: Path) -> RedisServer:
    """A Redis that is not started yet; its URL is known."""
    binary = find_redis_server()
    assert binary is not None
    return RedisServer(binary, tmp_path / "redis")


def submitted(redis_url: str, card: ModelCard, **fields: Any) -> JobRecord:
    async def submit() -> JobRecord:
        settings = Settings(redis_url=SecretStr(redis_url))
        store = JobStore(connect_async(settings), connect(settings), settings.max_queued_evaluations)
        catalogue = Catalogue({card.id: card}, card.id, {card.id: 1})
        harmless = (POISON + 1) % len(card.class_names)
        plain = {"sampler": "ddim", "steps": 5, "guidance_scale": 1.0, "class_label": harmless}
        request = JobRequest(**{**plain, **fields})
        spec = resolve(request, catalogue, settings.max_job_evaluations)
        spec = spec.model_copy(update={"request_id": REQUEST_ID})
        sampler = card.sampler(spec.sampler)
        assert sampler is not None
        try:
            return await store.submit(spec, evaluations(spec, sampler))
        finally:
            await store.close()

    return asyncio.run(submit())


def served(redis_url: str) -> dict[str, ModelCard]:
    """The models that live workers serve."""

    async def read() -> dict[str, ModelCard]:
        redis = connect_async(Settings(redis_url=SecretStr(redis_url)))
        try:
            catalogue = await read_catalogue(redis)
        finally:
            await redis.aclose()
        return {name: card for name, card in catalogue.models.items() if catalogue.workers[name]}

    return asyncio.run(read())


def ended(redis_url: str, job: JobRecord) -> bool:
    with Redis.from_url(redis_url) as redis:
        return redis.hget(f"rq:job:{job.id}", "status") == b"finished"


def test_a_worker_waits_for_its_redis_and_then_works(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path, server.url) as one:
        until(lambda: one.log.exists() and one.events(WAITING))
        with server:
            until(lambda: served(server.url))
            job = submitted(server.url, CARD)
            until(lambda: ended(server.url, job))
            assert one.stop() == 0


def test_a_worker_that_is_asked_to_stop_while_its_engine_starts_ends_at_once(
    tmp_path: Path, redis_url: str
) -> None:
    with started(tmp_path, redis_url, "tests.chaos.poisoned_worker", "tests.worker.unready_engine") as one:
        until(lambda: one.events("unready"))
        assert one.stop() == 0, "by a handler of its own, which the first process of a container needs"


class Away:
    """A Redis that answers at the last of so many tries."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    def info(self, section: str) -> dict[str, str]:
        self.tries -= 1
        if self.tries:
            raise ConnectionError("refused")
        return {"maxmemory_policy": "noeviction"}


def test_while_it_waits_it_complains_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.main, "REDIS_PAUSE_S", 0.0)
    with structlog.testing.capture_logs() as said:
        assert worker.main.wait_for_redis(Away(worker.main.COMPLAIN_EVERY + 2))  # type: ignore[arg-type]
    assert [line["event"] for line in said] == [WAITING, WAITING, "redis answers"]


def test_a_worker_that_waits_for_redis_ends_when_it_is_asked_to(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path, server.url) as one:
        until(lambda: one.log.exists() and one.said())
        assert one.stop() == 0
        assert one.said()[-1]["event"] == "asked to stop while redis was away"


def test_a_password_that_is_wrong_is_told_and_not_waited_for(tmp_path: Path, server: RedisServer) -> None:
    with server:
        url = server.url.replace("unix://", "unix://somebody:hush@")
        with started(tmp_path, url) as one:
            assert one.process.wait(timeout=60) == 2
            (said,) = one.said()
            assert "password in UNFOG_REDIS_URL" in said["reason"]
            assert "hush" not in one.log.read_text()


def test_a_redis_that_evicts_is_refused(tmp_path: Path, server: RedisServer) -> None:
    with server, Redis.from_url(server.url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        with started(tmp_path, server.url) as one:
            assert one.process.wait(timeout=60) == 2
            assert "noeviction" in one.said()[-1]["reason"]


def test_a_port_for_metrics_that_is_taken_is_told(tmp_path: Path, redis_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with started(tmp_path, redis_url, worker_metrics_port=port) as one:
            assert one.process.wait(timeout=60) == 2
            (said,) = one.said()
            assert "UNFOG_WORKER_METRICS_PORT" in said["reason"]


def test_a_job_is_followed_by_its_ids_from_claim_to_end_and_counted(tmp_path: Path, redis_url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with started(tmp_path, redis_url, log_format="json", worker_metrics_port=port) as one:
        until(lambda: served(redis_url))
        job = submitted(redis_url, CARD)
        until(lambda: ended(redis_url, job))
        until(lambda: one.events("job ended"))
        for event in ("job claimed", "job started", "job ended"):
            (line,) = one.events(event)
            assert (line["job"], line["request_id"], line["level"]) == (job.id, REQUEST_ID, "info")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert 'unfog_worker_jobs_ended_total{sampler="ddim",status="succeeded"} 1.0' in text
        assert "unfog_worker_engine_starts_total 1.0" in text
        assert job.id not in text
        assert one.stop() == 0


async def watched(redis_url: str, card: ModelCard) -> tuple[JobRecord, list[Progress], list[Preview]]:
    """A long job, and what was heard of it until it had progress and previews; then it is told to stop."""
    redis = connect_async(Settings(redis_url=SecretStr(redis_url)))
    watcher, heard, seen = Watcher(redis), list[Progress](), list[Preview]()
    async with watcher.running():
        job = await asyncio.to_thread(submitted, redis_url, card, sampler="ddpm", steps=1000, preview=True)
        with watcher.listen(job.id) as listener:
            while len(heard) < 3 or len(seen) < 2:
                news = await listener.next(60)
                assert news is not None
                heard += [news.progress] if news.progress else []
                seen += news.previews
    await redis.hset(f"rq:job:{job.id}", CANCEL_FIELD, 1)
    await redis.aclose()
    return job, heard, seen


def test_a_real_engine_shows_who_watches_and_says_at_debug_what_its_ticks_advanced(
    tmp_path: Path, redis_url: str
) -> None:
    model = str(write_model(tmp_path / "tiny"))
    settings = {"models": model, "batching": "fast", "torch_threads": "1", "log_level": "debug"}
    with started(tmp_path, redis_url, "worker", **settings) as one:
        until(lambda: served(redis_url), limit_s=90)
        (card,) = served(redis_url).values()
        job, heard, seen = asyncio.run(watched(redis_url, card))
        assert [one.completed for one in heard] == sorted(one.completed for one in heard)
        assert {(one.total, one.attempt) for one in heard} == {(1000, 1)}
        for preview in seen:
            with Image.open(io.BytesIO(base64.b64decode(preview.png))) as image:
                assert image.size == (card.width, card.height)
        until(lambda: one.events("job ended"))
        assert one.events("job ended")[0]["status"] == "canceled"
        ticks = [line for line in one.events("tick") if line["executions"]]
        (claim,) = one.events("job claimed")
        assert {name for tick in ticks for name in tick["executions"]} == {f"{job.id}:{claim['execution']}"}
        assert one.stop() == 0
