"""Keys as an operator uses them: beside a running `make serve`, without knowing where its Redis is."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.preflight import free_port
from tests.e2e.serving import make_serve
from tests.service.running import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc"),
]

UNFOG = Path(sys.prefix) / "bin" / "unfog"


def unfog(state: Path, *arguments: str) -> str:
    """What `unfog` prints when it is told nothing but the state folder of the service."""
    done = subprocess.run(
        [UNFOG, *arguments],
        env={"PATH": "/usr/bin:/bin", "UNFOG_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_first_key_closes_the_service_and_a_revoked_one_is_out_within_a_second(tmp_path: Path) -> None:
    with make_serve(tmp_path / "state", free_port("127.0.0.1")) as running:
        running.wait_ready()
        jobs = f"{running.url}/v1/jobs"
        assert httpx.post(jobs, json={"steps": 1}).status_code == 202

        token = unfog(running.state, "keys", "create", "alice")
        assert eventually(lambda: httpx.post(jobs, json={"steps": 1}).status_code == 401)
        refused = httpx.post(jobs, json={"steps": 1})
        assert refused.json()["code"] == "key_required"
        assert refused.headers["www-authenticate"] == "Bearer"

        headers = {"Authorization": f"Bearer {token}"}
        wait = {**headers, "Prefer": "wait=60"}
        drawn = httpx.post(jobs, json={"steps": 1, "seed": 7}, headers=wait, timeout=70)
        assert (drawn.status_code, drawn.json()["status"]) == (200, "succeeded")
        picture = running.url + drawn.json()["images"][0]["url"]
        assert httpx.get(picture).status_code == 401
        assert httpx.get(picture, params={"key": token, "api_key": token, "token": token}).status_code == 401
        assert httpx.get(picture, headers=headers).status_code == 200

        unfog(running.state, "keys", "revoke", token.split("_")[1])
        assert eventually(lambda: httpx.get(picture, headers=headers).status_code == 401)
        assert httpx.get(picture, headers=headers).json()["code"] == "key_revoked"
        assert " revoked" in unfog(running.state, "keys", "list")
        running.press_ctrl_c()
        assert token[-43:] not in running.end(), "no log holds a key"


def test_a_key_made_before_the_first_start_is_in_the_line_that_draws_a_picture(tmp_path: Path) -> None:
    state = tmp_path / "state"
    token = unfog(state, "keys", "create", "alice")
    with make_serve(state, free_port("127.0.0.1")) as running:
        running.wait_ready()
        pasted = subprocess.run(
            ["sh", "-c", running.curl_line],
            cwd=tmp_path,
            env={**os.environ, "UNFOG_API_KEY": token},
            timeout=60,
        )
        assert pasted.returncode == 0
        assert (tmp_path / "art.png").read_bytes().startswith(b"\x89PNG")
        running.press_ctrl_c()
        running.end()
