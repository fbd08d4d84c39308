"""A row with all that is needed to compute it: its table, its noise, and how far it is."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.samplers import SamplerTable
from worker.row import RowRequest


@dataclass(frozen=True)
class CompiledTable:
    """A sampler table in the form that a tick gathers from.

    `columns` is (E, 10) float32, `timesteps` E ints, `draws_noise` E booleans, `clip` the range of x0.
    """

    table: SamplerTable
    columns: Tensor
    timesteps: tuple[int, ...]
    draws_noise: tuple[bool, ...]
    clip: float

    @classmethod
    def of(cls, table: SamplerTable) -> "CompiledTable":
        """Round a float64 table to float32 once."""
        return cls(
            table=table,
            columns=torch.tensor(table.coefficients, dtype=torch.float32),
            timesteps=tuple(int(t) for t in table.timesteps),
            draws_noise=tuple(bool(c != 0.0) for c in table.column("c_noise")),
            clip=table.clip,
        )


@dataclass
class Tenant:
    """A row in the pool. One generator a row, so that neighbours never change a picture."""

    request: RowRequest
    compiled: CompiledTable
    generator: torch.Generator = field(init=False)
    step: int = 0
    """Evaluations done."""
    _noise_of: int = -1
    """The evaluation that noise was last drawn for."""

    def __post_init__(self) -> None:
        self.generator = torch.Generator(device="cpu").manual_seed(self.request.seed)

    def draw(self, channels: int, height: int, width: int) -> Tensor:
        """The row's next noise, (C, H, W) float32 on the CPU, drawn as one image of a batch of one."""
        return torch.randn((1, channels, height, width), generator=self.generator)[0]

    def needs_noise(self) -> bool:
        """Whether noise must be drawn for the coming update: once, also if its forward is repeated."""
        if not self.compiled.draws_noise[self.step] or self._noise_of == self.step:
            return False
        self._noise_of = self.step
        return True

    @property
    def finished(self) -> bool:
        """Whether the last evaluation is done."""
        return self.step == len(self.compiled.timesteps)
