"""Checkpoints: one safetensors file with the numbers, and JSON in its header for the rest.

A checkpoint is written beside its place, flushed to the disk and renamed, so that a kill at any moment leaves
the old one or the new one, whole. Nothing in it can run code when it is read.
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import TrainingError


@contextmanager
def disk_full_said(out: Path) -> Iterator[None]:
    """Turn "no space left", from whichever library, into a TrainingError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) != errno.ENOSPC and "No space left" not in str(error):
            raise
        raise TrainingError(
            f"the disk that holds {out} is full; free some space and give the same command again: "
            "it goes on from the last checkpoint"
        ) from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, flush it to the disk, and give it the name `path`."""
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors makes files that only their owner can read
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and JSON state in one atomic step."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"state": json.dumps(state)}
    replace_file(path, lambda part: save_file(whole, part, metadata=metadata))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save_checkpoint` wrote. Raises TrainingError if the file is not a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
        return load_file(path), state
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is not a checkpoint of this project; remove it to start anew") from error
