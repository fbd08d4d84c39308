"""The state of all rows of a model: preallocated, float32, larger than the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class RowPool:
    """`rows` places and two more: the scratch row, which padding reads, and the spill row, which it writes.

    Each tensor is (rows + 2, C, H, W) float32 on `device`: the sample x_t, the x0 of the two evaluations
    before, and the noise of the coming update. The scratch row stays zero.
    """

    sample: Tensor
    x0_prev: Tensor
    x0_prev2: Tensor
    noise: Tensor

    @classmethod
    def allocate(cls, rows: int, channels: int, height: int, width: int, device: torch.device) -> "RowPool":
        """A pool of zeros."""
        shape = (rows + 2, channels, height, width)
        return cls(*(torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(4)))

    @property
    def scratch(self) -> int:
        """The index of the scratch row."""
        return self.sample.shape[0] - 2

    @property
    def spill(self) -> int:
        """The index of the spill row."""
        return self.sample.shape[0] - 1

    def move_in(self, slot: int, start: Tensor, noise: Tensor | None) -> None:
        """Give `slot` to a new row: where it starts and its first noise, both (C, H, W) float32 on the CPU.

        History and noise are cleared although the table does not use them yet: 0 · NaN is NaN, and a dead
        row must not poison the next tenant.
        """
        self._write(self.sample[slot], start)
        for tensor in (self.x0_prev, self.x0_prev2, self.noise):
            tensor[slot].zero_()
        if noise is not None:
            self._write(self.noise[slot], noise)

    def clear(self) -> None:
        """Make every row zero."""
        for tensor in (self.sample, self.x0_prev, self.x0_prev2, self.noise):
            tensor.zero_()

    def _write(self, place: Tensor, values: Tensor) -> None:
        if place.is_cuda:
            # From pinned memory the copy waits its turn on the device, and nobody here waits for it.
            place.copy_(values.pin_memory(), non_blocking=True)
        else:
            place.copy_(values)
