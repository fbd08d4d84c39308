"""`/`: the playground, a page that calls this API as any other client would. Its files are in `app/playground/`."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypedDict

from fastapi import APIRouter, FastAPI, Request, Response

from app.negotiation import has_already
from app.problems import Problem

FILES = Path(__file__).resolve().parent.parent / "playground"
PAGE = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page loads nothing from elsewhere, runs nothing that stands in it, and is nobody's frame."""


@dataclass(frozen=True)
class Asset:
    """One file as it is sent. tag: its ETag."""

    content: bytes
    media_type: str
    tag: str


class Held(TypedDict):
    """What the router keeps for its requests: the files by name, as they were at the start."""

    playground: Mapping[str, Asset]


def read_files(folder: Path) -> dict[str, Asset]:
    """The files of a folder that a browser may have, by name; what has another ending stays in."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = Asset(content, TYPES[path.suffix], tag)
    return found


@contextlib.asynccontextmanager
async def _holding(_: FastAPI) -> AsyncIterator[Held]:
    yield {"playground": read_files(FILES)}


router = APIRouter(lifespan=_holding, include_in_schema=False)  # pages for people are no part of the API


@router.get("/")
async def page(request: Request) -> Response:
    """The page itself."""
    return _sent(request, PAGE)


@router.get("/playground/{name}")
async def asset(name: str, request: Request) -> Response:
    """What the page is made of."""
    return _sent(request, name)


def _sent(request: Request, name: str) -> Response:
    files: Mapping[str, Asset] = request.state.playground
    if name not in files:
        raise Problem(
            HTTPStatus.NOT_FOUND, "not_found", f"the playground has no file {name[:64]!r}; it begins at /"
        )
    found = files[name]
    # The names never change, so a browser asks each time whether the content has.
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if has_already(request, found.tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
