"""A webhook through the whole service: from the request to a receiver that checks it and fetches the picture."""

import hashlib
import json
import sys
import urllib.request
from pathlib import Path

import pytest

from jobs.webhook import secret_of
from service.preflight import free_port
from tests.dispatch.receiver import Receiver, eventually, receiving
from tests.e2e.serving import make_serve

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc"),
]

SECRET = "a secret of the tests, long enough to be one"


def test_the_end_of_a_job_is_told_to_who_wanted_to_know(tmp_path: Path) -> None:
    settings = {"UNFOG_WEBHOOK_SECRET": SECRET, "UNFOG_WEBHOOK_ALLOW_PRIVATE": "true"}
    state, port = tmp_path / "state", free_port("127.0.0.1")
    with receiving(Receiver()) as receiver, make_serve(state, port, **settings) as running:
        running.wait_ready()
        wanted = {"steps": 2, "seed": 7, "webhook_url": receiver.url("/hook"), "metadata": {"order": "42"}}
        request = urllib.request.Request(
            f"{running.url}/v1/jobs", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            job = json.load(answer)
        assert eventually(lambda: bool(receiver.got), within_s=60), running.said
        said = receiver.got[0].verified(secret_of(SECRET, "anonymous"))
        assert said["type"] == "job.succeeded"
        assert (said["data"]["id"], said["data"]["metadata"]) == (job["id"], {"order": "42"})
        (image,) = said["data"]["images"]
        with urllib.request.urlopen(f"{running.url}{image['url']}", timeout=30) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() == image["sha256"]
        running.press_ctrl_c()
        said_last = running.end()
        assert said_last.rstrip().endswith("Stopped.")
        assert running.processes() == {}
