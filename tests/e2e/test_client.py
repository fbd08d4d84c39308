"""The client and its commands against the real service: what they say is what happened."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

import unfog
from tests.e2e.running import RunningService
from tests.unfog.scripted import Asked, listening
from unfog import AsyncClient, Client, Done, Generated, Preview, Progress, Progressed, Snapshot
from unfog.terminal import ExitCode

pytestmark = pytest.mark.e2e

LONG = {"sampler": "ddpm", "steps": 1000, "num_images": 16, "guidance_scale": 1.0}


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


def unfog_command(service: RunningService, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    return subprocess.run(
        [Path(sys.prefix) / "bin" / "unfog", *arguments],
        cwd=folder,
        env={**env, "UNFOG_URL": service.url},
        capture_output=True,
        timeout=100,
    )


def test_generate_draws_what_was_asked_for_and_tells_how_it_goes(client: Client, tmp_path: Path) -> None:
    seen: list[Progress] = []
    made = client.generate(
        sampler="ddim", steps=50, seed=7, n=4, scale=2, metadata={"wall": "north"}, on_progress=seen.append
    )
    assert [image.seed for image in made.job.images] == [7, 8, 9, 10]
    assert made.job.metadata == {"wall": "north"}
    assert {Image.open(io.BytesIO(png)).size for png in made.pngs} == {(64, 64)}
    fractions = [now.fraction for now in seen]
    assert fractions == sorted(fractions)
    assert (seen[-1].status, seen[-1].fraction) == ("succeeded", 1.0)
    paths = made.save(tmp_path)
    assert [path.read_bytes() for path in paths] == list(made.pngs)
    assert client.image(made.job, 2) == made.pngs[2]
    assert client.pictures(made.job.id).pngs == made.pngs
    with pytest.raises(unfog.NotFound):
        client.image(made.job, 4)


def test_both_clients_draw_the_same_picture(service: RunningService, client: Client) -> None:
    async def draw() -> list[Generated]:
        async with AsyncClient(service.url) as other:
            return await asyncio.gather(*(other.generate(steps=10, seed=seed) for seed in (1, 2, 1)))

    first, second, again = asyncio.run(draw())
    assert first.pngs == again.pngs == client.generate(steps=10, seed=1).pngs
    assert first.pngs != second.pngs


def test_events_begin_with_the_job_and_end_with_it(client: Client) -> None:
    job = client.submit(sampler="ddpm", steps=20, preview=True)
    events = list(client.events(job))
    assert isinstance(events[0], Snapshot)
    assert events[0].job.id == job.id
    assert isinstance(events[-1], Done)
    assert events[-1].job.status == "succeeded"
    assert {type(event) for event in events[1:-1]} <= {Progressed, Preview}
    assert [type(event) for event in client.events(job)] == [Snapshot, Done], "of one that has ended"


def test_previews_are_pictures_of_the_models_size(client: Client) -> None:
    previews: list[Preview] = []
    made = client.generate(sampler="ddpm", steps=200, seed=3, scale=4, on_preview=previews.append)
    assert previews, "200 evaluations take longer than the 200 ms between two previews"
    for preview in previews:
        assert Image.open(io.BytesIO(preview.png)).size == (32, 32)
        assert preview.index == 0
    assert Image.open(io.BytesIO(made.pngs[0])).size == (128, 128)


def test_an_animation_can_be_had(client: Client) -> None:
    made = client.generate(steps=10, seed=1, animation=True)
    assert made.animation is not None
    with Image.open(io.BytesIO(made.animation)) as moving:
        assert moving.n_frames > 5
    assert client.animation(made.job) == made.animation


def test_a_picture_to_start_from_decides_what_comes_out(client: Client) -> None:
    start = client.generate(steps=20, seed=5).pngs[0]
    made = client.generate(steps=20, seed=6, init_image=start, strength=0.3)
    assert made.pngs != client.generate(steps=20, seed=6).pngs
    assert made.pngs == client.generate(steps=20, seed=6, init_image=start, strength=0.3).pngs


def test_a_job_can_be_canceled_and_erased(client: Client) -> None:
    job = client.submit(**LONG)
    assert client.cancel(job).id == job.id
    with pytest.raises(unfog.JobCanceled):
        client.wait(job)
    assert client.cancel(job).status == "canceled", "again is no error"
    assert client.delete(job) is None
    with pytest.raises(unfog.Gone):
        client.job(job.id)
    with pytest.raises(unfog.NotFound):
        client.job("job_000000000000000000000000")


def test_delete_cancels_a_job_that_has_not_ended(client: Client) -> None:
    job = client.submit(**LONG)
    canceled = client.delete(job)
    assert canceled is not None
    assert canceled.id == job.id
    with pytest.raises(unfog.JobCanceled):
        client.wait(job)


def test_a_wait_can_end_before_the_job(client: Client) -> None:
    job = client.submit(**LONG)
    with pytest.raises(unfog.WaitTimeout) as raised:
        client.wait(job, timeout_s=0.5)
    assert raised.value.job.id == job.id
    client.cancel(job)


def test_the_same_key_is_the_same_job(client: Client) -> None:
    first = client.submit(steps=2, idempotency_key="mine")
    assert client.submit(steps=2, idempotency_key="mine").id == first.id
    with pytest.raises(unfog.RequestRefused) as raised:
        client.submit(steps=3, idempotency_key="mine")
    assert raised.value.code == "idempotency_conflict"


def test_a_refused_request_names_the_fields(client: Client) -> None:
    with pytest.raises(unfog.RequestRefused) as raised:
        client.submit(steps=0, sampler="magic")
    assert [error.pointer for error in raised.value.errors] == ["/steps"]
    assert raised.value.request_id
    with pytest.raises(unfog.NotFound) as unknown:
        client.submit(model="none")
    assert unknown.value.code == "model_not_found"


def test_jobs_are_listed_page_by_page(client: Client) -> None:
    mine = [client.submit(steps=1).id for _ in range(5)]
    for job_id in mine:
        client.wait(job_id)
    listed = [job.id for job in client.jobs(status="succeeded", page_size=2)]
    assert listed[:5] == mine[::-1]
    assert len(set(listed)) == len(listed)


def test_what_is_served_can_be_asked_for(client: Client) -> None:
    (model,) = client.models()
    assert client.model(model.id).fingerprint == model.fingerprint
    assert {sampler.name for sampler in client.samplers()} == set(model.samplers)
    assert client.dry_run(model=model.id, sampler="ddim", steps=50, n=4, guidance_scale=1.0).evaluations == 200
    stats = client.stats()
    assert stats.workers == 1
    assert stats.models[model.id].workers == 1


def test_an_api_that_goes_away_is_no_end_of_the_waiting(service: RunningService) -> None:
    """A relay that drops each connection to the events twice stands for a proxy, or an API that starts anew."""
    drops = threading.Semaphore(2)

    def relay(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.path.endswith("/events") and drops.acquire(blocking=False):
            return 200, {"Content-Type": "text/event-stream", "Content-Length": "1000"}, b": and gone\n\n"
        kept = {k: v for k, v in asked.headers.items() if k in ("content-type", "accept", "idempotency-key")}
        told = httpx.request(
            asked.method, service.url + asked.path, content=asked.body, headers=kept, timeout=60, trust_env=False
        )
        return told.status_code, {"Content-Type": told.headers.get("content-type", "")}, told.content

    with listening(relay) as flaky, Client(flaky.url) as client:
        assert len(client.generate(steps=10, seed=1).pngs) == 1
        opened = [asked.path for asked in flaky.asked if asked.path.endswith("/events")]
    assert 1 <= len(opened) <= 3


def test_the_command_draws_and_makes_the_same_bytes_again(service: RunningService, tmp_path: Path) -> None:
    drawn = unfog_command(service, tmp_path, "generate", "--steps", "10", "--seed", "7", "--scale", "2", "-n", "2")
    assert drawn.returncode == 0, drawn.stderr.decode()
    first, second = drawn.stdout.decode().split()
    for name in (first, second):
        again = unfog_command(service, tmp_path, "generate", "--like", name, "-o", f"again/{name}")
        assert again.returncode == 0, again.stderr.decode()
        assert again.stderr.decode().endswith("the same bytes\n")
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_like_makes_pictures_again_that_did_not_start_from_plain_static(
    service: RunningService, client: Client, tmp_path: Path
) -> None:
    (start,) = client.generate(steps=10, seed=5).save(tmp_path, "start.png")
    picture = client.generate(steps=10, seed=6, init_image=start, strength=0.5, n=2)
    mixed = client.generate(steps=10, seed=6, seed_to=9, seed_mix=0.25, eta=0.5, n=2)
    for made in (picture, mixed):
        for path in made.save(tmp_path):
            again = unfog_command(service, tmp_path, "generate", "--like", str(path), "-o", "again", "--json")
            assert again.returncode == 0, again.stderr.decode()
            assert json.loads(again.stdout)["like"] == {"equal": True, "same_weights": True, "same_engine": True}


def test_the_commands_tell_of_jobs(service: RunningService, client: Client, tmp_path: Path) -> None:
    job = client.submit(**LONG)
    assert job.id in unfog_command(service, tmp_path, "jobs").stdout.decode()
    assert unfog_command(service, tmp_path, "cancel", job.id).returncode == 0
    watched = unfog_command(service, tmp_path, "watch", job.id)
    assert watched.returncode == ExitCode.JOB_ENDED
    assert watched.stderr.decode().endswith(f"job {job.id} was canceled\n")
    (model,) = json.loads(unfog_command(service, tmp_path, "models", "--json").stdout)
    assert model["id"] == "cats-32"
    refused = unfog_command(service, tmp_path, "generate", "--steps", "0")
    assert refused.returncode == ExitCode.REFUSED
    assert "/steps: must be a whole number from 1 to 1000" in refused.stderr.decode()


def test_standard_output_takes_the_picture(service: RunningService, tmp_path: Path) -> None:
    done = unfog_command(service, tmp_path, "generate", "--steps", "2", "-o", "-")
    assert Image.open(io.BytesIO(done.stdout)).format == "PNG"


def test_bench_measures(service: RunningService, tmp_path: Path) -> None:
    done = unfog_command(service, tmp_path, "bench", "--jobs", "8", "--steps", "2", "--json")
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["jobs"] == 8
    assert told["failed"] == {}


def test_ctrl_c_cancels_the_job(service: RunningService, client: Client, tmp_path: Path) -> None:
    command = [Path(sys.prefix) / "bin" / "unfog", "generate", "--url", service.url, "--sampler", "ddpm"]
    command += ["--steps", "1000", "-n", "16", "--metadata", "who=ctrl-c"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        job_id = process.stderr.readline().split()[0]
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == ExitCode.INTERRUPTED
    assert f"job {job_id} is " in said
    assert client.job(job_id).metadata == {"who": "ctrl-c"}
    with pytest.raises(unfog.JobCanceled):
        client.wait(job_id)
    assert list(tmp_path.iterdir()) == []
