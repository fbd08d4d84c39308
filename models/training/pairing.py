"""Which noise goes with which picture of a batch."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.errors import TrainingError


def pairing_costs(x0: Tensor, noise: Tensor) -> Tensor:
    """Costs of every pair, (N, N): picture k with noise j is entry (k, j).

    The squared distance is |x|² + |ε|² - 2 x·ε, and the squares add up to the same in every assignment; so the
    cost is -x·ε. x0, noise: float32 (N, C, H, W).
    """
    return -(x0.flatten(1) @ noise.flatten(1).T)


def best_pairs(costs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """For each picture the place of its noise, so that the sum of the costs (N, N) is least.

    Li et al. 2024, "Immiscible Diffusion: Accelerating Diffusion Training with Noise Assignment", section 3; the
    assignment is Crouse's 2016 variant of Jonker and Volgenant's, as scipy has it. Every noise is used once, so
    taken together they are as normal as before.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise TrainingError("pairing noise needs scipy: pip install scipy, or leave --pair-noise out") from error
    _, places = linear_sum_assignment(costs)
    return np.asarray(places, np.int64)


class Pairing:
    """An assignment whose costs are on their way from the device; `places` waits for them and solves it.

    Asked for before an update and solved after the update is under way, it costs a GPU nothing.
    """

    def __init__(self, x0: Tensor, noise: Tensor) -> None:
        costs = pairing_costs(x0, noise)
        self._device, self._arrived = costs.device, None
        if costs.device.type == "cuda":
            self._costs = torch.empty(costs.shape, dtype=costs.dtype, pin_memory=True)
            self._costs.copy_(costs, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()
        else:
            self._costs = costs

    def places(self) -> Tensor:
        """int64 (N,) on the device of the pictures."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return torch.from_numpy(best_pairs(self._costs.numpy())).to(self._device, non_blocking=True)
