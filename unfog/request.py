"""What can be asked for: the fields of a request, named as the service names them."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from unfog.errors import WrongArgument

MAX_INIT_IMAGE_BYTES = 5_000_000
"""The service takes 7 million characters of base64, and its own limit on a body may be lower."""

_STARTS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class Fields(TypedDict, total=False):
    """The fields of a request; None is as good as left out. `n` is another name for num_images.

    init_image: a data URI, the bytes of a PNG, JPEG or WebP, or the path of such a file.
    """

    model: str | None
    sampler: str | None
    steps: int | None
    num_inference_steps: int | None
    num_images: int | None
    n: int | None
    seed: int | None
    class_label: str | int | None
    guidance_scale: float | None
    eta: float | None
    timestep_spacing: Literal["leading", "trailing", "linspace", "quadratic"] | None
    scale: int | None
    ttl_s: int | None
    priority: Literal["normal", "low"] | None
    metadata: Mapping[str, str] | None
    init_image: str | bytes | Path | None
    strength: float | None
    seed_to: int | None
    seed_mix: float | None
    preview: bool | None
    animation: bool | None
    cancel_on_disconnect: bool | None
    webhook_url: str | None


def body_of(fields: Fields) -> dict[str, Any]:
    """The body of a request. Raises `TypeError` for a name that is no field, `WrongArgument`, `OSError`.

    Whether the values are allowed is the service's to say.
    """
    for name in fields:
        if name not in Fields.__annotations__:
            raise TypeError(f"there is no field {name!r}; the fields are {', '.join(Fields.__annotations__)}")
    body = {name: value for name, value in fields.items() if value is not None}
    if "n" in body:
        if "num_images" in body:
            raise WrongArgument("n and num_images are two names of one field; give only one")
        body["num_images"] = body.pop("n")
    picture = body.get("init_image")
    if isinstance(picture, bytes | Path):
        body["init_image"] = data_uri(picture)
    if "metadata" in body:
        body["metadata"] = dict(fields["metadata"] or {})
    return body


def data_uri(picture: bytes | Path) -> str:
    """A picture as the service takes it. Raises `WrongArgument` for what is none, or too large, and `OSError`."""
    if isinstance(picture, Path):
        size = picture.stat().st_size
        name = str(picture)
    else:
        size, name = len(picture), "init_image"
    if size > MAX_INIT_IMAGE_BYTES:
        raise WrongArgument(f"{name} has {size} bytes; at most {MAX_INIT_IMAGE_BYTES} can be sent, make it smaller")
    content = picture.read_bytes() if isinstance(picture, Path) else picture
    media_type = next((kind for start, kind in _STARTS.items() if content.startswith(start)), None)
    if media_type is None:
        raise WrongArgument(f"{name} is neither PNG, JPEG nor WebP")
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
