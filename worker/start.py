"""Where a row starts: the static of its seed, a mix of two statics, or a picture drowned in one of them."""

import torch
from torch import Tensor

from models.errors import InvalidSampling
from models.folder import Description
from models.latents import drowned, slerp, starting_noise
from models.samplers import SamplerTable
from worker.init_image import decode
from worker.row import RowRequest


class Starts:
    """The starting samples of the rows of one model.

    The picture last decoded is kept, since the images of a job start from the same one.
    """

    def __init__(self, model: Description) -> None:
        self._model = model
        self._decoded: tuple[str, Tensor] | None = None

    def of(self, row: RowRequest, table: SamplerTable) -> tuple[Tensor, torch.Generator]:
        """The sample (C, H, W) float32 on the CPU where `table` starts, and the generator of all later draws.

        Raises `InvalidSampling`.
        """
        shape = self._model.channels, self._model.height, self._model.width
        start, generator = starting_noise(row.seed, *shape)
        if row.seed_to is not None:
            if row.seed_mix is None:
                raise InvalidSampling("seed_mix", "seed_to says where to, and seed_mix must say how far")
            towards, _ = starting_noise(row.seed_to, *shape)
            start = slerp(start, towards, row.seed_mix)
        if row.init_image is not None:
            start = drowned(self._picture(row.init_image), start, self._model.schedule, table)
        return start[0], generator

    def _picture(self, uri: str) -> Tensor:
        if self._decoded is None or self._decoded[0] != uri:
            self._decoded = uri, decode(uri, self._model.channels, self._model.height, self._model.width)
        return self._decoded[1]
