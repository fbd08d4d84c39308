"""Convolutions whose weights are laid out for oneDNN once, and not again by every call.

torch keeps a convolution's weights as they were trained, and its CPU kernels bring them into blocks each time. Laid
out beforehand, for the size of input that they will meet, they save about a sixth of a forward pass; it is what
torch's own compiler does with frozen weights, without a compiler.
"""

import torch
from torch import Tensor, nn

from worker.layers import put_instead, shapes_met


class PackedConvolution(nn.Module):
    """A Conv2d for inputs (B, C, H, W) float32 like the one of `shape`; other sizes of input work as well.

    A single row has a layout of its own: oneDNN splits one picture among its threads otherwise than many, and
    bringing the weights from one layout into the other costs as much as the convolution. Both give equal bits.
    """

    def __init__(self, original: nn.Conv2d, shape: torch.Size) -> None:
        super().__init__()
        self.original = original
        sizes = [list(size) for size in (original.padding, original.stride, original.dilation)]
        self._how = (*sizes, original.groups)
        self._bias = None if original.bias is None else original.bias.detach()
        self._for_many = self._laid_out(list(shape))
        self._for_one = self._laid_out([1, *shape[1:]])

    def _laid_out(self, shape: list[int]) -> Tensor:
        weight: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            self.original.weight.detach(), *self._how, shape
        )
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """As the original, but for the last bits."""
        weight = self._for_one if len(x) == 1 else self._for_many
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, self._bias, *self._how, "none", [], "")
        return out


@torch.inference_mode()
def pack(network: nn.Module, x: Tensor, timesteps: Tensor, labels: Tensor | None) -> None:
    """Replace the convolutions of a network on the CPU; the inputs are of the size that it will be used with most.

    Raises `RuntimeError` where this build of torch cannot; then nothing has changed.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        raise RuntimeError("this build of torch has no oneDNN")
    met = shapes_met(network, (x, timesteps, labels))
    packed: dict[nn.Module, nn.Module] = {
        one: PackedConvolution(one, shape)
        for one, shape in met.items()
        if isinstance(one, nn.Conv2d) and one.padding_mode == "zeros" and not isinstance(one.padding, str)
    }
    put_instead(network, packed)
