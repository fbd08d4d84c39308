"""`python -m worker.alive`: what a container's health check learns, and that it is cheap to ask."""

import os
import subprocess
import sys
from pathlib import Path

from redis import Redis

from jobs.recovery import alive_key, worker_name
from tests.worker.test_main import CLOCKWORK, served, started, until
from worker.alive import EXIT_REFUSED, EXIT_SILENT, EXIT_UNKNOWN, workers_of

HOST = os.uname().nodename


def ask(redis_url: str, *before: str) -> "subprocess.CompletedProcess[str]":
    """Run it as the health check does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    return subprocess.run(
        [sys.executable, *(before or ("-m", "worker.alive"))],
        env={**environment, "UNFOG_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_worker_that_works_is_alive_and_one_that_has_left_is_not(tmp_path: Path, redis_url: str) -> None:
    with started(tmp_path, redis_url, *CLOCKWORK) as one:
        until(lambda: served(redis_url))
        assert ask(redis_url).returncode == 0
        assert one.stop() == 0
    told = ask(redis_url)
    assert told.returncode == EXIT_SILENT
    assert told.stderr == f"No worker of {HOST} breathes.\n"


def test_one_that_is_registered_and_silent_is_not_alive(redis_url: str) -> None:
    name = worker_name(HOST, 1, 1)
    with Redis.from_url(redis_url) as redis:
        redis.sadd("rq:workers", f"rq:worker:{name}")
        assert ask(redis_url).returncode == EXIT_SILENT
        redis.set(alive_key(name), 1, ex=60)
    assert ask(redis_url).returncode == 0


def test_a_worker_of_another_host_does_not_count(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        for host in (f"{HOST}-2", f"a-{HOST}", "elsewhere"):
            redis.sadd("rq:workers", f"rq:worker:{worker_name(host, 1, 1)}")
        mine = worker_name(HOST, 7, 1)
        redis.sadd("rq:workers", f"rq:worker:{mine}")
        assert workers_of(redis, HOST) == [mine]


def test_a_redis_that_is_away_is_told_apart_from_a_worker_that_is() -> None:
    told = ask("redis://127.0.0.1:1/0")
    assert told.returncode == EXIT_UNKNOWN
    assert told.stderr.startswith("Redis does not answer, so nothing is known: ")


def test_settings_that_cannot_be_used_are_told(redis_url: str) -> None:
    told = ask("hush")
    assert told.returncode == EXIT_REFUSED
    assert told.stderr.startswith("UNFOG_REDIS_URL is no URL of a Redis")


def test_it_imports_nothing_heavy(redis_url: str) -> None:
    script = "import worker.alive, sys; sys.exit(bool({'torch', 'numpy', 'diffusers'} & set(sys.modules)))"
    assert ask(redis_url, "-c", script).returncode == 0
