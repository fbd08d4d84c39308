"""The batch sizes that a worker uses, and the check that they all compute the same bits.

A matrix library takes other paths for other batch sizes, and a picture would depend on its company in the last
bit. In strict mode every forward pass is padded to a size of the ladder, and a size or position that does not
agree with the others to the bit leaves the ladder when the worker starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]
"""Rows (B, C, H, W) to outputs of the same shape; row b of the output belongs to row b of the input."""

QUICK_SHARE = 0.9
"""A tick may be smaller than the best as long as it computes so much of the best's places a second."""


@dataclass(frozen=True)
class Ladder:
    """Batch sizes in ascending order; the last is the most places of a tick."""

    sizes: tuple[int, ...]

    def fit(self, places: int) -> int:
        """The smallest size that holds `places`."""
        assert 1 <= places <= self.sizes[-1]
        return next(size for size in self.sizes if size >= places)

    @property
    def capacity(self) -> int:
        """The most places of one forward pass."""
        return self.sizes[-1]

    def without_below(self, least: int) -> "Ladder":
        """The sizes from `least` on, and in any case the largest."""
        return Ladder(tuple(size for size in self.sizes if size >= least) or self.sizes[-1:])

    def below(self, places: int) -> "Ladder | None":
        """The sizes that are smaller than what `places` are padded to; None if there are none."""
        sizes = tuple(size for size in self.sizes if size < self.fit(places))
        return Ladder(sizes) if sizes else None


def every_size(capacity: int) -> Ladder:
    """The ladder of fast mode: no padding, no promise about bits."""
    return Ladder(tuple(range(1, capacity + 1)))


def candidate_sizes(capacity: int) -> Ladder:
    """The sizes that strict mode tries: all up to 16, then multiples of 8, and the capacity itself.

    Which of them agree differs from processor to processor and with the number of threads, so it is measured.
    """
    return Ladder(tuple(sorted({*range(1, min(capacity, 16) + 1), *range(16, capacity + 1, 8), capacity})))


def coarse_sizes(capacity: int) -> Ladder:
    """Powers of two, one between each two of them, and the capacity: no more than a third is padding."""
    between = (2**n * factor // 2 for n in range(capacity.bit_length()) for factor in (2, 3))
    return Ladder(tuple(sorted({size for size in between if size < capacity} | {capacity})))


def quick_size(costs: Mapping[int, float]) -> int:
    """The smallest batch that is hardly less efficient than the best, from the time that each size takes.

    On a CPU a batch's time grows with nearly every row, so few of them are enough; on a card it hardly grows, and
    only a large batch is.
    """
    rates = {size: size / max(took, 1e-9) for size, took in costs.items()}
    return min(size for size, rate in rates.items() if rate >= QUICK_SHARE * max(rates.values()))


def check_invariance(forward: Forward, rows: Tensor, sizes: Sequence[int]) -> Ladder:
    """The sizes whose outputs equal those of the largest size to the bit, for every row at every position.

    `rows` is (largest size, C, H, W). The largest size itself is run with its rows rotated; if not even that
    agrees, no ladder can keep the promise and `ValueError` says so.
    """
    largest = max(sizes)
    assert rows.shape[0] == largest
    reference = forward(rows)
    agreeing = [size for size in sizes if _agrees(forward, rows, reference, size)]
    if largest not in agreeing:
        raise ValueError(
            f"batches of {largest} do not compute the same bits for a row in another place; "
            "choose another UNFOG_MAX_BATCH_PLACES, or UNFOG_BATCHING=fast"
        )
    return Ladder(tuple(agreeing))


def _agrees(forward: Forward, rows: Tensor, reference: Tensor, size: int) -> bool:
    # Every position of the batch holds a row that the reference had in another position.
    index = torch.arange(1, size + 1, device=rows.device) % rows.shape[0]
    return torch.equal(forward(rows[index]), reference[index])
