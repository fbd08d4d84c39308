"""Sources of training pictures, addressed by position so that a resumed run goes on where it stopped."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.pictures.cat_traits import COATS
from models.pictures.cats import HELD_OUT, VERSION, cat_pixels

Pixels = NDArray[np.uint8]  # (N, size, size, 3)
Labels = NDArray[np.int64]  # (N,)
Places = NDArray[np.int64]  # (N,), where pictures stand among those that are held in memory


class PictureSource(Protocol):
    """A series of labelled pictures without end."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by label; empty for pictures without classes."""

    @property
    def size(self) -> int:
        """Height and width in pixels."""

    def describe(self) -> str:
        """One sentence for the model's card."""

    def take(self, start: int, count: int) -> tuple[Pixels, Labels]:
        """Pictures `start` … `start + count - 1` of the series; the same ones at every call."""


class CatSource:
    """The drawn cats: no picture comes twice, and none from `HELD_OUT` on comes at all."""

    def __init__(self, size: int = 32) -> None:
        self.size = size
        self.class_names = COATS

    def describe(self) -> str:
        return (
            f"The project's drawn cats, version {VERSION}, from index 0 on at {self.size} pixels; none came twice."
        )

    def take(self, start: int, count: int) -> tuple[Pixels, Labels]:
        assert start + count <= HELD_OUT, "training must not reach the held-out pictures"
        return cat_pixels(range(start, start + count), self.size)
