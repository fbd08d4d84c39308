"""How a network is run: compiled or not, its memory format, and that both are part of the engine's name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch
from diffusers import UNet2DModel
from torch import Tensor

from jobs.settings import Settings
from models.folder import Model
from tests.worker.engines import CPU, ToyNetwork, toy_model
from worker import network
from worker.build import engine_fingerprint, sizes_to_try
from worker.ladder import Ladder
from worker.network import Kind, Network, Precision, network_of
from worker.packing import PackedConvolution, pack

FLOAT32 = Precision(CPU, torch.float32, "")
ROWS = torch.randn((4, 3, 4, 4), generator=torch.Generator().manual_seed(0))
SMALL = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
KINDS: tuple[Kind, ...] = ("plain", "packed", "compiled")
TIMESTEPS = torch.full((4,), 500)
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(network.CACHE, str(tmp_path / "inductor"))


def settings(**choices: Any) -> Settings:
    return Settings(compile="on", max_batch_places=4, **choices)


def warnings_of(model: Model, chosen: Settings) -> tuple[Network, list[str]]:
    with structlog.testing.capture_logs() as logs:
        built = network_of(model, FLOAT32, chosen)
    return built, [line["reason"] for line in logs if line["log_level"] == "warning"]


def test_weights_are_laid_out_unless_told_otherwise() -> None:
    model = replace(toy_model(), network=ToyWithConvolution())
    assert network_of(model, FLOAT32, Settings(compile="off")).kind == "plain"
    assert isinstance(model.network.convolution, torch.nn.Conv2d)
    built = network_of(model, FLOAT32, Settings())
    assert (built.kind, built.channels_last) == ("packed", False)
    assert isinstance(model.network.convolution, PackedConvolution)
    half = network_of(model, Precision(CPU, torch.bfloat16, ""), Settings())
    assert half.kind == "plain", "it is for float32 on a CPU"


def test_a_network_whose_weights_are_laid_out_computes_what_it_did_at_every_size() -> None:
    plain, packed = (UNet2DModel.from_config(SMALL).eval().requires_grad_(False) for _ in range(2))
    packed.load_state_dict(plain.state_dict())
    rows = torch.randn((9, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    pack(packed, rows[:8], torch.full((8,), 3), None)
    convolutions = [one for one in plain.modules() if isinstance(one, torch.nn.Conv2d)]
    assert sum(isinstance(one, PackedConvolution) for one in packed.modules()) == len(convolutions) > 4
    with torch.inference_mode():
        for size in range(1, 10):
            x, timesteps = rows[:size], torch.full((size,), 3)
            expected = plain(x, timesteps, return_dict=False)[0]
            assert torch.allclose(packed(x, timesteps, return_dict=False)[0], expected, atol=1e-5)


def test_without_the_library_weights_stay_as_they_are_and_the_log_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    built, reasons = warnings_of(toy_model(), Settings())
    assert built.kind == "plain"
    assert reasons == ["this build of torch has no oneDNN"]


def test_without_a_compiler_the_network_is_eager_and_the_log_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.shutil, "which", lambda name: None)
    model = toy_model()
    built, reasons = warnings_of(model, settings())
    assert built.kind == "plain"
    assert reasons == ["there is no C++ compiler (CXX, g++ or clang++)"]
    expected = model.network(ROWS, TIMESTEPS, LABELS, return_dict=False)[0]
    assert torch.equal(built.forward(ROWS, TIMESTEPS, LABELS), expected)


def test_a_network_that_does_not_compile_is_eager_and_the_log_says_why() -> None:
    class Uncompilable(ToyNetwork):
        def forward(
            self, x: Tensor, timesteps: Tensor, class_labels: Tensor | None, return_dict: bool
        ) -> tuple[Tensor]:
            print(end="")  # leaves the graph, which is asked for in one piece
            torch._dynamo.graph_break()
            return super().forward(x, timesteps, class_labels, return_dict)

    model = replace(toy_model(), network=Uncompilable())
    built, reasons = warnings_of(model, settings())
    assert built.kind == "plain"
    assert len(reasons) == 1
    assert built.forward(ROWS, TIMESTEPS, LABELS).shape == ROWS.shape


@pytest.mark.parametrize("compiles", [True, False])
def test_what_was_compiled_is_kept_in_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiles: bool
) -> None:
    monkeypatch.delenv(network.CACHE)
    asked: list[dict[str, Any]] = []

    def compile_nothing(function: Callable[..., Tensor], **options: Any) -> Callable[..., Tensor]:
        asked.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    built, _ = warnings_of(toy_model(), settings(state_dir=tmp_path) if compiles else Settings(state_dir=tmp_path))
    assert (built.kind == "compiled") == compiles
    assert network.os.environ.get(network.CACHE) == (str(tmp_path / "compiled") if compiles else None)
    assert len(asked) == compiles
    assert all(one["options"] == {"freezing": True} for one in asked)


def test_a_compiled_network_is_never_asked_about_a_single_row() -> None:
    ladders = [
        sizes_to_try(settings(batching=batching), Network(toy_forward, "compiled", channels_last=False), CPU)
        for batching in ("strict", "fast")
    ]
    assert [ladder.sizes for ladder in ladders] == [(2, 3, 4), (2, 3, 4)]


def test_how_a_network_is_run_is_part_of_the_name_of_its_engine() -> None:
    names = {
        engine_fingerprint(FLOAT32, Network(toy_forward, kind, channels_last), 2, "strict", Ladder(sizes))
        for kind in KINDS
        for channels_last in (False, True)
        for sizes in ((4, 8), (8,))
    }
    assert len(names) == 12
    assert {name.rsplit("-", 1)[0] for name in names} == {f"cpu-float32-{kind}-strict" for kind in KINDS}


def test_channels_side_by_side_change_no_more_than_the_last_bits() -> None:
    model = replace(toy_model(), network=ToyWithConvolution())
    plain = network_of(model, FLOAT32, Settings(compile="off")).forward(ROWS, TIMESTEPS, LABELS)
    chosen = network_of(model, FLOAT32, Settings(memory_format="channels_last", compile="off"))
    assert chosen.channels_last
    assert model.network.convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(chosen.forward(ROWS, TIMESTEPS, LABELS), plain, atol=1e-6)


def toy_forward(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
    return x


class ToyWithConvolution(ToyNetwork):
    """The toy network with a convolution before it, whose weights can lie either way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)

    def forward(
        self, x: Tensor, timesteps: Tensor, class_labels: Tensor | None, return_dict: bool
    ) -> tuple[Tensor]:
        return super().forward(self.convolution(x), timesteps, class_labels, return_dict)
