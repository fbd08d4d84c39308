"""`/docs`: the description of the API to read and to try, by Swagger UI as it lies in its package."""

from functools import partial
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from app.answers import ASK_EACH_TIME, tagged_answer
from app.openapi30 import in_30

ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and neither scripts nor styles in the page itself."""

router = APIRouter(prefix="/docs", include_in_schema=False)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Unfog: the API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "docs/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


@router.get("")
async def read_docs() -> Response:
    """The page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/openapi.json")
async def read_description(request: Request) -> Response:
    """What the page shows."""
    return JSONResponse(in_30(request.app.openapi()))


@router.get("/start.js")
async def read_start() -> Response:
    """What starts the page."""
    return Response(_START, media_type="text/javascript", headers=ASK_EACH_TIME)


@router.get("/{name}")
async def read_asset(name: str, request: Request) -> Response:
    """A file of Swagger UI."""
    if name not in ASSETS:
        raise HTTPException(404)
    path = Path(str(swagger_ui_path)) / name
    tag = f'W/"{swagger_ui_path.name}"'  # its version; the files never change
    content = partial(run_in_threadpool, path.read_bytes)
    return await tagged_answer(request, tag, ASSETS[name], content, ASK_EACH_TIME)
