"""The PNG: sharp pixels, all parameters inside, and nothing in it that differs between equal pictures."""

import io
import json

import pytest
from PIL import Image

from jobs.spec import JobSpec
from worker.png import encode


def spec(**choices: object) -> JobSpec:
    values: dict[str, object] = {
        "model": "toy",
        "model_fingerprint": "f" * 16,
        "sampler": "ddim",
        "steps": 50,
        "num_images": 2,
        "seed": 2**32 - 1,
        "class_labels": (1, 0),
        "class_names": ("white", "black"),
        "guidance_scale": 1.5,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "scale": 1,
        "ttl_s": 60,
        "metadata": {},
    }
    return JobSpec.model_validate(values | choices)


PIXELS = bytes(range(48))


def test_each_pixel_becomes_a_sharp_square() -> None:
    encoded = encode(PIXELS, 4, 4, spec(scale=8), 0, "cpu")
    assert (encoded.width, encoded.height) == (32, 32)
    picture = Image.open(io.BytesIO(encoded.png))
    assert picture.size == (32, 32)
    assert {picture.getpixel((x, y)) for x in range(8) for y in range(8)} == {(0, 1, 2)}
    assert picture.getpixel((8, 0)) == (3, 4, 5)


def test_the_text_chunk_holds_what_it_takes_to_make_the_picture_again() -> None:
    text = json.loads(Image.open(io.BytesIO(encode(PIXELS, 4, 4, spec(), 1, "cpu-x").png)).text["unfog"])  # type: ignore[attr-defined]
    assert text == {
        "model": "toy",
        "model_fingerprint": "f" * 16,
        "engine": "cpu-x",
        "sampler": "ddim",
        "steps": 50,
        "seed": 0,
        "class_label": "black",
        "guidance_scale": 1.5,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "scale": 1,
    }


def test_equal_pictures_are_equal_bytes_whoever_asked() -> None:
    one = encode(PIXELS, 4, 4, spec(metadata={"who": "a"}, ttl_s=5), 0, "cpu")
    two = encode(PIXELS, 4, 4, spec(metadata={"who": "b"}, ttl_s=6), 0, "cpu")
    assert one == two


def test_grey_pictures_stay_grey() -> None:
    assert Image.open(io.BytesIO(encode(bytes(16), 4, 4, spec(), 0, "cpu").png)).mode == "L"


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="no RGB or grey"):
        encode(bytes(47), 4, 4, spec(), 0, "cpu")
