"""What a tick costs, by counting: the same calls whatever samplers there are, and nothing that grows."""

import gc
import itertools
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from types import FrameType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.worker.engines import row, toy_engine
from worker.engine import Engine

WITHOUT_NOISE = ({"sampler": "ddim"}, {"sampler": "dpmpp_2m"}, {"sampler": "unipc"}, {"sampler": "heun"})
WITH_NOISE = ({"sampler": "ddpm"}, {"sampler": "ddim", "eta": 0.5}, {"sampler": "ddim", "eta": 1.0})
ROWS = 8


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counted[str(func)] += 1
        return func(*args, **(kwargs or {}))


def busy_engine(kinds: Iterable[dict[str, Any]], rows: int = ROWS, steps: int = 200) -> Engine:
    """An engine full of rows of these kinds that are nowhere near their end."""
    kinds = tuple(kinds)
    engine = toy_engine(capacity=rows, pool_rows=rows)
    engine.add([row(str(n), seed=n, steps=steps + n % len(kinds), **kinds[n % len(kinds)]) for n in range(rows)])
    for _ in range(3):
        engine.tick()
    return engine


def operations(engine: Engine) -> Counter[str]:
    with Operations() as mode:
        engine.tick()
    return mode.counted


def calls(engine: Engine) -> int:
    """Python functions, and functions of C, that a tick calls."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        engine.tick()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kinds", [WITHOUT_NOISE, WITH_NOISE])
def test_a_tick_of_many_samplers_does_what_a_tick_of_one_does(kinds: tuple[dict[str, Any], ...]) -> None:
    one, many = busy_engine(kinds[:1]), busy_engine(kinds)
    assert operations(many) == operations(one)
    assert calls(many) == calls(one)


def test_the_operations_of_a_tick_do_not_depend_on_how_many_rows_there_are() -> None:
    few, full = busy_engine(WITHOUT_NOISE, rows=4), busy_engine(WITHOUT_NOISE, rows=32)
    assert operations(few) == operations(full)


def test_ticks_leave_no_tensor_and_no_memory_behind() -> None:
    engine = busy_engine((*WITHOUT_NOISE, *WITH_NOISE), steps=600)

    def held() -> tuple[int, int]:
        gc.collect()
        tensors = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
        return tensors, tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        counts = []
        for _ in range(5):
            for _ in range(100):
                engine.tick()
            counts.append(held())
    finally:
        tracemalloc.stop()
    tensors, memory = zip(*counts, strict=True)
    assert len(set(tensors)) == 1
    # What is made once, a cache or a bigger dictionary, is in one pause; what every tick leaves is in all of them.
    assert min(after - before for before, after in itertools.pairwise(memory)) < 1024, "bytes, of a hundred ticks"
