"""Small engines for the tests: a toy network with no randomness of its own, real tables, a real pool."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.folder import Model
from models.noise_schedule import NoiseSchedule
from worker.engine import Engine
from worker.ladder import Ladder, every_size
from worker.row import RowDone, RowFailed, RowRequest

CPU = torch.device("cpu")
CLASSES = ("black", "white")


class ToyNetwork(torch.nn.Module):
    """Predicts noise from the sample, the timestep and the label, each row by itself, bit-equal in any batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.8), requires_grad=False)

    def forward(
        self, x: Tensor, timesteps: Tensor, class_labels: Tensor | None, return_dict: bool
    ) -> tuple[Tensor]:
        assert not return_dict
        assert class_labels is not None
        shift = (timesteps.float() / 1000 + class_labels.float() / 10).view(-1, 1, 1, 1)
        return (self.gain * x + 0.1 * shift,)


def toy_model(channels: int = 3) -> Model:
    """A class-conditional 4 × 4 model with a null label."""
    return Model(
        id="toy",
        folder=Path("toy"),
        schedule=NoiseSchedule.from_config({"timestep_spacing": "trailing"}),
        channels=channels,
        height=4,
        width=4,
        class_names=CLASSES,
        null_class=2,
        default_sampler="ddim",
        default_steps=10,
        default_guidance_scale=1.0,
        fingerprint="toy",
        network=ToyNetwork(),
    )


def toy_engine(capacity: int = 8, pool_rows: int = 16, ladder: Ladder | None = None, channels: int = 3) -> Engine:
    """An engine over the toy network."""
    model = toy_model(channels)

    def forward(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        out: Tensor = model.network(x, timesteps, labels, return_dict=False)[0]
        return out

    return Engine(model, forward, ladder or every_size(capacity), pool_rows, CPU)


def row(key: str = "job", index: int = 0, **choices: object) -> RowRequest:
    """A row with defaults."""
    values: dict[str, object] = {
        "key": key,
        "index": index,
        "model": "toy",
        "sampler": "ddim",
        "steps": 10,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "seed": 7,
        "class_label": 0,
        "guidance_scale": 1.0,
    }
    return RowRequest(**(values | choices))  # type: ignore[arg-type]


def png_of(size: tuple[int, int] = (4, 4), mode: str = "RGB", seed: int = 0) -> bytes:
    """A PNG of some colours, (width, height) large."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def uri_of(png: bytes) -> str:
    """A PNG as jobs carry it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def run(engine: Engine, limit: int = 5000) -> list[RowDone | RowFailed]:
    """Tick until nothing is left to do."""
    left: list[RowDone | RowFailed] = []
    for _ in range(limit):
        if engine.idle:
            return left
        left.extend(engine.tick().left)
    raise AssertionError("the engine did not come to an end")


def alone(request: RowRequest, **kwargs: object) -> bytes:
    """The pixels of a row that has an engine for itself."""
    engine = toy_engine(**kwargs)  # type: ignore[arg-type]
    engine.add([request])
    (only,) = run(engine)
    assert isinstance(only, RowDone)
    return only.pixels


def image(pixels: bytes) -> np.ndarray:
    """Pixels as an array (4, 4, 3)."""
    return np.frombuffer(pixels, dtype=np.uint8).reshape(4, 4, 3)
