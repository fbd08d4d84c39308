"""The state of all rows of a model: preallocated, float32, larger than the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class RowPool:
    """`rows` places and one more, the scratch row that padding points at.

    Each tensor is (rows + 1, C, H, W) float32 on `device`: the sample x_t, the x0 of the two evaluations
    before, and the noise of the coming update.
    """

    sample: Tensor
    x0_prev: Tensor
    x0_prev2: Tensor
    noise: Tensor

    @classmethod
    def allocate(cls, rows: int, channels: int, height: int, width: int, device: torch.device) -> "RowPool":
        """A pool of zeros."""
        shape = (rows + 1, channels, height, width)
        return cls(*(torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(4)))

    @property
    def scratch(self) -> int:
        """The index of the scratch row."""
        return self.sample.shape[0] - 1

    def move_in(self, slot: int, initial_noise: Tensor) -> None:
        """Give `slot` to a new row; `initial_noise` is (C, H, W) float32.

        History and noise are cleared although the table does not use them yet: 0 · NaN is NaN, and a dead
        row must not poison the next tenant.
        """
        self.sample[slot].copy_(initial_noise)
        for tensor in (self.x0_prev, self.x0_prev2, self.noise):
            tensor[slot].zero_()
