"""Layers that compute the same bits for few rows as for many, so that few rows need no large batch around them.

In strict mode a batch size whose bits differ is not used, and fewer rows are padded to the next size that is. On a
CPU it is two kinds of layer that differ, both cheap: a matrix library takes another path for a matrix of few rows,
which the layers after the timestep's embedding meet, and a normalization whose rows do not divide among the threads
adds up a row's numbers in two parts. These are padded by themselves. Whether that is enough is measured when the
worker starts, as ever (`worker.ladder.check_invariance`).
"""

import torch
from torch import Tensor, nn

from worker.layers import put_instead, shapes_met


class Padded(nn.Module):
    """A layer (B, …) → (B, …) that is given a multiple of `step` rows, or `most`; the first row fills up."""

    def __init__(self, layer: nn.Module, step: int, most: int) -> None:
        super().__init__()
        self.layer = layer
        self._step, self._most = step, most

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, but for the last bits."""
        rows = len(x)
        missing = min(-rows % self._step, self._most - rows)
        # Views of the row, not one that is expanded: the memory format stays what it was, and so does the kernel.
        out: Tensor = self.layer(torch.cat([x, *[x[:1]] * missing]) if missing > 0 else x)
        return out[:rows]


@torch.inference_mode()
def pad(network: nn.Module, x: Tensor, timesteps: Tensor, labels: Tensor | None) -> None:
    """Pad these layers of a network on the CPU; the inputs have as many rows as the largest batch."""
    most, threads = len(x), torch.get_num_threads()
    met = shapes_met(network, (x, timesteps, labels))
    padded: dict[nn.Module, nn.Module] = {}
    for layer, shape in met.items():
        # A product with a line for each pixel, not for each row, has many lines in any case.
        if isinstance(layer, nn.Linear) and len(shape) == 2:
            padded[layer] = Padded(layer, most, most)
        elif isinstance(layer, nn.GroupNorm):
            padded[layer] = Padded(layer, threads, most)
    put_instead(network, padded)
