"""Pictures and second seeds to start from, through the whole service."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.running import RunningService

pytestmark = pytest.mark.e2e


def photograph() -> str:
    """A picture of another size and format than the model's."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((400, 300)).save(file, "JPEG", quality=95)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_picture_made_from_a_picture_says_how_to_make_it_again(service: RunningService) -> None:
    body = {
        "steps": 6,
        "seed": 2**32 - 1,
        "num_images": 2,
        "init_image": photograph(),
        "strength": 0.4,
        "seed_to": 5,
        "seed_mix": 0.3,
        "scale": 2,
    }
    job = service.submit(body).json()
    assert job["progress"] == {"completed": 4, "total": 4, "fraction": 1.0}, "two of six steps, for two pictures"
    for image, first in zip(job["images"], service.pictures(job), strict=True):
        text = json.loads(Image.open(io.BytesIO(first)).text["unfog"])  # type: ignore[attr-defined]
        assert (text["strength"], text["seed_mix"]) == (0.4, 0.3)
        assert (text["seed"], text["seed_to"]) == (image["seed"], 5 + image["index"])
        again = {key: value for key, value in text.items() if key not in ("engine", "model_fingerprint")}
        assert service.submit(again, accept="image/png").content == first


def test_the_two_ends_of_a_mix_are_the_pictures_of_the_two_seeds(service: RunningService) -> None:
    common = {"sampler": "ddim", "steps": 4, "class_label": 2}
    for share, seed in ((0, 11), (1, 12)):
        mixed = service.submit({**common, "seed": 11, "seed_to": 12, "seed_mix": share}, accept="image/png")
        plain = service.submit({**common, "seed": seed}, accept="image/png")
        assert mixed.status_code == plain.status_code == 200, mixed.text
        pictures = [np.asarray(Image.open(io.BytesIO(answer.content))) for answer in (mixed, plain)]
        np.testing.assert_array_equal(*pictures)


def test_an_animation_ends_with_the_picture(service: RunningService) -> None:
    job = service.submit({"steps": 30, "seed": 3, "num_images": 3, "scale": 4, "animation": True}).json()
    assert job["status"] == "succeeded", job
    apng = httpx.get(service.url + job["urls"]["animation"])
    assert apng.status_code == 200, apng.text
    file = Image.open(io.BytesIO(apng.content))
    assert file.n_frames == 25, "two dozen, and the one for viewers that show only one"  # type: ignore[attr-defined]
    sheet = httpx.get(service.url + job["urls"]["self"], headers={"Accept": "image/png"})
    file.seek(24)
    np.testing.assert_array_equal(
        np.asarray(file.convert("RGB")), np.asarray(Image.open(io.BytesIO(sheet.content)).convert("RGB"))
    )
