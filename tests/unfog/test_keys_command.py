"""`unfog keys` works on the Redis of the service here, whether it runs or not, and shows a key once."""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from jobs import keys
from jobs.api_keys import all_keys, make_key
from service.preflight import require_redis_server
from service.redis_server import RedisServer
from service.state import StateFolder

Unfog = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parent.parent.parent
UNFOG = Path(sys.executable).with_name("unfog")
TOKEN = re.compile(r"unfog_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


def runner(**settings: str) -> Unfog:
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [UNFOG, *arguments],
            env={**own, "TERM": "dumb", "COLUMNS": "200", **settings},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """The Redis that UNFOG_REDIS_URL names."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def unfog(redis_url: str) -> Unfog:
    """The command, with UNFOG_REDIS_URL."""
    return runner(UNFOG_REDIS_URL=redis_url)


def test_a_key_is_printed_alone_on_standard_output_so_that_it_can_be_kept_in_a_variable(
    unfog: Unfog, redis: Redis
) -> None:
    done = unfog("keys", "create", "alice")
    assert done.returncode == 0, done.stderr
    token = done.stdout.removesuffix("\n")
    assert TOKEN.fullmatch(token)
    ((key, used),) = all_keys(redis)
    assert (key.name, key.scopes, key.expires_at, used) == ("alice", ("submit", "read"), None, None)
    assert f"Key {key.id} for alice: submit, read; does not expire." in done.stderr
    assert token not in done.stderr


def test_scopes_and_an_end_can_be_chosen(unfog: Unfog, redis: Redis) -> None:
    done = unfog("keys", "create", "bob", "--scope", "admin", "--scope", "read", "--expires-in", "30d")
    assert done.returncode == 0, done.stderr
    ((key, _),) = all_keys(redis)
    assert key.scopes == ("read", "admin")
    assert key.expires_at == key.created_at + 30 * 86_400


def test_the_list_shows_neither_keys_nor_hashes(unfog: Unfog, redis: Redis) -> None:
    assert "no key yet" in unfog("keys", "list").stdout
    (first, token), (second, _) = make_key(redis, "alice"), make_key(redis, "bob", ["admin"], 3600)
    unfog("keys", "revoke", second.id)
    redis.hset(keys.API_KEYS_USED, first.id, "1700000000")
    done = unfog("keys", "list")
    assert done.returncode == 0, done.stderr
    said = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert (said[first.id][1], said[first.id][-1]) == ("alice", "usable")
    assert " ".join(said[first.id]).count("2023-11-14 22:13 UTC") == 1
    assert (said[second.id][1], said[second.id][-1]) == ("bob", "revoked")
    for secret in (token[-43:], first.sha256, second.sha256):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("create", "a b"), "no name for a caller"),
        (("create", "anonymous"), "no name for a caller"),
        (("create", "alice", "--scope", "root"), "'submit', 'read', 'admin'"),
        (("create", "alice", "--expires-in", "3y"), "30d"),
        (("create", "alice", "--expires-in", "0d"), "30d"),
        (("create", "alice", "--expires-in", "-1d"), "30d"),
        (("create",), "Missing argument"),
        (("revoke", "000000000000"), "unfog keys list"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    unfog: Unfog, redis: Redis, arguments: tuple[str, ...], word: str
) -> None:
    done = unfog("keys", *arguments)
    assert done.returncode == 2
    assert word in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert redis.keys() == []


def test_a_key_can_be_made_before_the_service_first_runs_and_is_there_when_it_does(tmp_path: Path) -> None:
    unfog = runner(UNFOG_STATE_DIR=str(tmp_path / "state"))
    done = unfog("keys", "create", "alice")
    assert done.returncode == 0, done.stderr
    assert not any(path.is_socket() for path in tmp_path.rglob("*")), "the Redis it started is gone again"
    with RedisServer(require_redis_server(), tmp_path / "state" / "redis") as server:
        with Redis.from_url(server.url) as redis:
            ((key, _),) = all_keys(redis)
        assert key.name == "alice"


def test_the_redis_of_a_running_service_is_found_by_its_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    unfog = runner(UNFOG_STATE_DIR=str(state))
    with StateFolder(state), RedisServer(require_redis_server(), state / "redis") as server:
        with Redis.from_url(server.url) as redis:
            made = unfog("keys", "create", "alice")
            assert made.returncode == 0, made.stderr
            ((key, _),) = all_keys(redis)
            assert unfog("keys", "revoke", key.id).returncode == 0
            ((key, _),) = all_keys(redis)
            assert key.revoked_at is not None
        assert server.child.running, "it is left running"


def test_a_redis_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    done = runner(UNFOG_REDIS_URL=f"unix://{tmp_path}/none.sock")("keys", "list")
    assert done.returncode == 2
    assert done.stderr.startswith("UNFOG_REDIS_URL is set, but no Redis can be used there")
    assert "Traceback" not in done.stderr


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image of the API has of the project: no supervisor, and no program `unfog`."""
    for room in ("unfog", "app", "jobs", "dispatch"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "service.py").write_text("raise ImportError('not in this image')\n")
    return tmp_path


def test_in_the_image_of_the_api_keys_are_made_in_the_redis_that_is_named(
    image: Path, redis: Redis, redis_url: str
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    command = [sys.executable, "-m", "unfog", "keys", "create", "alice"]
    run = functools.partial(subprocess.run, command, cwd=image, capture_output=True, text=True, timeout=60)
    done = run(env={**own, "PYTHONPATH": str(image), "UNFOG_REDIS_URL": redis_url})
    assert done.returncode == 0, done.stderr
    assert TOKEN.fullmatch(done.stdout.strip())
    ((key, _),) = all_keys(redis)
    assert key.name == "alice"
    nowhere = run(env={**own, "PYTHONPATH": str(image)})
    assert (nowhere.returncode, nowhere.stderr) == (2, "Set UNFOG_REDIS_URL to the Redis of the service.\n")
