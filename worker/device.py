"""What differs between computing on a CPU and on a CUDA card: when work is done, and how it is repeated."""

import gc
from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], None]

WARM_UPS = 2
"""Runs before a capture; the first may still allocate workspaces and choose algorithms."""


class Device(Protocol):
    """Where the tensors of an engine live.

    `lag` is how many ticks may be under way while the next one is begun: 0 where work is done when the call
    returns. `pinned` says whether memory of the host must be pinned so that copies wait for nobody, `graphs`
    whether work can be recorded and done again as one.
    """

    torch_device: torch.device
    lag: int
    pinned: bool
    graphs: bool

    def mark(self) -> Work:
        """A function that waits until all work given to the device so far is done."""
        ...

    def record(self, work: Work) -> Work:
        """What does `work`, each time that it is called, between the same tensors.

        Raises `torch.OutOfMemoryError`, or another `RuntimeError` where it cannot be repeated.
        """
        ...

    def release_memory(self) -> None:
        """Give back what was freed, after memory has run out."""
        ...


class Cpu:
    """Work is done when the call returns."""

    lag = 0
    pinned = False
    graphs = False
    torch_device = torch.device("cpu")

    def mark(self) -> Work:
        """Nothing is ever under way."""
        return lambda: None

    def record(self, work: Work) -> Work:
        """The work itself."""
        return work

    def release_memory(self) -> None:
        """Nothing is kept."""


class Cuda:
    """Work is queued on the card; a recorded graph is one launch, however many kernels it holds.

    One tick is begun while the tick before is under way. All graphs share one pool of memory, since no two
    run at once.
    """

    lag = 1
    pinned = True

    def __init__(self, device: torch.device, graphs: bool) -> None:
        self.torch_device, self.graphs = device, graphs
        self._pool = torch.cuda.graph_pool_handle()

    def mark(self) -> Work:
        """An event on the stream."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.torch_device))
        return event.synchronize

    def record(self, work: Work) -> Work:
        """Capture a CUDA graph, after a run outside of it in which libraries choose their kernels."""
        stream = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.torch_device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(self.torch_device).wait_stream(stream)
        torch.cuda.synchronize(self.torch_device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream):
            work()
        return graph.replay

    def release_memory(self) -> None:
        """Empty torch's cache."""
        gc.collect()
        torch.cuda.empty_cache()


def device_of(device: torch.device, graphs: bool = True) -> Device:
    """The device that a name stands for; `graphs` False launches every kernel by itself."""
    if device.type != "cuda":
        return Cpu()
    return Cuda(device, graphs)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, also where an error of the capture stands before the one of the allocator."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
