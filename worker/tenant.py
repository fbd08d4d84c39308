"""A row with all that is needed to compute it: its table, its noise, and how far it is."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.animation import frame_indices
from worker.row import RowRequest
from worker.tables import CompiledTable


@dataclass
class Tenant:
    """A row in the pool. One generator a row, so that neighbours never change a picture."""

    request: RowRequest
    compiled: CompiledTable
    generator: torch.Generator
    """From which the starting static is already drawn."""
    step: int = 0
    """Evaluations done."""
    previewed: int = 0
    """Evaluations done when a preview was last made."""
    frames: list[bytes] = field(default_factory=list)
    """The sample as pixels, each time that it was to be kept."""
    _frames_at: frozenset[int] = frozenset()
    _noise_of: int = -1
    """The evaluation that noise was last drawn for."""

    def __post_init__(self) -> None:
        if self.request.animate:
            # The sample before the first evaluation is a frame too.
            self._frames_at = frozenset(frame_indices(len(self.compiled.timesteps) + 1))

    def draw(self, shape: torch.Size) -> Tensor:
        """The row's next noise, (C, H, W) float32 on the CPU, drawn as one image of a batch of one."""
        return torch.randn((1, *shape), generator=self.generator)[0]

    def needs_noise(self) -> bool:
        """Whether noise must be drawn for the coming update: once, also if its forward is repeated."""
        if not self.compiled.draws_noise[self.step] or self._noise_of == self.step:
            return False
        self._noise_of = self.step
        return True

    @property
    def keeps_frame(self) -> bool:
        """Whether the sample, as it is after `step` evaluations, is a frame of the animation."""
        return self.step in self._frames_at

    @property
    def finished(self) -> bool:
        """Whether the last evaluation is done."""
        return self.step == len(self.compiled.timesteps)
