"""A whole evaluation of a small random model: what it leaves, what it does not do twice, what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import models.evaluation.run as run_module
from models.errors import EvaluationError
from models.evaluation.classifier import TRAININGS, Training, classifier_for
from models.evaluation.data import EvaluationData, check_fits, drawn_cats, folder_pictures
from models.evaluation.inception import load_metric
from models.evaluation.measures import MEASURES
from models.evaluation.pictures import save_strip, strip_tables
from models.evaluation.plan import Wish
from models.evaluation.run import Evaluation, Watch
from models.folder import Model, load_model
from models.samplers import compile_table
from tests.models.small_model import write_model
from unfog.cli import build

TRAINING = Training(updates=25, batch=16, channels=(8, 8), shift=1)
WISH = Wish(samplers=("ddim", "heun"), steps=(2,), images=15)


def _fill(folder: Path, each: int, seed: int = 0, classes: str = "abc") -> Path:
    """Pictures of 8 × 8, a class each mostly red, green or blue."""
    rng = np.random.default_rng(seed)
    for channel, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            levels = rng.integers(0, 90, (8, 8, 3))
            levels[..., channel] += 150
            Image.fromarray(levels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The order of additions, and with it the last bit, depends on how threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EvaluationData:
    return folder_pictures(_fill(tmp_path_factory.mktemp("pictures") / "all", 30), 8)


@pytest.fixture(scope="module")
def done(
    model: Model, data: EvaluationData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("quality")
    return out, Evaluation(model, data, out, training=TRAINING).measure(WISH)


def test_quality_json_holds_every_setting_and_what_it_stands_beside(
    done: tuple[Path, dict[str, Any]], model: Model
) -> None:
    out, quality = done
    assert json.loads((out / "quality.json").read_text()) == quality
    about = quality["measured"]
    assert about.keys() == {
        "schema", "model", "model_fingerprint", "class_names", "training_pictures", "held_out_pictures",
        "reference_images", "images", "features", "neighbours", "classifier", "floor", "fid", "machine",
    }  # fmt: skip
    assert (about["schema"], about["model"], about["images"], about["reference_images"]) == (1, "small", 15, 72)
    assert about["model_fingerprint"] == model.fingerprint
    assert about["fid"]["value"] is None
    assert "safetensors" in about["fid"]["reason"]
    keys = [(row["sampler"], row["steps"], row["guidance_scale"]) for row in quality["settings"]]
    assert keys == [("ddpm", 7, 2), ("ddim", 2, 1), ("heun", 2, 1), ("ddim", 2, 2), ("heun", 2, 2)]
    assert [row["evaluations"] for row in quality["settings"]] == [7, 2, 3, 2, 3]
    assert [row["default"] for row in quality["settings"]] == [True, False, False, False, False]
    for row in quality["settings"]:
        assert row.keys() == {
            "sampler", "steps", "evaluations", "guidance_scale", "eta", "variance", "images", *MEASURES,
            "frechet_excess",
            "seconds_per_image", "standard_error", "comparable", "default",
        }  # fmt: skip
        assert row["standard_error"].keys() == set(MEASURES)
        assert all(0 <= row[name] <= 1 for name in ("precision", "recall", "class_agreement", "near_copies"))
        assert row["frechet_excess"] == row["frechet"] - about["floor"][0]["frechet"]
        assert row["images"] == 15


def test_the_classifier_learns_and_held_out_pictures_stand_better_than_static(
    done: tuple[Path, dict[str, Any]],
) -> None:
    _, quality = done
    assert quality["measured"]["classifier"]["held_out_accuracy"] > 0.9
    floor = quality["measured"]["floor"][0]
    for row in quality["settings"]:
        assert row["frechet"] > 2 * floor["frechet"]
        assert row["class_agreement"] < floor["class_agreement"]


def test_the_grid_the_pairs_the_plot_and_the_table_are_there(done: tuple[Path, dict[str, Any]]) -> None:
    out, _ = done
    with Image.open(out / "grid.png") as grid, Image.open(out / "pairs.png") as pairs:
        assert grid.size == (8 * 8 * 3, 8 * 8 * 3), "64 seeds, though 15 images were measured"
        assert pairs.size == (15 * 8 * 2, 4 * 8 * 2 + 8)
    with Image.open(out / "quality.png") as plot:
        assert min(plot.size) > 400
    table = (out / "quality.md").read_text()
    assert table.count("\n| ddim |") == 2
    assert "Fréchet distance in classifier features" in table
    assert "| **ddpm** | 7 | 7 | 2 | 15 |" in table


def test_a_killed_evaluation_goes_on_and_measures_nothing_twice(
    model: Model,
    data: EvaluationData,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []
    real = run_module.draw

    def draw(*arguments: Any) -> Any:
        drawn.append(arguments[1].key)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(run_module, "draw", draw)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(model, data, tmp_path, training=TRAINING).measure(WISH)
    updates: list[int] = []
    watch = Watch(count=lambda now, of, what: updates.append(now) if what == "classifier" else None)
    quality = Evaluation(model, data, tmp_path, watch, TRAINING).measure(WISH)
    assert drawn == ["ddpm 7 2", "ddim 2 1", "heun 2 1", "heun 2 1", "ddim 2 2", "heun 2 2"]
    assert not updates, "the classifier was kept"
    for row, undisturbed in zip(quality["settings"], done[1]["settings"], strict=True):
        assert {k: v for k, v in row.items() if k != "seconds_per_image"} == {
            k: v for k, v in undisturbed.items() if k != "seconds_per_image"
        }


def test_a_budget_given_again_comes_to_the_same_images(
    model: Model, data: EvaluationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = Wish(samplers=("ddim",), steps=(2,), guidance=(1.0,), minutes=1.0)
    monkeypatch.setattr(run_module, "passes_per_s", lambda _: 16 * 11 / 60)
    first = Evaluation(model, data, tmp_path, training=TRAINING).measure(wish)
    assert first["measured"]["images"] == 9, "11 fit, 9 are three of each class"
    monkeypatch.setattr(run_module, "passes_per_s", lambda _: 1e6)
    again = Evaluation(model, data, tmp_path, training=TRAINING).measure(wish)
    assert again == first


def test_figures_of_another_model_are_not_taken_over(
    model: Model, data: EvaluationData, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    other = load_model(write_model(tmp_path / "other", block_out_channels=(8, 16)))
    assert other.fingerprint != model.fingerprint
    said: list[str] = []
    (tmp_path / "out" / "evaluation").mkdir(parents=True)
    for file in (done[0] / "evaluation").iterdir():
        (tmp_path / "out" / "evaluation" / file.name).write_bytes(file.read_bytes())
    assert not Evaluation(model, data, tmp_path / "out", training=TRAINING).store.dropped
    assert Evaluation(other, data, tmp_path / "out", Watch(say=said.append), TRAINING).store.dropped
    assert any("another model" in sentence for sentence in said)


def test_the_classifier_is_kept_for_the_same_pictures_and_trained_again_for_others(
    data: EvaluationData, tmp_path: Path
) -> None:
    updates: list[int] = []

    def train(pictures: EvaluationData) -> Any:
        return classifier_for(pictures, tmp_path / "kept", TRAINING, on_update=lambda now, of: updates.append(now))

    first = train(data)
    assert len(updates) == 25
    kept = train(data)
    assert len(updates) == 25
    assert kept.accuracy == first.accuracy
    np.testing.assert_array_equal(kept.read(data.held_out.pixels)[0], first.read(data.held_out.pixels)[0])
    train(folder_pictures(_fill(tmp_path / "others", 15, seed=1), 8))
    assert len(updates) == 50
    (tmp_path / "kept" / "classifier.safetensors").write_bytes(b"torn")
    train(folder_pictures(tmp_path / "others", 8))
    assert len(updates) == 75


def test_a_fifth_of_each_class_is_held_out_and_shared_with_nobody(data: EvaluationData) -> None:
    assert (len(data.training), len(data.held_out)) == (72, 18)
    assert np.bincount(data.held_out.labels).tolist() == [6, 6, 6]
    training = {picture.tobytes() for picture in data.training.pixels}
    assert not training & {picture.tobytes() for picture in data.held_out.pixels}
    assert "may have been trained on" in data.held_out_says


def test_a_second_folder_is_held_out_whole(tmp_path: Path) -> None:
    found = folder_pictures(_fill(tmp_path / "seen", 5), 8, _fill(tmp_path / "kept", 4, seed=1))
    assert (len(found.training), len(found.held_out)) == (15, 12)
    with pytest.raises(EvaluationError, match="the same sub-folders"):
        folder_pictures(tmp_path / "seen", 8, _fill(tmp_path / "two", 4, classes="ab"))


def test_drawn_cats_of_training_and_evaluation_are_different_cats() -> None:
    cats = drawn_cats(32, training=16, held_out=8)
    assert cats.held_out.labels.tolist() == list(range(8))
    assert not {p.tobytes() for p in cats.training.pixels} & {p.tobytes() for p in cats.held_out.pixels}
    with pytest.raises(EvaluationError, match="32 or 64"):
        drawn_cats(8)


def test_what_does_not_fit_is_told_with_what_to_do(model: Model, data: EvaluationData, tmp_path: Path) -> None:
    plain = load_model(write_model(tmp_path / "plain", classes=False))
    with pytest.raises(EvaluationError, match="has no classes"):
        Evaluation(plain, data, tmp_path)
    with pytest.raises(EvaluationError, match="a, b, c; the pictures have a, b"):
        check_fits(model, folder_pictures(_fill(tmp_path / "two", 20, classes="ab"), 8))
    with pytest.raises(EvaluationError, match="3 × 8 × 8"):
        check_fits(model, drawn_cats(32, training=8, held_out=8))
    with pytest.raises(EvaluationError, match="too few"):
        folder_pictures(_fill(tmp_path / "few", 3), 8)
    with pytest.raises(EvaluationError, match="no sub-folders"):
        folder_pictures(tmp_path / "few" / "a", 8)
    with pytest.raises(EvaluationError, match=r"is not installed|does not hold"):
        load_metric(tmp_path / "absent.safetensors")


def test_a_strip_shows_one_seed_by_sampler_and_steps(model: Model, tmp_path: Path) -> None:
    tables = strip_tables(model, (1, 3, 2000))
    assert [(table.sampler, table.evaluations) for table in tables] == [
        ("ddim", 1), ("ddim", 3), ("ddpm", 1), ("ddpm", 3),
    ]  # fmt: skip
    counted: list[int] = []
    save_strip(model, tmp_path / "strip.png", 5, tables, counted.append)
    assert counted == list(range(1, 9))
    with Image.open(tmp_path / "strip.png") as strip:
        pixels = np.asarray(strip)
    assert pixels.shape[:2] == (2 * 128 + 32, 2 * 128 + 64)
    assert (pixels[32 : 32 + 128, 64 : 64 + 128] == pixels[32 + 128 :, 64 : 64 + 128]).all(), (
        "in one step there is nothing left to differ in"
    )
    assert compile_table(model.schedule, "ddim", 1).noise_draws == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --data FOLDER"),
        (["--source", "dogs"], "there is no source 'dogs'"),
        (["--source", "cats"], "cats are drawn at 32 or 64"),
        (["--source", "cats", "--steps", "ten"], "--steps takes numbers"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--source", "cats", "--images", "3"], "at least 8 images"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(model: Model, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(build(), ["evaluate", str(model.folder), *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1


def test_the_command_measures_a_folder(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAININGS, "small", TRAINING)
    data = _fill(tmp_path / "pictures", 15)
    arguments = ["--data", str(data), "--samplers", "ddim", "--steps", "1", "--guidance", "1", "--images", "8"]
    out = tmp_path / "out"
    result = CliRunner().invoke(build(), ["evaluate", str(model.folder), *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 of 2 settings to measure, 8 images each" in result.output
    assert len(json.loads((out / "quality.json").read_text())["settings"]) == 2


def test_the_page_names_every_field(done: tuple[Path, dict[str, Any]]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluate.md").read_text()
    about, rows = done[1]["measured"], done[1]["settings"]
    for part in (about, about["classifier"], about["fid"], about["machine"], about["floor"][0], rows[0]):
        for name in part:
            assert f"`{name}`" in page, name
