"""`python -m app` says in a sentence why it does not start."""

import os
import subprocess
import sys

import pytest

from app.__main__ import is_loopback


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


def test_a_host_beyond_loopback_is_refused_unless_everybody_may_come() -> None:
    done = start(UNFOG_HOST="0.0.0.0")
    assert done.returncode == 2
    assert done.stderr == (
        "Not listening on 0.0.0.0: anybody who reaches it could submit jobs. "
        "Set UNFOG_ALLOW_ANONYMOUS=true if that is what you want.\n"
    )


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
