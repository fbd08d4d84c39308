"""A small archive of pictures with the layout of CIFAR-10's: train/<class>/NNNN.jpg and test/<class>/NNNN.jpg."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("airplane", "cat", "dog")


def jpeg(rng: np.random.Generator, channel: int, size: int) -> bytes:
    """A picture that is mostly red, green or blue."""
    levels = rng.integers(0, 90, (size, size, 3))
    levels[..., channel] += 150
    buffer = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_archive(path: Path, each: int = 12, size: int = 16) -> Path:
    """`each` pictures of three classes for training, as many to hold out."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:xz") as archive:
        for part in ("train", "test"):
            for channel, name in enumerate(CLASSES):
                for number in range(each):
                    content = jpeg(rng, channel, size)
                    member = tarfile.TarInfo(f"{part}/{name}/{number:04d}.jpg")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return path
