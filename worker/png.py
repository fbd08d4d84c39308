"""Pixels to PNG: scaled with hard edges, and with every parameter needed to make the picture again."""

import hashlib
import io
import json
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.spec import JobSpec

TEXT_KEY = "unfog"


@dataclass(frozen=True)
class Encoded:
    """One PNG and what is said of it. No job id, time or host is inside: equal pictures are equal bytes."""

    png: bytes
    sha256: str
    width: int
    height: int


def parameters(spec: JobSpec, index: int, engine: str) -> dict[str, object]:
    """What it takes to make image `index` again, byte for byte; the fields of a request and two fingerprints."""
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
    }


def encode(pixels: bytes, height: int, width: int, spec: JobSpec, index: int, engine: str) -> Encoded:
    """Encode height × width uint8 pixels, RGB or grey by their number, each scale × scale large.

    Raises `ValueError` when the number of bytes fits neither.
    """
    mode = {3: "RGB", 1: "L"}.get(len(pixels) // (height * width))
    if mode is None or len(pixels) % (height * width):
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
