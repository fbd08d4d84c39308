"""Finished pictures as an answer: one as it is, several as a grid."""

import asyncio
import io
import math

from fastapi import Response
from PIL import Image

from jobs.record import JobRecord
from jobs.store import JobStore


def grid(pngs: list[bytes]) -> bytes:
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


async def picture_response(store: JobStore, record: JobRecord) -> Response:
    """The pictures of a job that has succeeded, as one PNG."""
    pictures = record.meta.pictures
    pngs = [await store.picture(picture) for picture in pictures]
    body = pngs[0] if len(pngs) == 1 else await asyncio.to_thread(grid, pngs)
    headers = {"ETag": f'"{pictures[0].sha256}"'} if len(pngs) == 1 else {}
    return Response(body, media_type="image/png", headers=headers)
