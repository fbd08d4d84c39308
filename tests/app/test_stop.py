"""On SIGTERM the API lets go of those who wait and stream, ends with exit code 0, and cancels nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from tests import cards
from tests.app.serving import PATIENCE_S, listening, until


@dataclass
class Running:
    """`python -m app`, and where it logs."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        found = re.search(r"http://[\d.]+:\d+", self.log.read_text())
        return found[0] if found else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    @property
    def cut_off(self) -> bool:
        """Whether somebody was, since they did not leave."""
        return "exceeded" in self.log.read_text()


def started(redis_url: str, log: Path) -> Running:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    settings = {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": "0", "UNFOG_LOG_FORMAT": "json"}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "app"], env={**environment, **settings}, stderr=file)
    api = Running(process, log)
    until(lambda: process.poll() is not None or api.url)
    assert process.poll() is None, log.read_text()
    return api


@pytest.fixture
def running(redis: Redis, redis_url: str, tmp_path: Path) -> Iterator[Running]:
    """The API as its own process, with two models known."""
    cards.announce_both(redis)
    api = started(redis_url, tmp_path / "log")
    yield api
    api.process.kill()
    api.process.wait()


def submitted(api: Running, **body: object) -> dict[str, Any]:
    job: dict[str, Any] = httpx.post(f"{api.url}/v1/jobs", json=body).json()
    return job


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_api_ends_with_0(running: Running, number: int) -> None:
    assert httpx.get(f"{running.url}/health/live").status_code == 200
    assert running.stop(number) == 0


def test_a_stream_ends_without_an_end_of_its_job_and_cancels_nothing(running: Running, redis: Redis) -> None:
    job = submitted(running, cancel_on_disconnect=True)
    with listening(running.url + job["urls"]["events"]) as listener:
        listener.until("snapshot")
        running.process.send_signal(signal.SIGTERM)
        assert [name for name, _ in listener.rest() if name == "done"] == []
        assert running.process.wait(PATIENCE_S) == 0
    assert not running.cut_off
    assert cards.fetch(redis, job["id"]).get_status() == "queued"


def test_one_who_waits_is_answered_with_the_job_as_it_is(running: Running, redis: Redis) -> None:
    answers: list[httpx.Response] = []

    def wait() -> None:
        body = {"cancel_on_disconnect": True}
        headers = {"Prefer": "wait=60"}
        answers.append(httpx.post(f"{running.url}/v1/jobs", json=body, headers=headers, timeout=PATIENCE_S))

    waiting = threading.Thread(target=wait)
    waiting.start()
    job_id = cards.wait_for_job(redis)
    assert running.stop() == 0
    waiting.join()
    assert (answers[0].status_code, answers[0].json()["id"]) == (202, job_id)
    assert not running.cut_off
    assert cards.fetch(redis, job_id).get_status() == "queued"


def test_each_request_is_one_line_of_json_in_the_log(running: Running) -> None:
    httpx.get(f"{running.url}/v1/models?nothing=secret", headers={"X-Request-ID": "mine"})
    httpx.get(f"{running.url}/nowhere")
    assert running.stop() == 0
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    told = [line for line in lines if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in told] == [("/v1/models", 200), (None, 404)]
    assert told[0]["request_id"] == "mine"
    assert "secret" not in running.log.read_text()
