"""Finished pictures as one: the only one as it is, several as a grid."""

import asyncio
import hashlib
import io
import math
from collections.abc import Sequence

from PIL import Image

from jobs.record import Picture
from jobs.store import JobStore


def grid(pngs: Sequence[bytes]) -> bytes:
    """Pictures of equal size side by side, as near a square as they go, row by row, as one PNG."""
    tiles = [Image.open(io.BytesIO(png)) for png in pngs]
    width, height = tiles[0].size
    across = math.ceil(math.sqrt(len(tiles)))
    sheet = Image.new(tiles[0].mode, (across * width, math.ceil(len(tiles) / across) * height))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % across * width, n // across * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def sheet_tag(pictures: Sequence[Picture]) -> str:
    """The entity tag of the sheet: the picture's own hash, or a hash of all of theirs."""
    if len(pictures) == 1:
        return f'"{pictures[0].sha256}"'
    together = " ".join(picture.sha256 for picture in pictures)
    return f'"{hashlib.sha256(together.encode()).hexdigest()}"'


async def sheet_of(store: JobStore, pictures: Sequence[Picture]) -> bytes:
    """The pictures of a job as one PNG. Raises `JobNotFound` when they have expired, and `ResultsAway`."""
    pngs = await asyncio.gather(*(store.picture(picture) for picture in pictures))
    return pngs[0] if len(pngs) == 1 else await asyncio.to_thread(grid, pngs)
