"""`python -m app` says in a sentence why it does not start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from app.access import is_loopback
from jobs.api_keys import make_key, revoke_key


def start(room: str = "app", **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    return subprocess.run(
        [sys.executable, "-m", room],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_these_hosts_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "", "unfog.example", "127.0.0.1.example"])
def test_these_hosts_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_host_beyond_loopback_is_refused_unless_somebody_may_come(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        revoke_key(redis, make_key(redis, "alice")[0].id)
    done = start(UNFOG_HOST="0.0.0.0", UNFOG_REDIS_URL=redis_url)
    assert done.returncode == 2
    assert done.stderr == (
        "Not listening on 0.0.0.0: others reach it, and there is no key yet. Make one with "
        "`unfog keys create NAME`, or let everybody in with UNFOG_ALLOW_ANONYMOUS=true.\n"
    )


def test_a_host_that_others_reach_is_listened_on_once_there_is_a_key(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        make_key(redis, "alice")
    # An address of another machine: with leave to listen, the only thing wrong is that it is not here.
    done = start(UNFOG_HOST="192.0.2.1", UNFOG_PORT="0", UNFOG_REDIS_URL=redis_url)
    assert "Not listening" not in done.stderr
    assert "192.0.2.1" in done.stderr


def test_a_redis_that_is_away_keeps_no_service_from_starting_since_nobody_is_let_in_meanwhile(
    tmp_path: Path,
) -> None:
    done = start(UNFOG_HOST="192.0.2.1", UNFOG_PORT="0", UNFOG_REDIS_URL=f"unix://{tmp_path}/none.sock")
    assert "Not listening" not in done.stderr
    assert "192.0.2.1" in done.stderr


@pytest.mark.parametrize("name", ["UNFOG_URL_SECRET", "UNFOG_WEBHOOK_SECRET"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(name: str) -> None:
    done = start(**{name: "tooshort"})
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name} cannot be used: it must have at least 32 characters")
    assert "tooshort" not in done.stderr + done.stdout


@pytest.mark.parametrize("room", ["app", "worker"])
def test_a_bad_setting_is_a_sentence_and_not_a_traceback(room: str) -> None:
    done = start(room, UNFOG_PORT="abc", UNFOG_DRAIN_S="-1")
    assert done.returncode == 2
    assert done.stdout == ""
    port, drain = done.stderr.splitlines()
    assert port.startswith("UNFOG_PORT is 'abc': should be a valid integer")
    assert drain.startswith("UNFOG_DRAIN_S is '-1': should be greater than or equal to 0")


def test_a_host_that_everybody_may_reach_is_listened_on_when_it_is_wanted() -> None:
    # An address of another machine: with leave to listen, the only thing wrong is that it is not here.
    done = start(UNFOG_HOST="192.0.2.1", UNFOG_PORT="0", UNFOG_ALLOW_ANONYMOUS="true")
    assert "Not listening" not in done.stderr
    assert "192.0.2.1" in done.stderr
