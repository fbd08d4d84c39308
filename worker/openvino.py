"""A network that OpenVINO runs in place of torch: on a CPU quicker, above all for few rows.

It is converted once for a model and a release of OpenVINO, and kept in the state folder: converting takes seconds.
"""

import importlib
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.folder import Model
from worker.executor import Forward

STEM = "network"


class _Positional(nn.Module):
    """The network as a function of two or three tensors, which is what can be converted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        out: Tensor = self.network(x, timesteps, class_labels=labels, return_dict=False)[0]
        return out


def converted(model: Model, folder: Path, threads: int) -> tuple[Forward, str]:
    """`model.network`, of float32 on the CPU, for batches of any size, and the release of OpenVINO that runs it.

    What was converted is kept in `folder`. Raises `RuntimeError` where there is no OpenVINO or it cannot convert
    the network, and `OSError` for the folder.
    """
    openvino = _library()
    release = version("openvino")
    kept = folder / f"{model.fingerprint.replace(':', '-')}-{release}"
    if not kept.is_dir():
        _keep(openvino, model, kept)
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the API and Redis share the cores
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(kept / f"{STEM}.xml"), "CPU", options).create_infer_request()

    def forward(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        inputs = [one.contiguous().numpy() for one in (x, timesteps, labels) if one is not None]
        return torch.from_numpy(request.infer(inputs, share_inputs=True)[0])

    return forward, release


def _library() -> Any:
    # It would tell its maker of every import and conversion; without this package it tells nobody.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise RuntimeError("there is no OpenVINO; install it, or all of the extra `openvino`") from error


@torch.inference_mode()
def _keep(openvino: Any, model: Model, kept: Path) -> None:
    """Convert the network and put it there whole, or not at all; another worker may do the same meanwhile."""
    shape = (model.channels, model.height, model.width)
    inputs: list[tuple[str, Any]] = [
        ("x", openvino.PartialShape([-1, *shape])),
        ("timesteps", openvino.PartialShape([-1])),
    ]
    example: list[Tensor] = [torch.zeros(2, *shape), torch.zeros(2, dtype=torch.int64)]
    if model.class_names:
        inputs.append(("labels", openvino.PartialShape([-1])))
        example.append(torch.zeros(2, dtype=torch.int64))
    with warnings.catch_warnings():
        # Of branches by size, which choose between ways to the same numbers; and of tracing, which OpenVINO does.
        warnings.simplefilter("ignore")
        network = openvino.convert_model(_Positional(model.network), example_input=tuple(example), input=inputs)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as made:
        openvino.save_model(network, Path(made) / STEM / f"{STEM}.xml", compress_to_fp16=False)
        try:
            (Path(made) / STEM).rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
