"""A row: one image of a job on its way through the batch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowRequest:
    """What it takes to make one image; plain values, so that it travels between processes.

    `key` names the execution of the job that the row belongs to, `index` its place among the job's images.
    `init_image` is a data URI of a PNG of the model's size, from which the last `walked_steps` of the steps are
    taken, None for all of them; `seed_to` a second static, `seed_mix` how far towards it the row starts.
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
    seed_to: int | None = None
    seed_mix: float | None = None
    init_image: str | None = None
    walked_steps: int | None = None
    animate: bool = False
    """Whether the sample is kept now and then on its way, for `RowDone.frames`."""

    @property
    def places(self) -> int:
        """Places in a forward pass: a guided row takes two, with its label and with the null label."""
        return 2 if self.guidance_scale != 1.0 else 1


@dataclass(frozen=True)
class RowDone:
    """A finished image: `pixels` is height × width × channels uint8, row-major.

    `frames` is empty, or at most 24 pictures of that size one after the other: the sample on its way, from where
    it started to `pixels`.
    """

    key: str
    index: int
    pixels: bytes
    frames: bytes = b""


@dataclass(frozen=True)
class RowFailed:
    """A row that could not be finished; its neighbours are not touched."""

    key: str
    index: int
    code: str
    detail: str


@dataclass(frozen=True)
class Preview:
    """What a row would be if its last evaluation were right: x0 as pixels, like those of `RowDone`.

    `completed` counts the row's evaluations so far, in places.
    """

    key: str
    index: int
    pixels: bytes
    completed: int
