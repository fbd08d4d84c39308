"""`unfog noise` shows the forward process on a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.models.small_model import write_model
from unfog.cli import build


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "half.png"
    image = Image.new("RGB", (64, 64), "black")
    image.paste((255, 255, 255), (0, 0, 32, 64))
    image.save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(build(), ["noise", *map(str, arguments)])


def pictures(strip: Path, size: int) -> list[np.ndarray]:
    pixels = np.asarray(Image.open(strip).convert("RGB"), dtype=float)
    assert pixels.shape[0] == size
    return [pixels[:, left : left + size] for left in range(0, pixels.shape[1], size)]


def test_the_picture_drowns_from_left_to_right(picture: Path, tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    result = run(picture, "--timesteps", "0,250,500,750,999", "-o", strip, "--size", 64)
    assert result.exit_code == 0, result.output
    shown = pictures(strip, 64)
    assert len(shown) == 5
    # How far apart the bright and the dark half still are: √ᾱ_t of 255 before pixels are cut at 0 and 255.
    contrast = [part[:, :32].mean() - part[:, 32:].mean() for part in shown]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[0] > 250
    assert contrast[-1] < 10


def test_the_same_seed_gives_the_same_strip_and_another_seed_another(picture: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(picture, "-o", tmp_path / name, "--seed", seed, "--size", 16).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_model_lends_its_schedule(picture: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "small")
    for name, extra in (
        ("own", ["--model", model]),
        ("linear", []),
        ("cosine", ["--schedule", "squaredcos_cap_v2"]),
    ):
        assert run(picture, "-o", tmp_path / name, "--size", 16, *extra).exit_code == 0
    own, linear, cosine = ((tmp_path / name).read_bytes() for name in ("own", "linear", "cosine"))
    assert own == linear != cosine


@pytest.mark.parametrize("timesteps", ["1000", "-1", "a", "", "1,,2"])
def test_impossible_timesteps_are_explained(picture: Path, tmp_path: Path, timesteps: str) -> None:
    result = run(picture, "--timesteps", timesteps, "-o", tmp_path / "strip.png")
    assert result.exit_code == 2
    assert "0 to 999" in result.output


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        result = run(tmp_path / name, "-o", tmp_path / "strip.png")
        assert result.exit_code == 2
        assert name in "".join(result.output.replace("│", "").split()), "it may stand on two lines"
