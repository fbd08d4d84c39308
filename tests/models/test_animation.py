"""The denoising as an animated PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from models.animation import animate, frame_indices

FRAMES = [np.full((4, 6, 3), shade, dtype=np.uint8) for shade in (0, 100, 200, 250)]


def test_all_frames_are_shown_in_order_and_the_last_one_rests() -> None:
    image = Image.open(io.BytesIO(animate(FRAMES, frame_ms=50, hold_ms=900)))
    shown = []
    # Frame 0 is what a viewer without APNG shows; it is not part of the loop.
    for index in range(1, image.n_frames):
        image.seek(index)
        shown.append((image.convert("RGB").getpixel((0, 0)), image.info["duration"]))
    assert shown == [((0, 0, 0), 50), ((100, 100, 100), 50), ((200, 200, 200), 50), ((250, 250, 250), 900)]
    assert image.info["loop"] == 0


def test_a_viewer_without_animation_shows_the_finished_picture() -> None:
    image = Image.open(io.BytesIO(animate(FRAMES)))
    assert image.convert("RGB").getpixel((0, 0)) == (250, 250, 250)


def test_same_frames_give_same_bytes() -> None:
    assert animate(FRAMES) == animate(FRAMES)


def test_grey_frames_stay_grey() -> None:
    image = Image.open(io.BytesIO(animate([frame[..., 0] for frame in FRAMES])))
    assert image.mode == "L"
    assert image.getpixel((0, 0)) == 250


def test_one_frame_is_enough_and_none_is_too_few() -> None:
    assert Image.open(io.BytesIO(animate(FRAMES[:1]))).size == (6, 4)
    with pytest.raises(ValueError, match="at least one frame"):
        animate([])


def test_frames_are_few_and_include_the_ends() -> None:
    for evaluations in (1, 2, 24, 25, 1000):
        indices = frame_indices(evaluations)
        assert len(indices) == min(evaluations, 24)
        assert (indices[0], indices[-1]) == (0, evaluations - 1)
        assert sorted(set(indices)) == indices
