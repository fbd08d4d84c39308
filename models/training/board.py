"""Curves and sample sheets for TensorBoard."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes event files into a folder; a resumed run hides what the killed one wrote past its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step or None)

    def scalars(self, step: int, **values: float) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, image: Image.Image) -> None:
        self._writer.add_image("samples", np.asarray(image), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
