"""The real engine process, except that a forward pass with a row of the poisonous class kills it."""

import os
import signal
import sys
from collections.abc import Mapping

from torch import Tensor

import worker.engine_process
from jobs.settings import Settings
from tests.chaos.poison import POISON
from worker.build import Served, build
from worker.engine import Forward


def poisoned(forward: Forward) -> Forward:
    """A forward pass that does not survive the class."""

    def deadly(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        if labels is not None and bool((labels == POISON).any()):
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(x, timesteps, labels)

    return deadly


def build_poisoned(settings: Settings) -> Mapping[str, Served]:
    """As `worker.build.build`."""
    served = build(settings)
    for one in served.values():
        executor = one.engine.executor
        executor.forward = poisoned(executor.forward)
    return served


if __name__ == "__main__":
    worker.engine_process.build = build_poisoned  # type: ignore[assignment]
    sys.exit(worker.engine_process.main())
