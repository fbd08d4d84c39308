"""A run from start to servable folder: it learns, stops, is killed, goes on."""

import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import TrainingError
from models.folder import load_model
from models.pictures.folder import FolderSource
from models.pictures.source import CatSource
from models.training.checkpoint import load_checkpoint
from models.training.run import Progress, Run, train
from models.training.settings import Settings, preset

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
KILLED = """
import sys, torch
from pathlib import Path
from models.pictures.source import CatSource
from models.training.run import train
from models.training.settings import preset

torch.set_num_threads(1)
settings = preset("tiny", steps=12, seed=5, checkpoint_every_s=0.0)
train(settings, CatSource(), Path(sys.argv[1]), lambda now: print(now.step, flush=True))
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The order of additions, and with it the last bit, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _settings(**changes: object) -> Settings:
    return preset("tiny", **{"steps": STEPS, "seed": 5, **changes})


def _checkpoint(out: Path) -> Path:
    return out / "training" / "checkpoint.safetensors"


def _assert_equal_runs(a: Path, b: Path) -> None:
    tensors, state = load_checkpoint(_checkpoint(a))
    others, other_state = load_checkpoint(_checkpoint(b))
    assert tensors.keys() == others.keys()
    assert any(name.startswith("optimizer.") for name in tensors)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    assert state["run"]["step"] == other_state["run"]["step"]
    assert [row[2] for row in state["run"]["curve"]] == [row[2] for row in other_state["run"]["curve"]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "cats"
    end = train(_settings(), CatSource(), out)
    torch.set_num_threads(before)
    assert (end.step, end.fraction) == (STEPS, 1.0)
    return out


def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "cats"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "4":  # the third checkpoint is whole by now
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    _, state = load_checkpoint(_checkpoint(out))
    assert 3 <= state["run"]["step"] < STEPS

    train(_settings(), CatSource(), out)

    _assert_equal_runs(finished, out)
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (out / weights).read_bytes() == (finished / weights).read_bytes()


def test_sigterm_ends_a_run_after_its_update_with_a_checkpoint_and_a_servable_folder(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cats"

    def stop_at_five(now: Progress) -> None:
        if now.step == 5:
            signal.raise_signal(signal.SIGTERM)

    assert train(_settings(), CatSource(), out, stop_at_five).step == 5
    assert load_model(out).class_names == CatSource().class_names
    assert "the run is not finished" in (out / "README.md").read_text()
    train(_settings(), CatSource(), out)
    _assert_equal_runs(finished, out)


def test_minutes_already_spent_are_counted(tmp_path: Path) -> None:
    out = tmp_path / "cats"
    settings = _settings(steps=None, minutes=1e9)

    def stop(now: Progress) -> None:
        signal.raise_signal(signal.SIGTERM)

    first = train(settings, CatSource(), out, stop)
    second = train(settings, CatSource(), out, stop)
    assert second.step == 2
    assert second.elapsed_s > first.elapsed_s > 0
    assert train(_settings(steps=None, minutes=1e-9), CatSource(), out).step == 2


def test_training_lowers_the_loss_on_a_few_pictures(tmp_path: Path) -> None:
    losses: list[float] = []
    train(
        _settings(steps=80, learning_rate=5e-3), CatSource(), tmp_path / "cats", lambda now: losses.append(now.loss)
    )
    assert np.mean(losses[:5]) > 0.8  # the noise has variance 1 and nothing is known about it yet
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])


def test_the_folder_loads_and_the_snippet_of_its_card_runs(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = load_model(finished)
    assert (described.height, described.null_class, described.default_steps) == (32, 8, 50)
    card = (finished / "README.md").read_text(encoding="utf-8")
    assert f"`{described.fingerprint}`" in card
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found is not None
    assert len(found[1].strip().splitlines()) <= 10
    monkeypatch.chdir(finished)
    names: dict[str, torch.Tensor] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        exec(found[1], names)
    assert names["x"].shape == (1, 3, 32, 32)
    assert bool(names["x"].isfinite().all())


def test_the_exported_weights_are_the_averaged_ones(finished: Path) -> None:
    tensors, _ = load_checkpoint(_checkpoint(finished))
    network = load_model(finished).network
    for k, (name, parameter) in enumerate(network.named_parameters()):
        assert torch.equal(parameter, tensors[f"ema.{k}"]), name
    assert any(not torch.equal(p, tensors[f"network.{name}"]) for name, p in network.named_parameters())


def test_a_folder_without_classes_trains_a_model_that_the_stock_pipeline_can_call(tmp_path: Path) -> None:
    from diffusers import DDPMPipeline

    pictures, _ = CatSource().take(0, 6)
    data = tmp_path / "pictures"
    data.mkdir()
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(data / f"{k}.png")
    out = tmp_path / "model"
    train(_settings(steps=2, flip=("all",), half_weights=True), FolderSource(data), out)
    pipeline = DDPMPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, 32, 32, 3)


def _go(out: Path, settings: Settings, read_every: int) -> Run:
    run = Run(settings, CatSource(), out, _checkpoint(out))
    run.read_every = read_every
    try:
        run.go(lambda: False, lambda _: None)
    finally:
        run.board.close()
    return run


def test_losses_read_late_end_in_the_same_run(finished: Path, tmp_path: Path) -> None:
    _go(tmp_path / "cats", _settings(), read_every=5)
    _assert_equal_runs(finished, tmp_path / "cats")


def test_a_loss_read_late_is_named_by_its_update_and_nothing_is_saved(tmp_path: Path) -> None:
    settings = _settings(steps=50, learning_rate=1e30, warmup_steps=1, checkpoint_every_s=1e9)
    with pytest.raises(TrainingError, match=r"no longer finite at update [23];"):
        _go(tmp_path / "cats", settings, read_every=20)
    assert not (tmp_path / "cats" / "unet").exists()


def test_trying_the_compiled_network_out_changes_nothing_and_is_on_the_card(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network: network)
    train(_settings(compile=True), CatSource(), tmp_path / "cats")
    _assert_equal_runs(finished, tmp_path / "cats")
    assert re.search(r"float32, compiled in \d+ s", (tmp_path / "cats" / "README.md").read_text())


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiler_is_missing(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nand a long trace")

    monkeypatch.setattr(torch, "compile", lambda network: compiler_is_missing)
    said: list[str] = []
    train(_settings(compile=True), CatSource(), tmp_path / "cats", say=said.append)
    _assert_equal_runs(finished, tmp_path / "cats")
    assert said[0].endswith("float32, not compiled: no compiler.")


def test_other_settings_or_pictures_do_not_go_on_from_a_checkpoint(finished: Path) -> None:
    with pytest.raises(TrainingError, match="seed 5 -> 6"):
        train(_settings(seed=6), CatSource(), finished)
    with pytest.raises(TrainingError, match="other pictures"):
        train(_settings(), CatSource(64), finished)


def test_init_starts_from_the_weights_of_a_model_whatever_it_predicts(tmp_path: Path) -> None:
    source = CatSource(32)
    first = preset("tiny", steps=2)
    train(first, source, tmp_path / "first")
    second = preset("tiny", steps=1, prediction_type="v_prediction", init=str(tmp_path / "first"))
    run = Run(second, source, tmp_path / "second", tmp_path / "second" / "training" / "checkpoint.safetensors")
    trained = load_model(tmp_path / "first").network.state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in run.state.network.state_dict().items())
    run.board.close()


def test_init_from_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    train(preset("tiny", steps=1), CatSource(32), tmp_path / "tiny")
    settings = preset("small", steps=1, init=str(tmp_path / "tiny"))
    with pytest.raises(TrainingError, match="--init"):
        train(settings, CatSource(32), tmp_path / "small")
