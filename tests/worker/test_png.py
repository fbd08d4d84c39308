"""The PNG: sharp pixels, all parameters inside, and nothing in it that differs between equal pictures."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.pictures import grid
from jobs.spec import JobSpec
from tests.worker.engines import png_of, uri_of
from worker.png import ANIMATION_SIDE, animation, encode


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


def text_of(png: bytes) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(Image.open(io.BytesIO(png)).text["unfog"])  # type: ignore[attr-defined]
    return text


def test_the_text_chunk_says_where_a_picture_started_if_that_was_not_the_static_of_its_seed() -> None:
    uri = uri_of(png_of())
    plain = text_of(encode(PIXELS, 4, 4, spec(), 1, "cpu").png)
    started = spec(init_image=uri, strength=0.4, seed_to=2**32 - 1, seed_mix=0.25)
    text = text_of(encode(PIXELS, 4, 4, started, 1, "cpu").png)
    assert text == {**plain, "init_image": uri, "strength": 0.4, "seed_to": 0, "seed_mix": 0.25}


def test_how_a_job_is_delivered_does_not_show_in_its_pictures() -> None:
    delivery = {"animation": True, "preview": True, "webhook_url": "https://example.org/", "caller": "ada"}
    assert encode(PIXELS, 4, 4, spec(**delivery), 0, "cpu") == encode(PIXELS, 4, 4, spec(), 0, "cpu")


def test_the_chunk_of_a_plain_job_is_to_the_letter_what_it_always_was() -> None:
    # A change here changes the bytes of every picture that anybody has asked for before.
    text = Image.open(io.BytesIO(encode(PIXELS, 4, 4, spec(), 0, "cpu").png)).text["unfog"]  # type: ignore[attr-defined]
    assert text == (
        '{"model":"toy","model_fingerprint":"ffffffffffffffff","engine":"cpu","sampler":"ddim","steps":50,'
        '"seed":4294967295,"class_label":"white","guidance_scale":1.5,"eta":0.0,"timestep_spacing":"trailing",'
        '"scale":1}'
    )


# Animations

RANDOM = np.random.default_rng(0)


def frames(count: int = 5, height: int = 4, width: int = 6, channels: int = 3) -> np.ndarray:
    shape = (count, height, width, channels)
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def shown(apng: bytes) -> list[np.ndarray]:
    """The frames of the loop; frame 0 is what a viewer without APNG shows."""
    file = Image.open(io.BytesIO(apng))
    seen = []
    for index in range(1, file.n_frames):  # type: ignore[attr-defined]
        file.seek(index)
        seen.append(np.asarray(file.convert("RGB")))
    return seen


def test_an_animation_of_one_image_is_its_frames() -> None:
    kept = frames()
    seen = shown(animation([kept.tobytes()], 4, 6, 3, scale=1))
    assert len(seen) == 5
    for ours, theirs in zip(kept, seen, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_the_images_of_a_job_lie_as_in_the_picture_of_the_finished_job(count: int) -> None:
    kept = [frames() for _ in range(count)]
    apng = animation([each.tobytes() for each in kept], 4, 6, 3, scale=2)
    finished = []
    for each in kept:
        file = io.BytesIO()
        Image.fromarray(each[-1].repeat(2, axis=0).repeat(2, axis=1)).save(file, "PNG")
        finished.append(file.getvalue())
    sheet = np.asarray(Image.open(io.BytesIO(grid(finished))))
    np.testing.assert_array_equal(shown(apng)[-1], sheet)
    still = np.asarray(Image.open(io.BytesIO(apng)).convert("RGB"))
    np.testing.assert_array_equal(still, sheet)


def test_an_animation_is_scaled_with_hard_edges_as_far_as_there_is_room() -> None:
    kept = frames()
    seen = shown(animation([kept.tobytes()], 4, 6, 3, scale=8))
    np.testing.assert_array_equal(seen[0], kept[0].repeat(8, axis=0).repeat(8, axis=1))
    wide = frames(2, 32, 100)
    assert shown(animation([wide.tobytes()] * 4, 32, 100, 3, scale=16))[0].shape == (320, 1000, 3)
    huge = frames(1, 4, ANIMATION_SIDE + 1)
    assert shown(animation([huge.tobytes()], 4, ANIMATION_SIDE + 1, 3, scale=2))[0].shape[1] == ANIMATION_SIDE + 1


def test_a_grey_animation_stays_grey() -> None:
    kept = frames(channels=1)
    apng = animation([kept.tobytes()], 4, 6, 1, scale=1)
    assert Image.open(io.BytesIO(apng)).mode == "L"
    np.testing.assert_array_equal(shown(apng)[2][..., 0], kept[2, ..., 0])


def test_equal_frames_are_equal_bytes() -> None:
    kept = [frames().tobytes(), frames().tobytes()]
    assert animation(kept, 4, 6, 3, scale=3) == animation(list(kept), 4, 6, 3, scale=3)


@pytest.mark.parametrize(
    ("kept", "channels", "reason"),
    [
        ([], 3, "no frames"),
        ([b""], 3, "no frames"),
        ([bytes(71)], 3, "no frames of 6 × 4 pixels"),
        ([bytes(72)], 2, "2 channels"),
        ([bytes(72), bytes(144)], 3, "equally many"),
    ],
)
def test_frames_that_are_no_animation_are_refused(kept: list[bytes], channels: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        animation(kept, 4, 6, channels, scale=1)
