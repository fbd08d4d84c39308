"""A row: one image of a job on its way through the batch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowRequest:
    """What it takes to make one image; plain values, so that it travels between processes.

    `key` names the execution of the job that the row belongs to, `index` its place among the job's images.
    """

    key: str
    index: int
    model: str
    sampler: str
    steps: int
    eta: float
    timestep_spacing: str
    seed: int
    class_label: int | None
    guidance_scale: float

    @property
    def places(self) -> int:
        """Places in a forward pass: a guided row takes two, with its label and with the null label."""
        return 2 if self.guidance_scale != 1.0 else 1


@dataclass(frozen=True)
class RowDone:
    """A finished image: `pixels` is height × width × channels uint8, row-major."""

    key: str
    index: int
    pixels: bytes


@dataclass(frozen=True)
class RowFailed:
    """A row that could not be finished; its neighbours are not touched."""

    key: str
    index: int
    code: str
    detail: str
