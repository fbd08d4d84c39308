"""A network that OpenVINO runs: it computes what torch does, in batches of any size, and is converted once."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
import torch
from diffusers import UNet2DModel

from jobs.settings import Settings
from models.folder import Model
from tests.worker.engines import CPU, toy_model
from worker import openvino
from worker.build import engine_fingerprint
from worker.ladder import Ladder
from worker.network import Network, Precision, network_of

FLOAT32 = Precision(CPU, torch.float32, "")
SIZES = range(1, 10)


@pytest.fixture(scope="module")
def small() -> Model:
    """A network with all kinds of layers that the bundled one has, and classes."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        num_class_embeds=4,
    )
    return replace(toy_model(), height=8, width=8, network=network.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def state(small: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that has the network, converted; that takes seconds."""
    folder = tmp_path_factory.mktemp("state")
    network, reasons = built(small, folder)
    assert (network.kind, reasons) == ("openvino", [])
    return folder


def inputs(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn((max(SIZES), 3, 8, 8), generator=draw)
    timesteps, labels = (torch.randint(0, most, (max(SIZES),), generator=draw) for most in (1000, 4))
    return rows[:size], timesteps[:size], labels[:size]


def built(model: Model, state: Path, precision: Precision = FLOAT32) -> tuple[Network, list[str]]:
    """The network by the settings, and the reasons of the warnings."""
    with structlog.testing.capture_logs() as logs:
        network = network_of(model, precision, Settings(compile="openvino", state_dir=state))
    return network, [line["reason"] for line in logs if line["log_level"] == "warning"]


def test_it_computes_what_torch_does_and_equal_bits_in_batches_of_any_size(small: Model, state: Path) -> None:
    network, _ = built(small, state)
    whole = network.forward(*inputs(max(SIZES))).clone()
    with torch.inference_mode():
        for size in SIZES:
            x, timesteps, labels = inputs(size)
            found = network.forward(x, timesteps, labels)
            expected = small.network(x, timesteps, class_labels=labels, return_dict=False)[0]
            assert torch.allclose(found, expected, atol=1e-5)
            assert torch.equal(found, whole[:size]), f"a batch of {size}"


def test_it_is_converted_once_and_nobody_is_told_of_it(
    small: Model, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sys.modules["openvino_telemetry"] is None
    monkeypatch.setattr(openvino, "_keep", lambda *told: pytest.fail("it was there"))
    again, reasons = built(small, state)
    assert (again.kind, reasons) == ("openvino", [])


def test_other_weights_are_converted_anew_and_of_two_workers_that_do_so_at_once_both_go_on(
    small: Model, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = openvino._keep

    def second(library: object, model: Model, kept: Path) -> None:
        shutil.copytree(next(kept.parent.iterdir()), kept)  # the other one, a moment before
        keep(library, model, kept)

    monkeypatch.setattr(openvino, "_keep", second)
    network, reasons = built(replace(small, fingerprint="sha256:other"), state)
    assert (network.kind, reasons) == ("openvino", [])
    assert len(list((state / "openvino").iterdir())) == 2, "and nothing half done lies about"


def test_its_release_is_part_of_the_engines_name(small: Model, state: Path) -> None:
    network, _ = built(small, state)
    names = {
        engine_fingerprint(FLOAT32, replace(network, release=release), 2, "strict", Ladder((4,)))
        for release in (network.release, "another")
    }
    assert len(names) == 2
    assert all(name.startswith("cpu-float32-openvino-strict-") for name in names)


def test_where_it_cannot_be_the_network_is_run_as_it_is_and_the_log_says_why(
    small: Model, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, reasons = built(small, state, Precision(CPU, torch.bfloat16, ""))
    assert (network.kind, reasons) == ("plain", ["OpenVINO is for float32 on a CPU here"])
    monkeypatch.setitem(sys.modules, "openvino", None)
    network, reasons = built(small, state)
    assert network.kind == "plain"
    assert reasons == ["there is no OpenVINO; install it, or all of the extra `openvino`"]
