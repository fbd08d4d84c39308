"""The denoising network: diffusers' UNet2DModel, with one class more than the data has for "no class"."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel

from models.errors import ModelError, TrainingError
from models.folder import load_model
from models.training.settings import Network


def check_size(network: Network, size: int) -> None:
    """Raise TrainingError unless pictures of `size` pixels can be halved at every level of the network."""
    unit = 2 ** (len(network.channels) - 1)
    if size % unit or size < 2 * unit:
        raise TrainingError(f"this network needs a picture size that is a multiple of {unit}, not {size}")


def build_network(network: Network, size: int, classes: int) -> Any:
    """A UNet2DModel for (N, 3, size, size) pictures.

    With classes it takes labels 0 … `classes`, where `classes` itself is the null label of classifier-free
    guidance (Ho and Salimans 2022). Without classes (0) it takes none.
    """
    check_size(network, size)
    down = ["AttnDownBlock2D" if attends else "DownBlock2D" for attends in network.attention]
    up = ["AttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(network.attention)]
    return UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        layers_per_block=network.layers,
        block_out_channels=network.channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        attention_head_dim=network.head_dim,
        norm_num_groups=network.norm_groups,
        dropout=network.dropout,
        num_class_embeds=classes + 1 if classes else None,
    )


def start_from(network: Any, folder: str) -> None:
    """Take the weights of a trained model, of the same shape, as the first ones; what it predicts may differ.

    Raises TrainingError where there is no such model or its network has another shape.
    """
    try:
        trained = load_model(Path(folder)).network
        network.load_state_dict(trained.state_dict())
    except (ModelError, RuntimeError) as error:
        raise TrainingError(f"--init {folder} cannot be used: {error}") from error


@contextmanager
def convolutions_tried_out() -> Iterator[None]:
    """Let cuDNN time its convolutions on the first pictures and take the fastest; without a GPU nothing changes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def compiled(network: Any, try_out: Callable[[Any], object]) -> tuple[Any, str]:
    """torch.compile's network and a clause about it, such as "compiled in 63 s".

    `try_out` runs an update with it, so that it is compiled before the clock of the budget starts. Where that
    fails, the network is given back as it is, and the clause says why.
    """
    started = time.monotonic()
    torch.compiler.reset()  # networks compiled before in this process count against this one
    found = torch.compile(network)
    try:
        try_out(found)
    except RuntimeError as error:  # what the compiler raises, whatever was missing
        return network, f"not compiled: {str(error).strip().partition(chr(10))[0]}"
    return found, f"compiled in {time.monotonic() - started:.0f} s"
