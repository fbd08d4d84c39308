"""A caller's picture, made into what the model can start from: its size, upright, RGB, as a PNG.

The picture is a stranger's. What it is, and how large, is read from its first bytes before anything is decoded.
"""

import asyncio
import base64
import binascii
import io
import re
import struct
from dataclasses import dataclass

from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from jobs.errors import Refusal, RequestRefused

POINTER = "/init_image"
MAX_PIXELS = 4 * 1024 * 1024
MAX_JPEG_SCANS = 100
"""A progressive JPEG is decoded once a scan, and a scan may be a few bytes long."""
AT_ONCE = 2
"""Pictures that are decoded at the same time."""
PREFIX = "data:image/png;base64,"

_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_START_OF_SCAN = b"\xff\xda"


@dataclass(frozen=True)
class Size:
    """Pixels across and down."""

    width: int
    height: int


class PictureFitter:
    """Fits pictures in threads, a few at a time."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)

    async def fit(self, uri: str, size: Size) -> str:
        """The picture of a data URI at `size`, as a data URI. Raises `RequestRefused`."""
        async with self._places:
            return await asyncio.to_thread(fitted, uri, size)


def fitted(uri: str, size: Size) -> str:
    """The picture of a data URI, cropped about its middle and scaled to `size`, as the data URI of a PNG.

    One that has come out of this stays as it is. Raises `RequestRefused`.
    """
    raw = _bytes_of(uri)
    try:
        with _opened(raw) as image:
            _require_few_pixels(image.size)
            image.load()
            picture = _plain(image)
    except RequestRefused:
        raise
    except Exception as error:  # noqa: BLE001  # decoders raise whatever broken bytes provoke
        raise _refused("broken_image", f"the picture cannot be decoded: {_reason(error)}") from None
    if picture.size != (size.width, size.height):
        picture = ImageOps.fit(picture, (size.width, size.height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return PREFIX + base64.b64encode(buffer.getvalue()).decode()


def _bytes_of(uri: str) -> bytes:
    head = _HEAD.match(uri)
    if head is None:
        raise _refused("not_a_data_uri", "must be a data URI in base64, as data:image/png;base64,iVBORw0…")
    try:
        return base64.b64decode(uri[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        detail = "what follows the comma is not base64 (RFC 4648, section 4), padded and without blanks"
        raise _refused("not_base64", detail) from None


def _opened(raw: bytes) -> ImageFile:
    """The picture, its header read. What it says of itself in the data URI counts for nothing."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile(io.BytesIO(raw))
    if raw.startswith(b"\xff\xd8\xff"):
        if raw.count(_START_OF_SCAN) > MAX_JPEG_SCANS:
            raise _refused("broken_image", f"a JPEG of more than {MAX_JPEG_SCANS} scans is not decoded")
        return JpegImageFile(io.BytesIO(raw))
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        # Opening one makes room for all of it, so its size must be known before.
        _require_few_pixels(_size_of_webp(raw))
        return WebPImageFile(io.BytesIO(raw))
    raise _refused("not_an_image", "the bytes are no PNG, JPEG or WebP")


def _size_of_webp(raw: bytes) -> tuple[int, int]:
    """Pixels across and down of a WebP (RFC 9649, section 2)."""
    kind = raw[12:16]
    if kind == b"VP8X":
        across, down = raw[24:27], raw[27:30]
        return int.from_bytes(across, "little") + 1, int.from_bytes(down, "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", raw, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", raw, 26)
    return width & 0x3FFF, height & 0x3FFF


def _require_few_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        detail = f"the picture is {width} × {height}; it may have 4 megapixels ({MAX_PIXELS} pixels)"
        raise _refused("too_many_pixels", detail)


def _plain(image: Image.Image) -> Image.Image:
    """The first frame as RGB, turned as EXIF says, on white where it is see-through."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel; Pillow would cut, not scale
        upright = upright.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if upright.has_transparency_data:
        see_through = upright.convert("RGBA")
        white = Image.new("RGBA", see_through.size, "white")
        return Image.alpha_composite(white, see_through).convert("RGB")
    return upright.convert("RGB")


def _refused(code: str, detail: str) -> RequestRefused:
    return RequestRefused(Refusal(POINTER, code, detail))


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
