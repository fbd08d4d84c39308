"""Pictures from a folder: each sub-folder is a class; a folder without sub-folders has no classes."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from models.errors import TrainingError
from models.pictures.source import Labels, Pixels, Places
from models.pictures.tree import SUFFIXES, File, Tree, tree_of

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises on bad files


@dataclass(frozen=True)
class Split:
    """Which pictures of a folder are taken: those outside, or those inside, the `percent` that are held out.

    A picture is held out by the hash of its name, whatever else lies beside it and in whatever order.
    """

    percent: int
    part: Literal["training", "held out"] = "training"

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 99:
            raise TrainingError(f"between 1 and 99 of 100 pictures can be held out, not {self.percent}")

    def takes(self, name: str) -> bool:
        """Whether a file of that name, without its suffix, is taken."""
        digest = int.from_bytes(hashlib.sha256(PurePath(name).stem.encode()).digest()[:8], "big")
        return (digest % 100 < self.percent) == (self.part == "held out")


class FolderSource:
    """All pictures of a folder or archive, held in memory, each once an epoch in an order drawn from the seed.

    `pixels` uint8 (N, size, size, 3) and `labels` int64 (N,) are the pictures, class by class, in the order of
    their names. The classes stand in the order of theirs, those of them in `first` before the others. With a
    `split`, only its part is taken. Raises TrainingError, which names the file or folder, where something does not
    fit.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 32,
        seed: int = 0,
        first: tuple[str, ...] = (),
        split: Split | None = None,
    ) -> None:
        self.size = size
        self._seed = seed
        self._split = split
        tree = tree_of(folder)
        self.name = tree.name
        self.class_names, files = _list(folder, tree, first, split)
        self.pixels = np.stack([_read(file, size) for file, _ in files])
        self.labels = np.array([label for _, label in files], np.int64)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def describe(self) -> str:
        digest = hashlib.sha256(self.pixels.tobytes() + self.labels.tobytes()).hexdigest()[:16]
        classes = f" in {len(self.class_names)} classes" if self.class_names else ""
        split = ""
        if self._split is not None:
            split = f", the {self._split.part} part where {self._split.percent} of 100 are held out by their name"
        return f"{len(self.labels)} pictures{classes} from the folder {self.name!r}{split} (SHA-256 {digest})."

    def take(self, start: int, count: int) -> tuple[Pixels, Labels]:
        chosen = self.places(start, count)
        return self.pixels[chosen], self.labels[chosen]

    def places(self, start: int, count: int) -> Places:
        """Where positions `start` … `start + count - 1` of the series stand in `pixels`: int64 (count,)."""
        found, size = np.empty(count, np.int64), len(self.labels)
        done = 0
        while done < count:
            epoch, within = divmod(start + done, size)
            some = min(count - done, size - within)
            found[done : done + some] = self._order_of(epoch)[within : within + some]
            done += some
        return found

    def _order_of(self, epoch: int) -> Places:
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self.labels))
            self._epoch = epoch
        return self._order


def _list(
    folder: Path, tree: Tree, first: tuple[str, ...], split: Split | None
) -> tuple[tuple[str, ...], list[tuple[File, int]]]:
    """Class names in their order, and every picture with its label."""
    classes, loose = tree.classes, tree.loose
    if not classes and not loose:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise TrainingError(f"{folder} is empty: it holds no picture ({kinds}) and no sub-folder")
    if loose and classes:
        raise TrainingError(
            f"{folder} holds both pictures and sub-folders ({loose[0].path.name}, {next(iter(classes))}, …); put "
            "every picture into a sub-folder to train with classes, or leave no sub-folder to train without"
        )
    if len(classes) == 1:
        (only,) = classes
        raise TrainingError(
            f"{folder} has one class only ({only}); add a sub-folder for another class, "
            f"or train without classes: --data {folder / only}"
        )
    names = (*(name for name in dict.fromkeys(first) if name in classes), *(n for n in classes if n not in first))
    files = [(file, 0) for file in _part(loose, split)]
    for label, name in enumerate(names):
        found = _part(classes[name], split)
        if not found:
            which = f"the class folder {folder / name} is empty; put pictures into it or remove it"
            if classes[name] and split is not None:
                which = f"no picture of the class {name} is in the {split.part} part; hold out another share"
            raise TrainingError(which)
        files += [(file, label) for file in found]
    if not files:
        raise TrainingError(f"no picture of {folder} is in the part that was asked for; hold out another share")
    return names, files


def _part(files: list[File], split: Split | None) -> list[File]:
    return [file for file in files if split is None or split.takes(file.path.name)]


def _read(file: File, size: int) -> Pixels:
    """The middle square of a picture, uint8 (size, size, 3); what is transparent becomes white."""
    try:
        with Image.open(io.BytesIO(file.read())) as opened:
            as_wanted = opened.mode == "RGB" and opened.size == (size, size)
            if as_wanted and not opened.getexif() and "transparency" not in opened.info:
                return np.asarray(opened, np.uint8)
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except UNREADABLE as error:
        raise TrainingError(f"{file.path} cannot be read as a picture ({error}); repair or remove it") from error
    if min(image.size) < size:
        raise TrainingError(
            f"{file.path} is {image.width} × {image.height} pixels, too small for {size} × {size}; "
            "give a smaller --size or remove it"
        )
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    square = ImageOps.fit(flat, (size, size), method=Image.Resampling.LANCZOS)
    return np.asarray(square, np.uint8)
