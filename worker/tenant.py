"""A row with all that is needed to compute it: its table, its noise, and how far it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.animation import frame_indices
from worker.row import RowRequest
from worker.tables import CompiledTable


@dataclass(eq=False)
class Tenant:
    """A row in the pool. One generator a row, so that neighbours never change a picture."""

    request: RowRequest
    slot: int
    compiled: CompiledTable
    generator: torch.Generator
    """From which the starting static is already drawn."""
    step: int = 0
    """Evaluations done, or under way on the device."""
    previewed: int = 0
    """Evaluations done when a preview was last made."""
    frames: list[bytes] = field(default_factory=list)
    """The sample as pixels, each time that it was to be kept."""
    _frames_at: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.request.animate:
            # The sample before the first evaluation is a frame too.
            self._frames_at = frozenset(frame_indices(self.compiled.evaluations + 1))

    @property
    def draws_noise(self) -> bool:
        """Whether the update of the coming evaluation adds noise."""
        return not self.finished and self.compiled.draws_noise[self.step]

    def draw(self, into: Tensor) -> Tensor:
        """The row's next noise, into (C, H, W) float32 on the CPU: drawn as one image of a batch of one."""
        return torch.randn((1, *into.shape), generator=self.generator, out=into[None])[0]

    def keeps_frame(self, step: int) -> bool:
        """Whether the sample, as it is after `step` evaluations, is a frame of the animation."""
        return step in self._frames_at

    @property
    def is_shown_next(self) -> bool:
        """Whether somebody is to see the sample as it is after the coming evaluation."""
        return self.step + 1 == self.compiled.evaluations or self.keeps_frame(self.step + 1)

    @property
    def finished(self) -> bool:
        """Whether the last evaluation is done, or under way."""
        return self.step == self.compiled.evaluations


def places_of(tenants: Iterable[Tenant]) -> int:
    """The places that these rows take in a forward pass."""
    return sum(tenant.request.places for tenant in tenants)
