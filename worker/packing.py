"""Convolutions whose weights are laid out for oneDNN once, and not again by every call.

torch keeps a convolution's weights as they were trained, and its CPU kernels bring them into blocks each time. Laid
out beforehand, for the size of input that they will meet, they save about a sixth of a forward pass; it is what
torch's own compiler does with frozen weights, without a compiler.
"""

from functools import partial

import torch
from torch import Tensor, nn

LEAST_PACKED = 4
"""Smaller batches go by the original weights: oneDNN wants them otherwise, and laying them out back costs more."""


class PackedConvolution(nn.Module):
    """A Conv2d for inputs (B, C, H, W) float32 like the one of `shape`; other sizes of input work as well."""

    def __init__(self, original: nn.Conv2d, shape: torch.Size) -> None:
        super().__init__()
        self.original = original
        sizes = [list(size) for size in (original.padding, original.stride, original.dilation)]
        self._how = (*sizes, original.groups)
        self._bias = None if original.bias is None else original.bias.detach()
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self._weight: Tensor = reorder(original.weight.detach(), *self._how, list(shape))

    def forward(self, x: Tensor) -> Tensor:
        """As the original, but for the last bits."""
        if len(x) < LEAST_PACKED:
            out: Tensor = self.original(x)
        else:
            out = torch.ops.mkldnn._convolution_pointwise(x, self._weight, self._bias, *self._how, "none", [], "")
        return out


@torch.inference_mode()
def pack(network: nn.Module, x: Tensor, timesteps: Tensor, labels: Tensor | None) -> None:
    """Replace the convolutions of a network on the CPU; the inputs are of the size that it will be used with most.

    Raises `RuntimeError` where this build of torch cannot; then nothing has changed.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        raise RuntimeError("this build of torch has no oneDNN")
    shapes: dict[nn.Conv2d, torch.Size] = {}
    hooks = [one.register_forward_pre_hook(partial(_note, shapes)) for one in network.modules() if _packable(one)]
    network(x, timesteps, class_labels=labels, return_dict=False)
    for hook in hooks:
        hook.remove()
    packed = {one: PackedConvolution(one, shape) for one, shape in shapes.items()}
    for parent in [module for module in network.modules() if not isinstance(module, PackedConvolution)]:
        for name, child in list(parent.named_children()):
            if child in packed:
                setattr(parent, name, packed[child])


def _packable(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _note(shapes: dict[nn.Conv2d, torch.Size], module: nn.Conv2d, inputs: tuple[Tensor]) -> None:
    shapes[module] = inputs[0].shape
