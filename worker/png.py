"""Pixels to PNG: scaled with hard edges, and with every parameter needed to make the picture again."""

import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.spec import JobSpec
from models.animation import animate

TEXT_KEY = "unfog"
ANIMATION_SIDE = 1024
"""Pixels that scaling may bring an animation to: two dozen sheets of it take about a second to encode."""


@dataclass(frozen=True)
class Encoded:
    """One PNG and what is said of it. No job id, time or host is inside: equal pictures are equal bytes."""

    png: bytes
    sha256: str
    width: int
    height: int


def parameters(spec: JobSpec, index: int, engine: str) -> dict[str, object]:
    """What it takes to make image `index` again, byte for byte; the fields of a request and two fingerprints.

    A picture or a second seed to start from is only there if there was one.
    """
    start = {
        "init_image": spec.init_image,
        "strength": spec.strength,
        "seed_to": spec.image_seed_to(index),
        "seed_mix": spec.seed_mix,
    }
    return {
        "model": spec.model,
        "model_fingerprint": spec.model_fingerprint,
        "engine": engine,
        "sampler": spec.sampler,
        "steps": spec.steps,
        "seed": spec.image_seed(index),
        "class_label": spec.class_names[index] if spec.class_names else None,
        "guidance_scale": spec.guidance_scale,
        "eta": spec.eta,
        "timestep_spacing": spec.timestep_spacing,
        "scale": spec.scale,
        **{name: value for name, value in start.items() if value is not None},
    }


def encode(pixels: bytes, height: int, width: int, spec: JobSpec, index: int, engine: str) -> Encoded:
    """Encode height × width uint8 pixels, RGB or grey by their number, each scale × scale large.

    Raises `ValueError` when the number of bytes fits neither.
    """
    mode = {3 * height * width: "RGB", height * width: "L"}.get(len(pixels))
    if mode is None:
        raise ValueError(f"{len(pixels)} bytes are no RGB or grey picture of {width} × {height}")
    image = Image.frombytes(mode, (width, height), pixels)
    if spec.scale > 1:
        image = image.resize((width * spec.scale, height * spec.scale), Image.Resampling.NEAREST)
    text = PngInfo()
    text.add_text(TEXT_KEY, json.dumps(parameters(spec, index, engine), separators=(",", ":")))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    png = buffer.getvalue()
    return Encoded(png, hashlib.sha256(png).hexdigest(), image.width, image.height)


def animation(frames: Sequence[bytes], height: int, width: int, channels: int, scale: int) -> bytes:
    """The denoising of all images of a job as one animated PNG: side by side, as near a square as they go.

    `frames` has the `RowDone.frames` of each image, in order, equally many for each. Every pixel becomes
    scale × scale pixels, or as many as the longer side has room for in `ANIMATION_SIDE`. Takes up to some
    seconds, most of them outside Python. Raises `ValueError` when the frames are none or do not fit together.
    """
    size = height * width * channels
    if channels not in (1, 3) or not frames or not frames[0] or len(frames[0]) % size:
        raise ValueError(f"there are no frames of {width} × {height} pixels and {channels} channels")
    if len({len(each) for each in frames}) > 1:
        raise ValueError("the images of a job have equally many frames")
    tiles = [np.frombuffer(each, dtype=np.uint8).reshape(-1, height, width, channels) for each in frames]
    across = math.ceil(math.sqrt(len(tiles)))
    down = math.ceil(len(tiles) / across)
    sheets = np.zeros((len(tiles[0]), down * height, across * width, channels), dtype=np.uint8)
    for n, tile in enumerate(tiles):
        top, left = n // across * height, n % across * width
        sheets[:, top : top + height, left : left + width] = tile
    if channels == 1:
        sheets = sheets[..., 0]
    most = ANIMATION_SIDE // max(down * height, across * width)
    scale = max(1, min(scale, most))
    return animate([sheet.repeat(scale, axis=0).repeat(scale, axis=1) for sheet in sheets])
