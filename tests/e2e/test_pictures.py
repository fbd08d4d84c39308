"""What comes out over HTTP is what diffusers computes, alone or in company."""

import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.reference import reference_picture
from tests.e2e.running import RunningService

pytestmark = pytest.mark.e2e


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(
    ("sampler", "steps", "guidance_scale", "eta"),
    [
        ("ddim", 10, 1.0, 0.0),
        ("ddim", 20, 1.5, 0.0),
        ("ddim", 10, 1.0, 0.7),
        ("ddpm", 25, 1.0, 0.0),
        ("ddpm", 10, 3.0, 0.0),
    ],
)
def test_a_picture_equals_the_diffusers_loop(
    service: RunningService, sampler: str, steps: int, guidance_scale: float, eta: float
) -> None:
    body = {
        "sampler": sampler,
        "steps": steps,
        "seed": 11,
        "class_label": 3,
        "guidance_scale": guidance_scale,
        "eta": eta,
    }
    answer = service.submit(body, accept="image/png")
    assert answer.status_code == 200, answer.text
    served = decoded(answer.content).astype(int)
    expected = reference_picture(sampler, steps, 11, 3, guidance_scale, eta).astype(int)
    assert abs(served - expected).max() <= 1
    assert (served == expected).mean() >= 0.999


def mixed_jobs(count: int) -> list[dict[str, Any]]:
    draw = random.Random(2)
    return [
        {
            "sampler": draw.choice(("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")),
            "steps": draw.choice((1, 2, 3, 5, 8, 12)),
            "seed": draw.randrange(2**32),
            "class_label": draw.randrange(8),
            "guidance_scale": draw.choice((1.0, 1.5, 4.0)),
            "num_images": draw.choice((1, 1, 1, 2)),
            "scale": draw.choice((1, 4)),
        }
        for _ in range(count)
    ]


def test_forty_mixed_jobs_at_once_each_equal_the_same_job_alone(service: RunningService) -> None:
    bodies = mixed_jobs(40)
    with ThreadPoolExecutor(40) as threads:
        together = list(threads.map(lambda body: service.submit(body).json(), bodies))
    in_company = [service.pictures(service.finished(job)) for job in together]
    alone = [service.pictures(service.finished(service.submit(body).json())) for body in bodies]
    assert in_company == alone


def test_the_picture_says_how_to_make_it_again(service: RunningService) -> None:
    body = {"sampler": "ddim", "steps": 4, "scale": 2}
    first = service.submit(body, accept="image/png").content
    text = json.loads(Image.open(io.BytesIO(first)).text["unfog"])  # type: ignore[attr-defined]
    again = {key: value for key, value in text.items() if key not in ("engine", "model_fingerprint")}
    assert service.submit(again, accept="image/png").content == first


def test_several_images_are_a_grid_and_each_is_the_picture_of_its_own_seed(service: RunningService) -> None:
    job = service.submit({"steps": 3, "seed": 100, "num_images": 3}).json()
    assert [image["seed"] for image in job["images"]] == [100, 101, 102]
    single = [service.submit({"steps": 3, "seed": seed}, accept="image/png").content for seed in (100, 101, 102)]
    assert service.pictures(job) == single
    grid = httpx.get(service.url + job["urls"]["self"], headers={"Accept": "image/png"})
    sheet = decoded(grid.content)
    assert sheet.shape == (64, 64, 3)
    assert (sheet[:32, 32:] == decoded(single[1])).all()
    assert not sheet[32:, 32:].any(), "the fourth tile is empty"


def test_a_job_tells_of_its_life(service: RunningService) -> None:
    answer = httpx.post(f"{service.url}/v1/jobs", json={"steps": 30, "seed": 1, "metadata": {"app": "test"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    waiting = httpx.get(service.url + job["urls"]["self"], headers={"Accept": "image/png"})
    assert waiting.status_code == 202
    # To the second the time that is left, by the rate this machine has shown.
    assert abs(int(waiting.headers["Retry-After"]) - max(1.0, waiting.json()["eta_s"] or 1.0)) <= 1
    done = service.finished(job)
    assert done["status"] == "succeeded"
    assert done["progress"]["fraction"] == 1.0
    assert done["attempt"] == 1
    assert done["metadata"] == {"app": "test"}
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] < done["expires_at"]
    assert done["images"][0]["class_label"] == "brown_tabby", "the class is drawn from the seed"
