"""What is missing is told in a sentence that says what to do, before anything is started."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.settings import Settings
from service import preflight
from service.problem import CannotStart
from service.state import StateFolder


def test_a_taken_port_is_named_with_the_way_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"Port {port} on 127\.0\.0\.1 is taken.+make serve PORT={port + 1}"):
            preflight.require_port("127.0.0.1", port)


def test_a_free_port_is_accepted_and_left_free() -> None:
    port = preflight.free_port("127.0.0.1")
    preflight.require_port("127.0.0.1", port)
    preflight.require_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(CannotStart, match="Set UNFOG_HOST"):
        preflight.require_port(host, 8000)


def test_a_model_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"There is no model folder .+/dogs.+UNFOG_MODELS"):
        preflight.require_models(Settings(models=(str(tmp_path / "dogs"),)))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="is no diffusers model"):
        preflight.require_models(Settings(models=(str(tmp_path),)))


def test_the_bundled_model_is_there() -> None:
    preflight.require_models(Settings())


def test_without_any_redis_server_the_ways_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_redis_server", lambda: None)
    with pytest.raises(CannotStart, match=r"no redis-server on PATH.+Python 3\.1\d.+apt install.+UNFOG_REDIS_URL"):
        preflight.require_redis_server()


def test_a_redis_url_where_nobody_answers_is_refused_without_its_password() -> None:
    with pytest.raises(CannotStart, match="UNFOG_REDIS_URL is set") as told:
        preflight.require_redis(Settings(redis_url="redis://:secret@127.0.0.1:1/0"))  # type: ignore[arg-type]
    assert "secret" not in str(told.value)


def test_a_setting_out_of_range_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_PORT", "eighty")
    with pytest.raises(CannotStart, match=r"UNFOG_PORT is 'eighty': .+integer"):
        preflight.read_settings()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CannotStart, match=r"file/state cannot be written .+UNFOG_STATE_DIR"),
        StateFolder(tmp_path / "file" / "state"),
    ):
        pass


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(CannotStart, match=r"The disk that holds .+ is full.+UNFOG_STATE_DIR"),
        StateFolder(tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_nearly_full_disk_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    fields = list(real)
    fields[4] = 0  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    with pytest.raises(CannotStart, match="is full"), StateFolder(tmp_path):
        pass


def test_a_second_service_on_the_same_folder_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from service.state import StateFolder

with StateFolder(Path(sys.argv[1])):
    pass
"""
    with StateFolder(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30
        )
        assert f"Another Unfog (process {os.getpid()}) uses {tmp_path}" in done.stderr
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
