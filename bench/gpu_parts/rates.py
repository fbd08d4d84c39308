"""(2) Evaluations a second against the batch size, in every way to run the network; and the share of the card."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu_parts.notes import Notes, Unfit
from bench.gpu_parts.setup import Setup
from models.folder import Model, load_model

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
COMPILED_BATCHES = (64, 256)
"""Each costs a compilation."""
MEASURED_S = 0.25
REPEATS = 5

Inputs = tuple[Tensor, Tensor, Tensor | None]


def run(notes: Notes, setup: Setup) -> None:
    """The matrix rate first, then every variant of every network at every size, the dear ones last."""
    notes.once("matmul_tflops", matmul_tflops, setup)
    for name, folder in setup.models().items():
        notes.once(f"{name}, flops", flops_of, folder, setup)
        for kind, batches in variants_of(name, setup).items():
            variant = Variant(folder, kind, setup)
            for batch in batches:
                notes.once(
                    f"{name}, {kind}, {batch}", rate_of, variant, batch, notes.found[f"{name}, flops"], notes
                )


def variants_of(name: str, setup: Setup) -> dict[str, tuple[int, ...]]:
    """The variants, each with its batch sizes; a tiny run compiles one network alone, once."""
    batches: tuple[int, ...] = setup.pick(BATCHES, (1, 2))
    compiled: tuple[int, ...] = COMPILED_BATCHES
    if setup.tiny:
        compiled = (2,) if name in setup.models(dear=True) else ()
    return {
        "eager": batches,
        "channels_last": batches,
        "graph": batches,
        "channels_last graph": batches,
        "compiled": compiled,
        "compiled graph": compiled,
    }


@dataclass
class Variant:
    """A network in one of the ways to run it; loaded when it is first needed."""

    folder: Path
    kind: str
    setup: Setup

    @cached_property
    def model(self) -> Model:
        """The network on the device, in the precision that is served. Raises `Unfit`."""
        if "graph" in self.kind and not self.setup.cuda:
            raise Unfit("CUDA graphs need a CUDA card")
        model = load_model(self.folder, device=self.setup.device, dtype=getattr(torch, self.setup.serving))
        if self.channels_last:
            model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    @cached_property
    def network(self) -> Any:
        """What is called."""
        # Tiny runs try the way, not the compiler, which may be missing.
        backend = "eager" if self.setup.tiny else "inductor"
        compiled = "compiled" in self.kind
        return torch.compile(self.model.network, dynamic=False, backend=backend) if compiled else self.model.network

    @property
    def channels_last(self) -> bool:
        """Whether the channels are innermost in memory."""
        return self.kind != "eager" and self.kind != "graph"


def inputs_of(model: Model, batch: int, setup: Setup) -> Inputs:
    """A batch of static at different timesteps."""
    dtype = next(model.network.parameters()).dtype
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((batch, model.channels, model.height, model.width), generator=generator)
    timesteps = torch.arange(batch, device=setup.device) % model.schedule.num_train_timesteps
    labels = torch.arange(batch, device=setup.device) % len(model.class_names) if model.class_names else None
    return x.to(setup.device, dtype), timesteps, labels


@torch.inference_mode()
def rate_of(variant: Variant, batch: int, flops: Any, notes: Notes) -> dict[str, float]:
    """Evaluations a second, median and spread; the floating-point rate, and its share of the matrix rate."""
    x, timesteps, labels = inputs_of(variant.model, batch, variant.setup)
    if variant.channels_last:
        x = x.to(memory_format=torch.channels_last)
    network = variant.network

    def forward() -> None:
        network(x, timesteps, class_labels=labels, return_dict=False)

    for _ in range(2):
        forward()
    play = captured(forward) if "graph" in variant.kind else forward
    rates = [batch / seconds for seconds in timed(play, variant.setup)]
    found = {"row_evals_per_s": statistics.median(rates), "least": min(rates), "most": max(rates)}
    peak = notes.found["matmul_tflops"]
    if isinstance(flops, float) and isinstance(peak, float):
        found["tflops"] = found["row_evals_per_s"] * flops / 1e12
        found["share_of_matmul"] = found["tflops"] / peak
    return found


def captured(forward: Callable[[], None]) -> Callable[[], None]:
    """The forward pass as a CUDA graph."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        forward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        forward()
    return graph.replay


def timed(act: Callable[[], Any], setup: Setup) -> list[float]:
    """Seconds of one call, `REPEATS` times measured over as many calls as fit into `MEASURED_S` together."""
    setup.synchronize()
    started = time.perf_counter()
    act()
    setup.synchronize()
    calls = max(1, int(MEASURED_S / REPEATS / max(1e-6, time.perf_counter() - started)))
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(calls):
            act()
        setup.synchronize()
        seconds.append((time.perf_counter() - started) / calls)
    return seconds


@torch.inference_mode()
def flops_of(folder: Path, setup: Setup) -> float:
    """Floating-point operations of one evaluation, as torch counts them (a multiply-add is two)."""
    model = load_model(folder, device=setup.device)
    x, timesteps, labels = inputs_of(model, 1, setup)
    with FlopCounterMode(display=False) as counter:
        model.network(x, timesteps, class_labels=labels, return_dict=False)
    return float(counter.get_total_flops())


@torch.inference_mode()
def matmul_tflops(setup: Setup) -> float:
    """The device's rate in a large square matrix product, in the precision that is served."""
    side = setup.pick(8192 if setup.cuda else 2048, 128)
    a = torch.randn((side, side), device=setup.device).to(getattr(torch, setup.serving))
    torch.mm(a, a)
    seconds = statistics.median(timed(lambda: torch.mm(a, a), setup))
    return float(2 * side**3 / seconds / 1e12)
