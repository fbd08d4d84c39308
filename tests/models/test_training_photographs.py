"""The way of the photographs, from the archive to the card: the preset of CIFAR-10 with a tiny network."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import models.evaluation.ddim_paper as ddim_paper
from bench import recipes
from models.evaluation.classifier import TRAININGS, Training
from models.folder import load_model
from models.pictures.folder import FolderSource
from models.training.checkpoint import load_checkpoint
from models.training.network import build_network
from models.training.parts import cut, join
from models.training.run import Progress, train
from models.training.settings import PRESETS, Settings, network_of, preset
from models.training.validation import Validation
from tests.models.photographs import write_archive
from unfog.cli import build

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OPTIONS = [
    *("--preset", "cifar10", "--network", "tiny", "--size", "16", "--batch", "8", "--steps", "6"),
    *("--first", "cat", "--min-snr", "5", "--pair-noise", "--checkpoint-s", "1000", "--samples", "1"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The order of additions, and with it the last bit, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("data") / "photographs.tar.xz")


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(build(), [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the command trained in one go."""
    out = tmp_path_factory.mktemp("runs") / "photographs-16"
    said = _run("train", "--data", archive / "train", "--out", out, *OPTIONS)
    assert "parameters on" in said
    assert "not compiled" in said
    return out


def _settings() -> Settings:
    """Those of OPTIONS."""
    return preset(
        "cifar10", network=network_of("tiny"), batch=8, steps=6, min_snr_gamma=5.0, pair_noise=True,
        checkpoint_every_s=1000.0, samples_a_class=1,
    )  # fmt: skip


def test_the_preset_keeps_to_fifteen_million_parameters() -> None:
    for name, size, classes in (("cifar10", 32, 10), ("icons", 64, 8)):
        with torch.device("meta"):
            network = build_network(PRESETS[name].network, size, classes)
        parameters = sum(p.numel() for p in network.parameters())
        assert 10e6 < parameters <= 15e6, "two bytes each: at most 30 MB"
    assert PRESETS["cifar10"].minutes == 14
    assert 256 <= PRESETS["cifar10"].batch <= 512


def test_a_run_stopped_cut_joined_elsewhere_and_resumed_ends_in_the_same_weights(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    source = FolderSource(archive / "train", 16, 0, ("cat",))
    here, there = tmp_path / "here", tmp_path / "there"

    def stop_at_three(now: Progress) -> None:
        if now.step == 3:
            signal.raise_signal(signal.SIGTERM)

    assert train(_settings(), source, here, stop_at_three).step == 3
    parts = cut(here, tmp_path / "parts", most_mb=0.5)
    assert len(parts) > 1
    join(tmp_path / "parts", there)
    said = _run("train", "--data", archive / "train", "--out", there, *OPTIONS)
    assert "Done: 6 updates" in said
    mine, state = load_checkpoint(there / "training" / "checkpoint.safetensors")
    others, other_state = load_checkpoint(finished / "training" / "checkpoint.safetensors")
    assert mine.keys() == others.keys()
    assert all(torch.equal(mine[name], others[name]) for name in mine)
    assert state["data"] == other_state["data"]
    assert (there / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()


def test_a_piece_ends_in_time_and_the_same_command_goes_on(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = _run("train", "--data", archive / "train", "--out", out, *OPTIONS, "--piece", "0")
    assert "Stopped after 0 updates" in said
    assert "Done: 6 updates" in _run("train", "--data", archive / "train", "--out", out, *OPTIONS)


def test_the_weights_are_float16_and_the_classes_stand_with_cats_first(finished: Path) -> None:
    with safe_open(finished / WEIGHTS, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert load_model(finished).class_names == ("cat", "airplane", "dog")
    assert json.loads((finished / "unfog.json").read_text())["guidance_scale"] == 1.0


def test_the_card_says_what_it_was_trained_on_and_what_for(finished: Path) -> None:
    card = (finished / "README.md").read_text(encoding="utf-8")
    head = card.split("---")[1]
    assert "license: other" in head
    assert "license_name: research-use" in head
    for words in (
        "For research and teaching", "Krizhevsky 2009", "JPEG", "min-SNR weighting with gamma 5",
        "noise assigned to pictures within a batch", "mirrored at random: all", "'photographs.tar.xz/train'",
        "6 updates of 8 pictures",
    ):  # fmt: skip
        assert words in card, words
    assert re.search(r"\| 6 \| \d+\.\d \| \d\.\d{4} \|", card), "the curve"


def test_the_evaluation_stands_beside_the_table_of_the_paper_and_enters_the_card(
    archive: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddim_paper, "STEPS", (10, 20))
    monkeypatch.setitem(TRAININGS, "large", Training(updates=20, batch=16, channels=(8, 8), shift=1, flip=True))
    pictures = ("--data", archive / "train", "--held-out", archive / "test", "--classifier", "large")
    wish = ("--samplers", "ddim", "--steps", "2", "--images", "9", "--ddim-paper")
    _run("evaluate", finished, *pictures, *wish)
    quality = json.loads((finished / "quality.json").read_text())
    cells = quality["ddim_paper"]["cells"]
    assert len(cells) == 10
    assert {cell["images"] for cell in cells} == {9}
    published = {(cell["noise"], cell["steps"]): cell["published_fid"] for cell in cells}
    assert published["0", 10] == 13.36
    assert published["σ̂", 20] == 133.37
    table = (finished / "quality.md").read_text(encoding="utf-8")
    assert re.search(r"\| η = 0\.2 \| .* \(14\.04\) \| .* \(7\.11\) \|", table)
    assert "JPEG" in table
    assert (finished / "classes.png").exists()
    card = (finished / "README.md").read_text(encoding="utf-8")
    assert card.count("## Quality") == 1
    assert "a class a row: cat, airplane, dog" in card
    _run("evaluate", finished, *pictures, *wish)
    assert (finished / "README.md").read_text(encoding="utf-8") == card, "a second time changes nothing"
    assert card.index("## Quality") < card.index("## Use with diffusers")


def test_icons_are_trained_at_64_pixels_without_those_held_out_by_name(tmp_path: Path) -> None:
    data, out = tmp_path / "icons", tmp_path / "icons-64"
    for number in range(40):
        file = data / ("faces", "tools")[number % 2] / f"icon_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (64, 64), (number, 90, 200, 255)).save(file)
    icons = ("--preset", "icons", "--network", "tiny", "--batch", "2", "--steps", "1", "--samples", "1")
    _run(
        "train", "--data", data, "--out", out, *icons, "--hold-out", "20", "--license", "other", "--notice", "Mine."
    )
    assert load_model(out).height == 64
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "the training part where 20 of 100 are held out by their name" in card
    assert "license: other" in card
    assert "\nMine.\n" in card
    cats = tmp_path / "cats-64"
    _run("train", "--source", "cats", "--out", cats, *icons)
    assert load_model(cats).height == 64


def test_validation_is_zero_for_a_network_that_knows_and_the_same_for_the_same_weights(
    archive: Path, finished: Path
) -> None:
    model, held_out = load_model(finished), FolderSource(archive / "test", 16, 0, ("cat",))
    kept = torch.from_numpy(model.schedule.alphas_cumprod.copy())
    validation = Validation.of(held_out.pixels, held_out.labels)
    first, again = (validation.loss(model.network, kept, "v_prediction", True) for _ in range(2))
    assert first == again > 0
    x0 = torch.from_numpy(held_out.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    class Knows:
        device = torch.device("cpu")

        def __init__(self, prediction: str) -> None:
            self.prediction = prediction

        def __call__(self, x: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor) -> "Knows":
            alpha, sigma = (v.sqrt().float().view(-1, 1, 1, 1) for v in (kept[t], 1 - kept[t]))
            noise = validation.noise
            self.sample = {"epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0}[
                self.prediction
            ]
            return self

    for prediction in ("epsilon", "sample", "v_prediction"):
        assert validation.loss(Knows(prediction), kept, prediction, True) < 1e-6  # type: ignore[arg-type]


def test_recipes_are_compared_on_the_same_pictures_and_done_once(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TRAININGS, "small", Training(updates=10, batch=16, channels=(8, 8), shift=1))
    options = ["--data", archive / "train", "--held-out", archive / "test", "--out", tmp_path, "--network", "tiny"]
    options += ["--batch", 8, "--updates", 2, "--size", 16, "--images", 9, "--steps", 2]
    options += ["--recipes", "preset; min-snr, paired"]
    monkeypatch.setattr("sys.argv", ["recipes", *map(str, options)])
    recipes.main()
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["recipes"].keys() == {"preset", "min-snr, paired"}
    assert all(result["validation_loss"] > 0 for result in first["recipes"].values())
    recipes.main()
    said = capsys.readouterr().out
    assert json.loads(said.splitlines()[-1])["recipes"] == first["recipes"]
    assert "| recipe | updates |" in said
