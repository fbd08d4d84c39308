"""Events and metrics of the API with a real worker behind it."""

import base64
import io
from typing import Any

import httpx
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.app.serving import listening, until
from tests.e2e.running import RunningService


def submitted(service: RunningService, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def status(service: RunningService, job: dict[str, Any]) -> str:
    return str(httpx.get(service.url + job["urls"]["self"]).json()["status"])


def test_a_listener_sees_the_picture_come_out_of_the_fog(service: RunningService) -> None:
    job = submitted(service, sampler="ddim", steps=400, seed=7, preview=True)
    with listening(service.url + job["urls"]["events"]) as listener:
        events = listener.rest()
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("snapshot", "done")
    assert set(names[1:-1]) == {"progress", "preview"}
    completed = [data["completed"] for name, data in events if name == "progress"]
    assert completed == sorted(completed)
    assert all(data["total"] == 400 for name, data in events if name == "progress")
    for name, data in events:
        if name == "preview":
            picture = Image.open(io.BytesIO(base64.b64decode(data["image"].partition(",")[2])))
            assert (picture.format, picture.size) == ("PNG", (32, 32))
    done = events[-1][1]
    assert (done["status"], done["progress"]["fraction"]) == ("succeeded", 1.0)


def test_a_running_job_stops_when_its_only_listener_leaves(service: RunningService) -> None:
    job = submitted(service, sampler="ddpm", steps=1000, num_images=16, cancel_on_disconnect=True)
    with listening(service.url + job["urls"]["events"]) as listener:
        while listener.until("progress")["status"] != "running":
            pass
    until(lambda: status(service, job) == "canceled")


def test_the_load_of_a_service_that_has_worked_is_told(service: RunningService) -> None:
    service.submit({"steps": 5})
    text = httpx.get(f"{service.url}/metrics").text
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels == {"model": "cats-32"}
    }
    assert found["unfog_workers"] == 1
    assert found["unfog_evaluations_per_second"] > 0
    (model,) = httpx.get(f"{service.url}/v1/models").json()["data"]
    assert model["rate"] > 0
    assert any(row["images_per_s"] > 0 for row in model["quality"])
