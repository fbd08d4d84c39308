"""Signed URLs: a link opens one path for reading, for a while, so that <img> and EventSource need no header."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from app.problems import Problem

_PURPOSE = "unfog signed url 1"
"""In every signature, so that one made with the same secret for something else is none here."""
_STEPS = 10
"""A link keeps its text for a tenth of its life: a page that asks again finds its pictures in its cache."""


class UrlSigner:
    """Signs paths of this service and tells whose a signed path is. `now` is the Unix time."""

    def __init__(self, secret: str, lifetime_s: int, now: Callable[[], float] = time.time) -> None:
        assert secret
        self._secret, self._lifetime_s, self._now = secret.encode(), lifetime_s, now

    def sign(self, path: str, caller: str) -> str:
        """The path with a query by which it is read as `caller`, for nine tenths of the lifetime or longer."""
        step_s = max(1, self._lifetime_s // _STEPS)
        expires = str((int(self._now()) + self._lifetime_s) // step_s * step_s)
        signature = self._signature(path, expires, caller)
        return f"{path}?{urlencode({'caller': caller, 'expires': expires, 'signature': signature})}"

    def caller_of(self, path: str, query: QueryParams) -> str:
        """Who signed this path with this query. Raises `Problem`: 403 forged, 401 expired."""
        caller, expires, signature = (_only(query, name) for name in ("caller", "expires", "signature"))
        # A line each, and the last two hold no line break: two paths cannot sign alike.
        fits = expires.isascii() and expires.isdecimal() and len(expires) <= 15 and caller.isprintable()
        expected = self._signature(path, expires, caller)
        if not hmac.compare_digest(signature.encode(), expected.encode()) or not fits:
            detail = "the signature of this link does not fit it; links are good as they were given out, unchanged"
            raise Problem(HTTPStatus.FORBIDDEN, "signature_invalid", detail)
        if int(expires) <= self._now():
            detail = "this link has expired; read the job again for new links, or send a key"
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "signature_expired", detail, headers={"WWW-Authenticate": "Bearer"}
            )
        return caller

    def _signature(self, path: str, expires: str, caller: str) -> str:
        text = "\n".join((_PURPOSE, path, expires, caller))
        mac = hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _only(query: QueryParams, name: str) -> str:
    """The value of a parameter that stands there once; else nothing, which fits no signature."""
    values = query.getlist(name)
    return values[0] if len(values) == 1 else ""
