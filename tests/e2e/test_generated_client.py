"""Clients that nobody here wrote: one generated from the description, and curl."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import RunningService

pytestmark = pytest.mark.e2e

GENERATOR = Path(__file__).parent / "generator.txt"
CONFIG = """
content_type_overrides: {image/png: application/octet-stream, image/apng: application/octet-stream}
post_hooks: []
"""
"""The generator knows JSON and bytes by a few names; a picture is bytes. No hooks: its linter is not installed."""

PROGRAM = """
import hashlib
import sys
import time

from drawn import Client
from drawn.api.jobs import cancel_job, delete_job, list_jobs, read_animation, read_image, read_job, submit_job
from drawn.api.models import list_models, list_samplers, read_model
from drawn.models import CostView, JobRequest, JobView, Problem, Status

client = Client(base_url=sys.argv[1])


def ended(job):
    while job.status in ("queued", "running"):
        time.sleep(0.05)
        job = read_job.sync(job.id, client=client)
    return job


models = list_models.sync(client=client).data
assert read_model.sync(models[0].id, client=client).default_steps == models[0].default_steps
assert "ddim" in [sampler.name for sampler in list_samplers.sync(client=client).data]

asked = JobRequest(sampler="ddim", steps=4, seed=7, num_images=2, animation=True)
cost = submit_job.sync(client=client, body=asked, dry_run=True)
assert isinstance(cost, CostView) and cost.evaluations >= 8, cost

job = submit_job.sync(client=client, body=asked, idempotency_key="drawn-1")
assert isinstance(job, JobView), job
assert submit_job.sync(client=client, body=asked, idempotency_key="drawn-1").id == job.id
job = ended(job)
assert job.status == "succeeded", job
assert (job.seed, len(job.images), job.progress.fraction) == (7, 2, 1.0)
for image in job.images:
    png = read_image.sync(job.id, str(image.index), client=client).payload.read()
    assert hashlib.sha256(png).hexdigest() == image.sha256
assert read_animation.sync(job.id, client=client).payload.read(8) == b"\\x89PNG\\r\\n\\x1a\\n"

waited = submit_job.sync(client=client, body=JobRequest(steps=2, seed=7), prefer="wait=60")
assert waited.status == "succeeded", waited

listed = list_jobs.sync(client=client, limit=1, status=Status.SUCCEEDED)
assert [each.id for each in listed.data] == [waited.id]
older = list_jobs.sync(client=client, limit=1, status=Status.SUCCEEDED, cursor=listed.next_cursor)
assert [each.id for each in older.data] == [job.id]

long = submit_job.sync(client=client, body=JobRequest(steps=1000, num_images=16))
canceled = ended(cancel_job.sync(long.id, client=client))
assert canceled.status == "canceled", canceled

refused = submit_job.sync(client=client, body=JobRequest(sampler="plms"))
assert isinstance(refused, Problem)
assert (refused.code, refused.errors[0].pointer) == ("invalid_request", "/sampler")
assert delete_job.sync_detailed(job.id, client=client).status_code == 204
gone = read_job.sync(job.id, client=client)
assert isinstance(gone, Problem) and (gone.status, gone.code) == (410, "job_gone")
print("drawn")
"""


def run(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UNFOG_", "PYTHON"))}
    return subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=110)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Where the programs of an environment are that has the generator and nothing of ours."""
    # Not in our own lock: it wants other releases of what we have.
    venv.create(tmp_path / "venv", symlinks=True)
    found = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", found / "python", "--disable-pip-version-check"]
    done = run(*pip, "install", "--quiet", "--no-deps", "--no-compile", "-r", GENERATOR, cwd=tmp_path)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"pip finds no index to install from: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return found


def test_a_client_that_is_generated_from_the_description_drives_the_service(
    service: RunningService, programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    what = ("--url", f"{service.url}/openapi.json", "--config", "config.yml", "--fail-on-warning")
    where = ("--output-path", "drawn", "--meta", "none")
    made = run(programs / "openapi-python-client", "generate", *what, *where, cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "WARNING" not in made.stdout + made.stderr
    assert {path.stem for path in (tmp_path / "drawn/api/jobs").glob("[a-z]*.py")} == {
        "cancel_job",
        "delete_job",
        "events",
        "list_jobs",
        "read_animation",
        "read_image",
        "read_job",
        "submit_job",
    }
    (tmp_path / "program.py").write_text(PROGRAM)
    driven = run(programs / "python", "program.py", service.url, cwd=tmp_path)
    assert driven.returncode == 0, driven.stdout + driven.stderr
    assert driven.stdout == "drawn\n"


# curl


def curl(*arguments: str) -> tuple[int, bytes]:
    """The status and the body."""
    command = shutil.which("curl")
    if command is None:
        pytest.skip("there is no curl on PATH")
    mark = "\n%{http_code}"
    done = subprocess.run(
        [command, "--silent", "--show-error", "--max-time", "90", "--write-out", mark, *arguments],
        capture_output=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def curl_json(*arguments: str) -> tuple[int, Any]:
    status, body = curl(*arguments)
    return status, json.loads(body)


def body(text: str) -> list[str]:
    """The options that send JSON, for any curl."""
    return ["--header", "Content-Type: application/json", "--data", text]


def test_curl_drives_the_service(service: RunningService) -> None:
    jobs = f"{service.url}/v1/jobs"
    asked = body('{"sampler": "ddim", "steps": 4, "seed": 7, "animation": true}')
    wait = ["--header", "Prefer: wait=60"]

    status, cost = curl_json(*asked, f"{jobs}?dry_run=true")
    assert (status, cost["evaluations"] >= 4) == (200, True)
    status, job = curl_json(*asked, *wait, jobs)
    assert (status, job["status"]) == (200, "succeeded")
    status, png = curl(*asked, *wait, "--header", "Accept: image/png", jobs)
    assert (status, png[:4]) == (200, b"\x89PNG")
    url = service.url + job["urls"]["self"]
    assert curl("--header", "Accept: image/png", url) == (200, png), "the same seed, the same bytes"
    assert curl(service.url + job["images"][0]["url"]) == (200, png)
    assert curl(service.url + job["urls"]["animation"])[1][:4] == b"\x89PNG"
    status, events = curl("--no-buffer", service.url + job["urls"]["events"])
    assert status == 200
    assert [line for line in events.decode().splitlines() if line.startswith("event:")] == [
        "event: snapshot",
        "event: done",
    ]
    assert curl_json(f"{jobs}?limit=100")[1]["data"]
    assert curl_json(f"{service.url}/v1/models")[1]["data"]

    status, long = curl_json(*body('{"steps": 1000, "num_images": 16}'), jobs)
    assert (status, long["status"]) == (202, "queued")
    status, ended = curl_json("--request", "POST", service.url + long["urls"]["cancel"])
    assert status in (200, 202)
    assert service.finished(ended)["status"] == "canceled"

    assert curl("--request", "DELETE", url) == (204, b"")
    assert curl_json(url)[1]["code"] == "job_gone"
    status, refused = curl_json(*body('{"stpes": 5}'), jobs)
    assert (status, refused["errors"][0]["pointer"]) == (422, "/stpes")
