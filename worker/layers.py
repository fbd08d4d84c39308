"""Taking layers of a network out and putting others in their places."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn


def shapes_met(network: nn.Module, inputs: tuple[Tensor, Tensor, Tensor | None]) -> dict[nn.Module, torch.Size]:
    """The shape of the last input of each layer that has no layers in it, by a pass with (x, timesteps, labels)."""
    shapes: dict[nn.Module, torch.Size] = {}
    leaves = [one for one in network.modules() if not any(one.children())]
    hooks = [one.register_forward_pre_hook(partial(_note, shapes)) for one in leaves]
    x, timesteps, labels = inputs
    network(x, timesteps, class_labels=labels, return_dict=False)
    for hook in hooks:
        hook.remove()
    return shapes


def put_instead(network: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put the values of `new` where its keys are, wherever in the network they are."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in new:
                setattr(parent, name, new[child])


def _note(shapes: dict[nn.Module, torch.Size], module: nn.Module, inputs: tuple[object, ...]) -> None:
    if inputs and isinstance(inputs[0], Tensor):
        shapes[module] = inputs[0].shape
