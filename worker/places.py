"""What a tick tells the device of the places of its forward: one block of bytes, so that it is one transfer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.folder import Description
from worker.pool import RowPool
from worker.tables import WIDTH, Tables
from worker.tenant import Tenant

SOURCE, TARGET, TIMESTEP, LABEL, NULL, SHOWN = range(6)
"""The rows of `integers`: the pool row a place reads and the one it writes, what the network is told, the place
that holds the same row with the null label, and the pool rows whose pixels are wanted."""
INTEGERS = 6
SCALE = WIDTH
NUMBERS = WIDTH + 1
"""The numbers of `Tables`, and after them the guidance scale."""


class Places:
    """The block as tensors: `integers` (INTEGERS, capacity) int64 and `numbers` (capacity, NUMBERS) float32.

    A tick of B places uses the first B of each. A forward holds R rows, then the guided rows again with the null
    label, then padding.
    """

    def __init__(self, capacity: int, device: torch.device, pinned: bool = False) -> None:
        integers = torch.int64.itemsize * INTEGERS * capacity
        size = integers + torch.float32.itemsize * NUMBERS * capacity
        self.block = torch.zeros(size, dtype=torch.uint8, device=device, pin_memory=pinned)
        self.integers: Tensor = self.block[:integers].view(torch.int64).view(INTEGERS, capacity)
        self.numbers: Tensor = self.block[integers:].view(torch.float32).view(capacity, NUMBERS)

    def take_over(self, other: "Places") -> None:
        """Copy the block from another; from a pinned one to a card, nobody waits for it."""
        self.block.copy_(other.block, non_blocking=True)


class PlacesWriter:
    """Writes the places of a tick into host memory."""

    def __init__(self, model: Description, pool: RowPool, tables: Tables) -> None:
        self._scratch, self._spill = pool.scratch, pool.spill
        self._tables = tables
        self._labelled, self._null_class = bool(model.class_names), model.null_class

    def write(self, places: Places, tenants: Sequence[Tenant], size: int, shown: Sequence[Tenant]) -> None:
        """Rows `tenants`, padded to `size` places; the pixels of `shown` are wanted after the update."""
        rows = len(tenants)
        guided = [n for n, tenant in enumerate(tenants) if tenant.request.places == 2]
        integers, numbers = places.integers.numpy(), places.numbers.numpy()
        self._pad(integers, numbers, size)
        numbers[:rows, :WIDTH], integers[TIMESTEP, :rows] = self._tables.gather(
            [tenant.compiled.number for tenant in tenants], [tenant.step for tenant in tenants]
        )
        integers[SOURCE, :rows] = integers[TARGET, :rows] = [tenant.slot for tenant in tenants]
        if self._labelled:
            integers[LABEL, :rows] = [tenant.request.class_label for tenant in tenants]
        integers[SHOWN, : len(shown)] = [tenant.slot for tenant in shown]
        if guided:
            assert self._null_class is not None
            second = slice(rows, rows + len(guided))
            numbers[guided, SCALE] = [tenants[n].request.guidance_scale for n in guided]
            integers[SOURCE, second] = integers[SOURCE, guided]
            integers[TIMESTEP, second] = integers[TIMESTEP, guided]
            integers[LABEL, second] = self._null_class
            integers[NULL, guided] = range(second.start, second.stop)

    def _pad(self, integers: npt.NDArray[np.int64], numbers: npt.NDArray[np.float32], size: int) -> None:
        """Places that nobody uses: they read zeros, and what they write is never read."""
        integers[:, :size] = 0
        integers[SOURCE, :size] = self._scratch
        integers[TARGET, :size] = self._spill
        integers[NULL, :size] = range(size)
        numbers[:size] = 0.0
        numbers[:size, SCALE] = 1.0
