"""Model folders: what is read, what is refused, and that no pickle is ever opened."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from models.errors import CorruptModel, ModelError, ModelNotFound, UnsafeWeights, UnsupportedConfig
from models.folder import WEIGHTS, describe_model, load_model
from tests.models.small_model import write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "small")


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


def test_a_nested_folder_is_read(folder: Path) -> None:
    model = load_model(folder)
    assert (model.id, model.channels, model.height, model.width) == ("small", 3, 8, 8)
    assert (model.class_names, model.null_class) == (("a", "b", "c"), 3)
    assert (model.default_sampler, model.default_steps, model.default_guidance_scale) == ("ddpm", 7, 2.0)
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


def test_a_flat_folder_without_classes_is_read(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "flat", classes=False, flat=True))
    assert (model.class_names, model.null_class) == ((), None)
    assert (model.default_sampler, model.default_steps, model.default_guidance_scale) == ("ddim", 50, 1.0)


def test_the_network_says_what_diffusers_own_loading_says(folder: Path) -> None:
    x, t, label = torch.ones(1, 3, 8, 8), torch.tensor([10]), torch.tensor([1])
    ours = load_model(folder).network(x, t, label, return_dict=False)[0]
    theirs = UNet2DModel.from_pretrained(folder / "unet").eval()(x, t, label).sample
    assert torch.equal(ours, theirs)


def test_half_precision_weights_are_widened(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS
    halves = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(halves, file, metadata={"format": "pt"})
    network = load_model(folder).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    weights = network.state_dict()
    assert all(torch.equal(weights[name], tensor.float()) for name, tensor in halves.items())
    assert next(load_model(folder, dtype=torch.float16).network.parameters()).dtype == torch.float16


def test_the_description_needs_no_network(folder: Path) -> None:
    described, model = describe_model(folder), load_model(folder)
    for name in ("id", "channels", "class_names", "default_steps", "fingerprint", "folder"):
        assert getattr(described, name) == getattr(model, name)


def test_the_fingerprint_follows_what_decides_a_picture_and_nothing_else(folder: Path) -> None:
    first = describe_model(folder).fingerprint
    assert len(first) == 16
    edit(folder / "unfog.json", steps=9)
    (folder / "README.md").write_text("a card")
    assert describe_model(folder).fingerprint == first
    edit(folder / "scheduler" / "scheduler_config.json", clip_sample=False)
    second = describe_model(folder).fingerprint
    edit(folder / "unfog.json", class_names=["c", "b", "a"])
    third = describe_model(folder).fingerprint
    weights = load_file(folder / "unet" / WEIGHTS)
    weights["conv_in.bias"] += 1
    save_file(weights, folder / "unet" / WEIGHTS, metadata={"format": "pt"})
    assert len({first, second, third, describe_model(folder).fingerprint}) == 4


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.crater,))


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "pytorch_model.bin", "model.ckpt"])
def test_a_pickle_beside_the_weights_is_never_opened(folder: Path, name: str, tmp_path: Path) -> None:
    (folder / "unet" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "crater")))
    load_model(folder)
    assert not (tmp_path / "crater").exists()


def test_a_folder_of_pickles_is_refused_with_the_conversion_command(folder: Path, tmp_path: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "crater")))
    with pytest.raises(UnsafeWeights, match=r"convert it once.*UNet2DModel.from_pretrained"):
        load_model(folder)
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("missing", ["unet/config.json", "scheduler/scheduler_config.json", f"unet/{WEIGHTS}"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelNotFound, match=Path(missing).name):
        load_model(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="nowhere"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json", "unfog.json"])
@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_a_config_that_is_no_json_object_is_corrupt(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(CorruptModel, match=Path(file).name):
        load_model(folder)


def test_truncated_weights_are_corrupt(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorruptModel, match="cannot be loaded"):
        load_model(folder)


def test_weights_with_a_tensor_missing_are_corrupt(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS
    weights = load_file(file)
    del weights["conv_in.bias"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CorruptModel, match=r"conv_in\.bias"):
        load_model(folder)


def test_weights_of_another_size_are_corrupt(folder: Path) -> None:
    edit(folder / "unet" / "config.json", block_out_channels=[16, 16])
    with pytest.raises(CorruptModel):
        load_model(folder)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("unet/config.json", "_class_name", "UNet2DConditionModel"),
        ("unet/config.json", "time_embedding_type", "fourier"),
        ("unet/config.json", "class_embed_type", "timestep"),
        ("unet/config.json", "out_channels", 6),
        ("unet/config.json", "sample_size", None),
        ("unet/config.json", "in_channels", "3"),
        ("scheduler/scheduler_config.json", "variance_type", "learned"),
        ("unfog.json", "null_class", 4),
        ("unfog.json", "class_names", ["a", "b", "c", "d"]),
        ("unfog.json", "class_names", ["a", "a", "b"]),
        ("unfog.json", "class_names", "abc"),
        ("unfog.json", "sampler", "euler"),
        ("unfog.json", "steps", 0),
        ("unfog.json", "guidance_scale", "much"),
        ("unfog.json", "colour", "red"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(folder: Path, file: str, key: str, value: object) -> None:
    edit(folder / file, **{key: value})
    with pytest.raises(UnsupportedConfig, match=key):
        load_model(folder)


def test_guidance_by_default_needs_a_null_class(folder: Path) -> None:
    edit(folder / "unfog.json", null_class=None)
    with pytest.raises(UnsupportedConfig, match="guidance_scale"):
        load_model(folder)


def test_classes_without_names_are_numbered(folder: Path) -> None:
    (folder / "unfog.json").unlink()
    assert describe_model(folder).class_names == ("0", "1", "2", "3")


def test_every_error_is_a_model_error() -> None:
    for error in (ModelNotFound, UnsafeWeights, CorruptModel, UnsupportedConfig):
        assert issubclass(error, ModelError)
