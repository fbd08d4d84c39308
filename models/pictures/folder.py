"""Pictures from a folder: each sub-folder is a class; a folder without sub-folders has no classes."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.errors import TrainingError
from models.pictures.source import Labels, Pixels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises on bad files


class FolderSource:
    """All pictures of a folder, held in memory, each once an epoch in an order drawn from the seed.

    `pixels` uint8 (N, size, size, 3) and `labels` int64 (N,) are the pictures in the order of their names.
    Raises TrainingError, which names the file or folder, where something does not fit.
    """

    def __init__(self, folder: Path, size: int = 32, seed: int = 0) -> None:
        self.size = size
        self._name = folder.resolve().name
        self._seed = seed
        self.class_names, files = _list(folder)
        self.pixels = np.stack([_read(file, size) for file, _ in files])
        self.labels = np.array([label for _, label in files], np.int64)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def describe(self) -> str:
        digest = hashlib.sha256(self.pixels.tobytes() + self.labels.tobytes()).hexdigest()[:16]
        classes = f" in {len(self.class_names)} classes" if self.class_names else ""
        return f"{len(self.labels)} pictures{classes} from the folder {self._name!r} (SHA-256 {digest})."

    def take(self, start: int, count: int) -> tuple[Pixels, Labels]:
        chosen = np.array([self._place(position) for position in range(start, start + count)], np.int64)
        return self.pixels[chosen], self.labels[chosen]

    def _place(self, position: int) -> int:
        epoch, within = divmod(position, len(self.labels))
        if epoch != self._epoch:
            self._epoch, self._order = (
                epoch,
                np.random.default_rng([self._seed, epoch]).permutation(len(self.labels)),
            )
        return int(self._order[within])


def _list(folder: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """Class names in alphabetical order, and every picture with its label."""
    if not folder.is_dir():
        raise TrainingError(
            f"{folder} is not a folder; give one that holds pictures, or a sub-folder for each class"
        )
    classes = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    loose = _pictures(folder)
    if not classes and not loose:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise TrainingError(f"{folder} is empty: it holds no picture ({kinds}) and no sub-folder")
    if not classes:
        return (), [(file, 0) for file in loose]
    if loose:
        raise TrainingError(
            f"{folder} holds both pictures and sub-folders ({loose[0].name}, {classes[0].name}, …); put every "
            "picture into a sub-folder to train with classes, or leave no sub-folder to train without"
        )
    if len(classes) == 1:
        raise TrainingError(
            f"{folder} has one class only ({classes[0].name}); add a sub-folder for another class, "
            f"or train without classes: --data {classes[0]}"
        )
    files: list[tuple[Path, int]] = []
    for label, one in enumerate(classes):
        found = _pictures(one)
        if not found:
            raise TrainingError(f"the class folder {one} is empty; put pictures into it or remove it")
        files += [(file, label) for file in found]
    return tuple(one.name for one in classes), files


def _pictures(folder: Path) -> list[Path]:
    hidden = (f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    return sorted(f for f in hidden if f.suffix.lower() in SUFFIXES)


def _read(file: Path, size: int) -> Pixels:
    """The middle square of a picture, uint8 (size, size, 3); what is transparent becomes white."""
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except UNREADABLE as error:
        raise TrainingError(f"{file} cannot be read as a picture ({error}); repair or remove it") from error
    if min(image.size) < size:
        raise TrainingError(
            f"{file} is {image.width} × {image.height} pixels, too small for {size} × {size}; "
            "give a smaller --size or remove it"
        )
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    square = ImageOps.fit(flat, (size, size), method=Image.Resampling.LANCZOS)
    return np.asarray(square, np.uint8)
