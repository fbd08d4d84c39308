"""A model's network as a function of float32 tensors: in which precision and memory format, compiled or not."""

import os
import shutil
import time
from dataclasses import dataclass
from typing import Literal

import structlog
import torch
from torch import Tensor

from jobs.settings import Settings
from models.folder import Model
from worker.executor import Forward
from worker.ladder import coarse_sizes
from worker.openvino import converted
from worker.packing import pack
from worker.padding import pad

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CACHE = "TORCHINDUCTOR_CACHE_DIR"
Kind = Literal["plain", "packed", "compiled", "openvino"]
CPU = torch.device("cpu")
LEAST_COMPILED = 2
REASON_LENGTH = 300

log = structlog.get_logger()


@dataclass(frozen=True)
class Precision:
    """The dtype of the network and where it runs, with the reason for the choice."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_precision(settings: Settings) -> Precision:
    """float16 on CUDA and float32 on a CPU, unless a setting says otherwise."""
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if settings.precision != "auto":
        return Precision(device, DTYPES[settings.precision], "set by UNFOG_PRECISION")
    if device.type == "cuda":
        return Precision(device, torch.float16, "float16 is the fast path on CUDA")
    return Precision(device, torch.float32, "a CPU computes float16 no faster than float32")


@dataclass(frozen=True)
class Network:
    """How a network is run; all of it decides the last bits."""

    forward: Forward
    kind: Kind
    channels_last: bool
    release: str = torch.__version__
    """Of the library that computes it."""

    @property
    def least_places(self) -> int:
        """The smallest batch that it should be asked about; torch compiles one row apart from all others."""
        return LEAST_COMPILED if self.kind == "compiled" else 1


def forward_of(model: Model, precision: Precision) -> Forward:
    """The network as a function from float32 to float32; only inside it may numbers be shorter."""

    def forward(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        out: Tensor = model.network(x.to(precision.dtype), timesteps, class_labels=labels, return_dict=False)[0]
        return out.float()

    return forward


def network_of(model: Model, precision: Precision, settings: Settings) -> Network:
    """The network as the settings want it, or as it is, with a line that says why, where that cannot be."""
    channels_last = wants_channels_last(settings, precision)
    if channels_last:
        model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = forward_of(model, precision)
    in_float32_on_cpu = precision == Precision(CPU, torch.float32, precision.reason)
    try:
        if settings.compile == "on":
            return Network(compiled(model, forward, precision, settings), "compiled", channels_last)
        if settings.compile == "openvino":
            if not in_float32_on_cpu:
                raise RuntimeError("OpenVINO is for float32 on a CPU here")
            by_openvino, release = converted(model, settings.state_dir / "openvino", torch.get_num_threads())
            return Network(by_openvino, "openvino", channels_last, release)
        if in_float32_on_cpu and settings.batching == "strict":
            pad(model.network, *example(model, settings.max_batch_places, CPU))
        if in_float32_on_cpu and settings.compile == "auto":
            pack(model.network, *example(model, settings.max_batch_places, CPU))
            return Network(forward, "packed", channels_last)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:REASON_LENGTH]
        log.warning("the network is run as it is", model=model.id, compile=settings.compile, reason=reason)
        torch.compiler.reset()
    return Network(forward, "plain", channels_last)


def example(model: Model, places: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs of a forward pass: zeros, in float32."""
    x = torch.zeros((places, model.channels, model.height, model.width), device=device)
    timesteps = torch.zeros(places, dtype=torch.int64, device=device)
    return x, timesteps, torch.zeros_like(timesteps) if model.class_names else None


def wants_channels_last(settings: Settings, precision: Precision) -> bool:
    """Whether a pixel's channels lie side by side: what a card's 16-bit units want, and slower on a CPU."""
    if settings.memory_format != "auto":
        return settings.memory_format == "channels_last"
    return precision.device.type == "cuda" and precision.dtype != torch.float32


@torch.inference_mode()
def compiled(model: Model, forward: Forward, precision: Precision, settings: Settings) -> Forward:
    """`forward` compiled by inductor with frozen weights, for the sizes of `worker.ladder.coarse_sizes`.

    All of it before it returns, since torch may compile a size apart from the others, and no tick is to wait for
    that. It takes minutes. Raises `RuntimeError` or `OSError` where it does not work, as without a C++ compiler.
    """
    os.environ.setdefault(CACHE, str(settings.state_dir / "compiled"))
    if precision.device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise RuntimeError("there is no C++ compiler (CXX, g++ or clang++)")
    compiled_forward: Forward = torch.compile(forward, dynamic=True, fullgraph=True, options={"freezing": True})
    for places in reversed(coarse_sizes(settings.max_batch_places).without_below(LEAST_COMPILED).sizes):
        started_at = time.perf_counter()
        compiled_forward(*example(model, places, precision.device))
        seconds = round(time.perf_counter() - started_at, 1)
        log.info("network compiled", model=model.id, places=places, seconds=seconds)
    return compiled_forward
