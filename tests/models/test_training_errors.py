"""What goes wrong before and during a run, by its message."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from models.errors import TrainingError
from models.pictures.folder import FolderSource
from models.pictures.source import CatSource
from models.training.checkpoint import disk_full_said, load_checkpoint, replace_file
from models.training.run import train
from models.training.settings import preset
from unfog.cli import build


def _picture(path: Path, width: int = 40, height: int = 32, colour: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path)


def _classes(folder: Path) -> Path:
    for name, colours in {"cold": ("blue", "navy", "cyan"), "warm": ("red", "orange")}.items():
        for colour in colours:
            _picture(folder / name / f"{colour}.png", colour=colour)
    return folder


def test_a_sub_folder_is_a_class_and_every_epoch_shows_every_picture_once(tmp_path: Path) -> None:
    source = FolderSource(_classes(tmp_path), size=16, seed=3)
    assert source.class_names == ("cold", "warm")
    pixels, labels = source.take(0, 10)
    assert pixels.shape == (10, 16, 16, 3)
    first, second = ([p.tobytes() for p in half] for half in (pixels[:5], pixels[5:]))
    assert len(set(first)) == 5
    assert sorted(first) == sorted(second)
    blueish = pixels[:, 0, 0, 2] > pixels[:, 0, 0, 0]
    np.testing.assert_array_equal(blueish, labels == 0)


def test_a_position_gives_the_same_pictures_whatever_was_taken_before(tmp_path: Path) -> None:
    _classes(tmp_path)
    ahead = FolderSource(tmp_path, 16).take(3, 9)
    source = FolderSource(tmp_path, 16)
    source.take(40, 2)
    for a, b in zip(ahead, source.take(3, 9), strict=True):
        np.testing.assert_array_equal(a, b)


def test_transparent_becomes_white_and_the_middle_square_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 32), (255, 0, 0, 255))
    image.paste((0, 0, 255, 0), (16, 0, 48, 32))
    image.save(tmp_path / "one.png")
    pixels = FolderSource(tmp_path, 16).pixels
    assert pixels.shape == (1, 16, 16, 3)
    assert pixels[0, 8, 8].tolist() == [255, 255, 255]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"is empty: it holds no picture"):
        FolderSource(tmp_path)
    (tmp_path / "one").mkdir()
    _picture(tmp_path / "two" / "a.png")
    with pytest.raises(TrainingError, match=r"class folder .*one is empty"):
        FolderSource(tmp_path)
    with pytest.raises(TrainingError, match="is not a folder"):
        FolderSource(tmp_path / "nowhere")


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    _classes(tmp_path)
    whole = (tmp_path / "cold" / "blue.png").read_bytes()
    (tmp_path / "cold" / "broken.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"cold/broken\.png cannot be read as a picture"):
        FolderSource(tmp_path)


def test_one_class_only_is_refused_with_the_way_out(tmp_path: Path) -> None:
    _picture(tmp_path / "only" / "a.png")
    with pytest.raises(TrainingError, match=r"one class only \(only\).*--data .*only"):
        FolderSource(tmp_path)


def test_pictures_beside_sub_folders_are_refused(tmp_path: Path) -> None:
    _picture(_classes(tmp_path) / "loose.png")
    with pytest.raises(TrainingError, match="both pictures and sub-folders"):
        FolderSource(tmp_path)


def test_a_picture_that_is_too_small_is_named(tmp_path: Path) -> None:
    _picture(tmp_path / "small.png", 40, 20)
    with pytest.raises(TrainingError, match=r"small\.png is 40 × 20 pixels, too small for 32 × 32"):
        FolderSource(tmp_path)


def test_a_folder_in_use_or_full_of_something_else_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def second_run(_: object) -> None:
        with pytest.raises(TrainingError, match="in use by another run"):
            train(preset("tiny", steps=1), CatSource(), out)

    train(preset("tiny", steps=1), CatSource(), out, second_run)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty and holds no checkpoint"):
        train(preset("tiny", steps=1), CatSource(), foreign)
    with pytest.raises(TrainingError, match="is a file"):
        train(preset("tiny", steps=1), CatSource(), foreign / "thesis.txt")


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        load_checkpoint(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a Linux device")
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "unfog.json"
    path.write_text("old")

    def write(part: Path) -> None:
        part.symlink_to("/dev/full")
        part.write_text("new")

    with pytest.raises(TrainingError, match="is full; free some space and give the same command again"):  # noqa: SIM117
        with disk_full_said(tmp_path):
            replace_file(path, write)
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["unfog.json"]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = preset("tiny", steps=50, learning_rate=1e30, warmup_steps=1, checkpoint_every_s=1e9)
    with pytest.raises(TrainingError, match="no longer finite at update"):
        train(settings, CatSource(), out)
    assert not (out / "unet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --data FOLDER"),
        (["--source", "cats", "--data", "here"], "either --data FOLDER"),
        (["--source", "dogs"], "no source 'dogs'"),
        (["--source", "cats", "--size", "48"], "32 or 64 pixels"),
        (["--source", "cats", "--size", "33"], "multiple of"),
        (["--source", "cats", "--flip", "dogs"], "names no class: dogs"),
        (["--source", "cats", "--steps", "5", "--minutes", "5"], "either --minutes or --steps"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(build(), ["train", "--preset", "tiny", "--out", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("unfog train: ")
    assert "Traceback" not in result.output


def test_the_command_trains_on_a_folder(tmp_path: Path) -> None:
    data, out = _classes(tmp_path / "data"), tmp_path / "model"
    options = ["--data", str(data), "--out", str(out), "--preset", "tiny", "--steps", "2", "--size", "16"]
    result = CliRunner().invoke(build(), ["train", *options, "--flip", "cold,warm", "--min-snr", "5"])
    assert result.exit_code == 0, result.output
    assert "Done: 2 updates" in result.output
    assert json.loads((out / "unfog.json").read_text())["class_names"] == ["cold", "warm"]
