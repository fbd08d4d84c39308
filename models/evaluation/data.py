"""The pictures an evaluation compares with: those of training, and others that are kept from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import EvaluationError
from models.folder import Description
from models.pictures.cats import HELD_OUT, SIZES, VERSION, cat_pixels
from models.pictures.folder import FolderSource, Split
from models.pictures.source import CatSource, Labels, Pixels

TRAINING_CATS = 10_000
HELD_OUT_CATS = 2_000
FEWEST = 8  # of training and of held-out pictures; the manifolds need more than three neighbours in half of them


@dataclass(frozen=True)
class Pictures:
    """Pixels uint8 (N, size, size, 3) and labels int64 (N,), classes mixed, so that any first part is fair."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Pictures":
        return Pictures(self.pixels[:count], self.labels[:count])


@dataclass(frozen=True)
class EvaluationData:
    """Training and held-out pictures of one kind, and one sentence about each for the report."""

    class_names: tuple[str, ...]
    size: int
    training: Pictures
    held_out: Pictures
    training_says: str
    held_out_says: str


def drawn_cats(size: int, training: int = TRAINING_CATS, held_out: int = HELD_OUT_CATS) -> EvaluationData:
    """The first cats of training, and the first of those that training never draws.

    Raises:
        EvaluationError: cats are not drawn at that size.
    """
    if size not in SIZES:
        raise EvaluationError(
            f"cats are drawn at 32 or 64 pixels and the model makes {size}; evaluate it on its own pictures: --data"
        )
    source = CatSource(size)
    return EvaluationData(
        class_names=source.class_names,
        size=size,
        training=Pictures(*source.take(0, training)),
        held_out=Pictures(*cat_pixels(range(HELD_OUT, HELD_OUT + held_out), size)),
        training_says=f"The first {training} of the project's drawn cats, version {VERSION}, at {size} pixels.",
        held_out_says=f"{held_out} cats from index 2^64 on, which training never draws.",
    )


def folder_pictures(
    folder: Path,
    size: int,
    held_out: Path | None = None,
    first: tuple[str, ...] = (),
    hold_out: int | None = None,
) -> EvaluationData:
    """Pictures of a folder with a sub-folder for each class, and of others kept from training.

    The others are those of a second folder, or the part of the first one that training with the same `hold_out`
    left out. Without either, a fifth of each class is set aside from the classifier; the model may have seen it.
    Classes in `first` come before the others, as in the model.

    Raises:
        EvaluationError: no classes, other classes in the second folder, or too few pictures.
        TrainingError: a folder or picture that cannot be read; names it.
    """
    if held_out is not None and hold_out is not None:
        raise EvaluationError("give either --held-out, another folder, or --hold-out, a share of the same one")
    source = FolderSource(folder, size, 0, first, None if hold_out is None else Split(hold_out))
    if held_out is None and hold_out is None:
        return pictures_of(source)
    part = None if hold_out is None else Split(hold_out, "held out")
    return pictures_of(source, FolderSource(held_out or folder, size, 0, first, part))


def pictures_of(source: FolderSource, other: FolderSource | None = None) -> EvaluationData:
    """As `folder_pictures`, of pictures that are read already; `other` has those kept from training."""
    if not source.class_names:
        raise EvaluationError(
            f"{source.name} has no sub-folders, so no classes; put the pictures of each class into one"
        )
    shuffled = _mixed(source)
    if other is not None:
        if other.class_names != source.class_names:
            raise EvaluationError(
                f"{other.name} has the classes {', '.join(other.class_names) or 'none'}, and {source.name} has "
                f"{', '.join(source.class_names)}; both folders need the same sub-folders"
            )
        training, kept = shuffled, _mixed(other)
        said = f"{other.describe()} Never shown to the classifier."
    else:
        training, kept = _split(shuffled)
        said = "A fifth of the same folder, kept from the classifier; the model may have been trained on it."
    if len(training) < FEWEST or len(kept) < FEWEST:
        raise EvaluationError(
            f"{len(training)} training and {len(kept)} held-out pictures are too few: give {FEWEST} of each or more"
        )
    return EvaluationData(source.class_names, source.size, training, kept, source.describe(), said)


def check_fits(model: Description, data: EvaluationData) -> None:
    """Raise EvaluationError unless the model makes pictures of this size and of these classes."""
    if (model.channels, model.height, model.width) != (3, data.size, data.size):
        raise EvaluationError(
            f"{model.id} makes pictures of {model.channels} × {model.height} × {model.width}; only square ones "
            "of 3 channels can be evaluated"
        )
    if model.class_names != data.class_names:
        raise EvaluationError(
            f"{model.id} has the classes {', '.join(model.class_names)}; the pictures have "
            f"{', '.join(data.class_names)}. Give the pictures the model was trained on"
        )


def check_classes(model: Description) -> None:
    """Raise EvaluationError for a model without classes: the classifier would have nothing to tell apart."""
    if len(model.class_names) < 2:
        raise EvaluationError(
            f"{model.id} has no classes. The measures use a classifier of the model's own classes, so only a "
            "model with at least two can be evaluated"
        )


def _mixed(source: FolderSource) -> Pictures:
    order = np.random.default_rng(0).permutation(len(source.labels))
    return Pictures(source.pixels[order], source.labels[order])


def _split(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Four fifths and one fifth of each class, at least one picture of it in both where it has two."""
    kept = np.zeros(len(pictures), bool)
    for label in np.unique(pictures.labels):
        places = np.flatnonzero(pictures.labels == label)
        kept[places[: max(1, len(places) // 5) if len(places) > 1 else 0]] = True
    return (
        Pictures(pictures.pixels[~kept], pictures.labels[~kept]),
        Pictures(pictures.pixels[kept], pictures.labels[kept]),
    )
