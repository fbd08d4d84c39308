"""The project's own pictures: an endless, labelled series of cartoon cats.

Picture `index` is always the same cat, at 32 and at 64 pixels. Its class is `index % 8`, its coat. Training
draws indices below `HELD_OUT`, evaluation from `HELD_OUT` on, so the two never share a picture.
"""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pictures.canvas import Canvas
from models.pictures.cat_parts import draw_backdrop, draw_body, draw_front, draw_head
from models.pictures.cat_traits import COATS, draw_traits

# Python seeds its generator from the 32-bit words of an index, and folds [257, 256] into the same state as [257]:
# with 2**40 here, picture 257 came back as 2**40 + 257. An index of three words meets none of fewer words before
# 2**64 + 2**33 + 3.
HELD_OUT = 2**64
"""First index that is kept for evaluation; training stays below it. Larger than an int64: count in Python."""

SIZES = (32, 64)
VERSION = 1
"""Raised whenever an index starts to give other pixels; part of a trained model's card."""


def label_of(index: int) -> int:
    """The class of picture `index`: a position in `COATS`."""
    return index % len(COATS)


def draw_cat(index: int, size: int = 32) -> tuple[Image.Image, int]:
    """Draw picture `index`.

    Returns the RGB picture (`size` × `size`) and its label (0 … 7). Raises ValueError for a negative index
    or a size other than 32 and 64.
    """
    if index < 0:
        raise ValueError(f"a picture's index is 0 or more, not {index}")
    if size not in SIZES:
        raise ValueError(f"cats are drawn at 32 or 64 pixels, not {size}; choose one of them")
    label = label_of(index)
    # Only Random.random() is used: of the module's methods it alone is promised to stay the same.
    traits = draw_traits(random.Random(index), COATS[label])  # noqa: S311 (a picture, not a secret)
    canvas = Canvas(size, traits.backdrop)
    draw_backdrop(canvas, traits)
    draw_body(canvas, traits)
    draw_head(canvas, traits)
    draw_front(canvas, traits)
    return canvas.picture(), label


def cat_pixels(indices: Iterator[int] | range, size: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures and labels of many indices: uint8 (N, size, size, 3) and int64 (N,)."""
    drawn = [draw_cat(index, size) for index in indices]
    if not drawn:
        return np.zeros((0, size, size, 3), np.uint8), np.zeros(0, np.int64)
    return np.stack([np.asarray(image) for image, _ in drawn]), np.array([label for _, label in drawn])
