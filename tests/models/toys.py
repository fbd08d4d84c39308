"""A network whose answers are known functions, and the float64 walk of a table."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.noise_schedule import NoiseSchedule, Thresholding
from models.samplers import COLUMNS, SamplerTable, update

# (x, timestep) -> what the network says about x
Network = Callable[[Tensor, int], Tensor]

SHAPE = (2, 3, 4, 4)


def toy_network(schedule: NoiseSchedule) -> Network:
    """A smooth guess of x0, beyond [-1, 1] at times, said in the schedule's prediction type."""
    mixing = torch.linspace(-0.7, 0.9, 9, dtype=torch.float64).reshape(3, 3)

    def network(x: Tensor, timestep: int) -> Tensor:
        kept = float(schedule.alphas_cumprod[timestep])
        alpha, sigma = kept**0.5, (1 - kept) ** 0.5
        x0 = 1.6 * torch.tanh(torch.einsum("ij,bjhw->bihw", mixing.to(x.dtype), x) + timestep / 1000 - 0.3)
        if schedule.prediction_type == "sample":
            return x0
        epsilon = (x - alpha * x0) / sigma
        return epsilon if schedule.prediction_type == "epsilon" else alpha * epsilon - sigma * x0

    return network


def start(dtype: torch.dtype, seed: int = 5) -> tuple[Tensor, torch.Generator]:
    """Static of SHAPE and the generator it was drawn from."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=dtype), generator


def threshold64(x0: Tensor, thresholding: Thresholding) -> Tensor:
    spread = torch.quantile(x0.flatten(1).abs(), thresholding.ratio, dim=1)
    spread = spread.clamp(1.0, thresholding.max_value).view(-1, 1, 1, 1)
    return x0.clamp(-spread, spread) / spread


def walk64(
    table: SamplerTable,
    network: Network,
    x: Tensor,
    generator: torch.Generator,
    drawn: torch.dtype = torch.float64,
) -> Tensor:
    """The expression in ``models.samplers.table``, word for word, in float64.

    ``drawn``: the precision the noise is drawn in, since generators give other numbers for each.
    """
    assert x.dtype == torch.float64
    x0_prev = x0_prev2 = torch.zeros_like(x)
    for timestep, row in zip(table.timesteps, table.coefficients, strict=True):
        c = dict(zip(COLUMNS, row.tolist(), strict=True))
        out = network(x, int(timestep))
        x0 = (c["a_x"] * x + c["a_o"] * out).clamp(-table.clip, table.clip)
        if table.thresholding is not None:
            x0 = threshold64(x0, table.thresholding)
        eps = c["e_x"] * x + c["e_o"] * out
        x_next = c["c_x"] * x + c["c_x0"] * x0 + c["c_eps"] * eps
        x_next = x_next + c["c_prev"] * x0_prev + c["c_prev2"] * x0_prev2
        if c["c_noise"] != 0:
            x_next = x_next + c["c_noise"] * torch.randn(x.shape, generator=generator, dtype=drawn).double()
        x, x0_prev2, x0_prev = x_next, x0_prev, x0
    return x


def walk32(table: SamplerTable, network: Network, x: Tensor, generator: torch.Generator) -> Tensor:
    """The same through ``update``, as the service does it."""
    rows = torch.tensor(table.coefficients, dtype=torch.float32)
    clip = torch.full((len(x),), table.clip)
    thresholded = None if table.thresholding is None else torch.ones(len(x), dtype=torch.bool)
    x0_prev = x0_prev2 = torch.zeros_like(x)
    for index, timestep in enumerate(table.timesteps):
        noise = None
        out = network(x, int(timestep))
        if table.column("c_noise")[index] != 0:
            noise = torch.randn(x.shape, generator=generator)
        columns = rows[index].expand(len(x), -1)
        x, x0 = update(x, out, x0_prev, x0_prev2, noise, columns, clip, table.thresholding, thresholded)
        x0_prev2, x0_prev = x0_prev, x0
    return x


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference in units of the pictures' range, or of 1 if that is larger."""
    assert torch.isfinite(reference).all()
    assert torch.isfinite(ours).all()
    return float((ours - reference).abs().max() / reference.abs().max().clamp(min=1))


def next_after(timesteps: np.ndarray) -> list[int]:
    """The timestep that follows each one of a list; -1, the clean picture, after the last."""
    return [*timesteps.tolist()[1:], -1]
