"""Which methods a path takes, for `Allow` (RFC 9110, section 10.2.1)."""

from fastapi import Request
from starlette.routing import Match

METHODS = ("GET", "POST", "DELETE")


def allowed_methods(request: Request) -> str:
    """All of them, whichever routes they belong to. The framework names those of one route alone."""
    found = [method for method in METHODS if _is_taken(request, method)]
    if "GET" in found:
        found.insert(1, "HEAD")  # see `app.middleware.head`
    return ", ".join(found)


def _is_taken(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)
