"""Pictures out of folders and archives: which are taken, in what order, and which are held out."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import EvaluationError, TrainingError
from models.evaluation.data import folder_pictures
from models.pictures.folder import FolderSource, Split
from tests.models.photographs import CLASSES, write_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("data") / "photographs.tar.xz")


def test_an_archive_gives_the_pictures_of_the_folder_it_would_unpack_to(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    packed, unpacked = FolderSource(archive / "train", 16), FolderSource(tmp_path / "train", 16)
    assert packed.class_names == unpacked.class_names == CLASSES
    np.testing.assert_array_equal(packed.pixels, unpacked.pixels)
    np.testing.assert_array_equal(packed.labels, unpacked.labels)
    assert "'photographs.tar.xz/train'" in packed.describe()
    for a, b in zip(packed.take(30, 20), unpacked.take(30, 20), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_picture_that_has_the_size_already_is_not_touched(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        held = opened.extractfile("train/airplane/0000.jpg")
        assert held is not None
        whole = np.asarray(Image.open(io.BytesIO(held.read())))
    np.testing.assert_array_equal(FolderSource(archive / "train", 16).pixels[0], whole)


def test_named_classes_come_first_and_keep_their_pictures(archive: Path) -> None:
    source = FolderSource(archive / "train", 16, first=("dog", "cat"))
    assert source.class_names == ("dog", "cat", "airplane")
    brightest = source.pixels.mean(axis=(1, 2)).argmax(axis=1)
    assert [set(brightest[source.labels == label].tolist()) for label in range(3)] == [{2}, {1}, {0}]


def test_a_picture_is_held_out_by_its_name_alone(tmp_path: Path) -> None:
    names = [f"{word}_{number}" for word in ("face", "hand", "tree") for number in range(40)]
    split, kept = Split(20), Split(20, "held out")
    assert [split.takes(name) for name in names] == [not kept.takes(name) for name in names]
    assert 10 <= sum(kept.takes(name) for name in names) <= 40
    assert all(kept.takes(f"{name}.png") == kept.takes(name) for name in names), "a suffix changes nothing"
    for folder, some in (("all", names), ("fewer", names[::2])):
        for label, group in enumerate(("one", "two")):
            for name in some[label::2]:
                (tmp_path / folder / group).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), "red").save(tmp_path / folder / group / f"{name}.png")
    data = folder_pictures(tmp_path / "all", 8, hold_out=20)
    assert len(data.held_out) == sum(kept.takes(name) for name in names)
    assert len(data.training) + len(data.held_out) == len(names)
    assert "20 of 100" in data.held_out_says
    fewer = FolderSource(tmp_path / "fewer", 8, split=kept)
    assert len(fewer.labels) == sum(kept.takes(name) for name in names[::2])
    with pytest.raises(EvaluationError, match="either --held-out"):
        folder_pictures(tmp_path / "all", 8, tmp_path / "fewer", hold_out=20)


def test_what_is_no_archive_or_not_in_it_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no pictures in valid"):
        FolderSource(archive / "valid", 16)
    torn = tmp_path / "torn.tar.xz"
    torn.write_bytes(archive.read_bytes()[:400])
    with pytest.raises(TrainingError, match=r"torn\.tar\.xz cannot be read as an archive"):
        FolderSource(torn / "train", 16)
    (tmp_path / "notes.txt").write_text("no pictures")
    with pytest.raises(TrainingError, match="is not a folder, nor an archive"):
        FolderSource(tmp_path / "notes.txt", 16)
    with pytest.raises(TrainingError, match="between 1 and 99"):
        Split(0)
