"""The picture that image-to-image starts from: a data URI, decoded and checked against the model."""

import base64
import binascii
import io

from PIL import Image
from torch import Tensor

from models.errors import InvalidSampling
from models.latents import from_image

PREFIX = "data:image/png;base64,"


def decode(uri: str, channels: int, height: int, width: int) -> Tensor:
    """The picture of a data URI, a PNG of exactly height × width pixels: float32 (1, C, H, W) in [-1, 1].

    Raises `InvalidSampling` when it is none.
    """
    if not uri.startswith(PREFIX):
        raise InvalidSampling("init_image", f"init_image must begin with {PREFIX}")
    try:
        png = base64.b64decode(uri[len(PREFIX) :], validate=True)
    except binascii.Error as error:
        raise InvalidSampling("init_image", f"init_image is no base64: {error}") from error
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
    except Exception as error:
        raise InvalidSampling("init_image", f"init_image is no PNG: {error}") from error
    if image.size != (width, height):
        size = f"{image.width} × {image.height}"
        raise InvalidSampling(
            "init_image", f"init_image is {size} pixels, the model's pictures are {width} × {height}"
        )
    try:
        return from_image(image, height, width, channels)
    except InvalidSampling:
        raise
    except Exception as error:
        raise InvalidSampling("init_image", f"init_image cannot be decoded: {error}") from error
