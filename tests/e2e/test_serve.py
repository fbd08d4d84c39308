"""`make serve` from its start to nothing left: the first thing that a person does with the project."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from service.preflight import free_port
from tests.e2e.serving import Serving, make_serve
from tests.service.running import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc"),
]


def paste(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60)


def sockets(state: Path) -> list[Path]:
    return [path for path in state.rglob("*") if path.is_socket()]


def test_start_draw_ctrl_c_start_again_and_a_kill(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_port("127.0.0.1")

    with make_serve(state, port) as running:
        running.wait_ready()
        drawn = paste(running.curl_line, tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        with Image.open(tmp_path / "art.png") as picture:
            assert (picture.format, picture.size) == ("PNG", (256, 256))
        first = (tmp_path / "art.png").read_bytes()
        refused_twice(running, port, tmp_path)
        running.press_ctrl_c()
        said = running.end()
        assert said.rstrip().endswith("Stopped."), "and no word of make about an error"
        assert running.processes() == {}
        assert sockets(state) == []

    with make_serve(state, port) as running:
        running.wait_ready()
        drawn = paste(running.curl_line, tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / "art.png").read_bytes() == first, "the same seed gives the same bytes"
        os.kill(running.pid_of("unfog serve"), signal.SIGKILL)
        assert eventually(lambda: running.processes() == {}), running.processes()


def refused_twice(running: Serving, port: int, folder: Path) -> None:
    """A second service is refused in a sentence: on the same port, and on the same state folder."""
    serve = [Path(sys.prefix) / "bin" / "unfog", "serve", "--port"]
    env = {**os.environ, "UNFOG_STATE_DIR": str(folder / "other")}
    same_port = subprocess.run([*serve, str(port)], env=env, capture_output=True, text=True, timeout=30)
    assert same_port.returncode == 2
    assert f"Port {port} on 127.0.0.1 is taken" in same_port.stderr
    env["UNFOG_STATE_DIR"] = str(running.state)
    same_folder = subprocess.run([*serve, "0"], env=env, capture_output=True, text=True, timeout=30)
    assert same_folder.returncode == 2
    assert f"Another Unfog (process {running.pid_of('unfog serve')}) uses" in same_folder.stderr
    assert "Traceback" not in same_port.stderr + same_folder.stderr
