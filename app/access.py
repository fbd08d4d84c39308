"""Who calls, and what they may do: by API key, by signed URL, or as anybody where no key is needed."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from app.problems import Problem
from app.signed_urls import UrlSigner
from jobs.api_keys import SCOPES, KeyRefused, Keyring, Scope
from jobs.connection import REDIS_DOWN
from jobs.settings import Settings
from jobs.spec import ANONYMOUS

BEARER = HTTPBearer(
    scheme_name="key",
    description="An API key, `unfog_…`. Needed once the operator has made one.",
    auto_error=False,
)
"""For OpenAPI alone; `Access` reads the header itself, and says what is wrong with it."""
MAX_AUTHORIZATION = 512
"""Characters of an Authorization header; a key has 62."""


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request. `rate_key` is whom rate limits count: a caller, or an address without a name."""

    name: str
    scopes: frozenset[Scope]
    rate_key: str

    @property
    def reach(self) -> str | None:
        """Whose jobs they may touch: their own; None for anybody's."""
        return None if "admin" in self.scopes else self.name

    def require(self, scope: Scope) -> None:
        """Raise `Problem` unless they may: 403, or 401 for one who might if they sent a key."""
        if scope in self.scopes:
            return
        if self.name == ANONYMOUS:
            raise _unauthorized("key_required", f"this takes a key with the scope {scope}; {_HOW}")
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "scope_missing",
            f"this takes the scope {scope}, and the key of {self.name} has only {', '.join(sorted(self.scopes))}",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


class Access:
    """Tells who sends a request. Reads headers and the query, never the body."""

    def __init__(self, settings: Settings, keyring: Keyring, signer: UrlSigner | None) -> None:
        self._settings, self._keyring, self._signer = settings, keyring, signer
        # Keyless callers stay out of a service that others can reach though there is no key: the keys of a Redis
        # that lost its data must not be missed by letting everybody in.
        self._closed = not is_loopback(settings.host) and not settings.allow_anonymous
        self._own_names = ("", _host_name(urlsplit(settings.public_url).netloc))

    async def caller(self, request: HTTPConnection) -> Caller:
        """The caller by their Authorization header. Raises `Problem` 401."""
        address = _rate_key(request)
        if not await self._keyring.any_key() and not self._closed:
            self._refuse_foreign_name(request)
            return Caller(ANONYMOUS, frozenset(SCOPES), address)
        token = _bearer(request)
        if token is None:
            if not self._settings.allow_anonymous:
                raise _unauthorized("key_required", f"this service takes calls with a key only; {_HOW}")
            return Caller(ANONYMOUS, frozenset({"submit", "read"}), address)
        try:
            key = await self._keyring.open(token)
        except KeyRefused as error:
            raise _unauthorized(error.code, error.detail, challenge='Bearer error="invalid_token"') from None
        return Caller(key.name, frozenset(key.scopes), key.name)

    async def viewer(self, request: HTTPConnection) -> Caller:
        """As `caller`, and a signed URL serves in place of a key. For reading what its path names, no more."""
        signed = "signature" in request.query_params and "authorization" not in request.headers
        if self._signer is None or not signed or request.scope["method"] not in ("GET", "HEAD"):
            return await self.caller(request)
        name = self._signer.caller_of(request.scope["path"], request.query_params)
        return Caller(name, frozenset({"read"}), name)

    async def overseer(self, request: HTTPConnection) -> Caller:
        """As `caller`; but a service without keys, as far as it knows, says how it does while Redis is away too."""
        try:
            return await self.caller(request)
        except REDIS_DOWN:
            if self._closed or self._keyring.had_key:
                raise
            return Caller(ANONYMOUS, frozenset({"admin"}), _rate_key(request))

    def _refuse_foreign_name(self, request: HTTPConnection) -> None:
        """Raise `Problem` for a call by a public name to a service that is meant for this machine alone.

        A web page can point a name of its own at 127.0.0.1 (DNS rebinding) and so read, as its own, what a browser
        on this machine may read. Addresses, and names without a dot, are in nobody's power.
        """
        if self._settings.allow_anonymous:
            return
        name = _host_name(request.headers.get("host", ""))
        if name in self._own_names or "." not in name or name.endswith(".localhost"):
            return
        try:
            ipaddress.ip_address(name)
        except ValueError:
            detail = (
                f"this service has no keys and so answers on this machine only, not as {name}; make a key with "
                "`unfog keys create NAME`, or set UNFOG_ALLOW_ANONYMOUS=true to let everybody in"
            )
            raise Problem(HTTPStatus.FORBIDDEN, "host_refused", detail) from None


def signer_of(settings: Settings) -> UrlSigner | None:
    """What signs URLs, if the operator has set a secret for it."""
    secret = settings.url_secret.get_secret_value()
    return UrlSigner(secret, settings.signed_url_s) if secret else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(netloc: str) -> str:
    """The name or address in `name:port`, lower case."""
    name = netloc[1:].partition("]")[0] if netloc.startswith("[") else netloc.partition(":")[0]
    return name.lower().removesuffix(".")


_HOW = "send it as `Authorization: Bearer unfog_…`"


def _unauthorized(code: str, detail: str, challenge: str = "Bearer") -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": challenge})


def _bearer(request: HTTPConnection) -> str | None:
    """The token of the one Authorization header; None without one. Raises `Problem` 401 for anything else."""
    sent = request.headers.getlist("authorization")
    if not sent:
        return None
    reason = ""
    if len(sent) > 1:
        reason = f"there are {len(sent)} Authorization headers, send one"
    elif len(sent[0]) > MAX_AUTHORIZATION:
        reason = f"the Authorization header is longer than {MAX_AUTHORIZATION} characters"
    elif not sent[0].isascii() or not sent[0].isprintable():
        reason = "the Authorization header has characters that no key has"
    elif sent[0].partition(" ")[0].lower() != "bearer":
        reason = "the Authorization header is not of the scheme Bearer"
    elif not sent[0].partition(" ")[2].strip():
        reason = "the Authorization header has no key after Bearer"
    if reason:
        raise _unauthorized("authorization_malformed", f"{reason}; {_HOW}")
    return sent[0].partition(" ")[2].strip()


def _rate_key(request: HTTPConnection) -> str:
    """An address as rate limits count it. No name of a caller has a colon in it."""
    return _address_key(request.client.host if request.client else "unknown")


@lru_cache(maxsize=1024)  # for every call, and mostly the same few
def _address_key(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address:{host}"
    if address.version == 4:
        return f"address:{address}"
    if address.ipv4_mapped is not None:
        return f"address:{address.ipv4_mapped}"
    # One line of an ordinary subscriber has 2⁶⁴ addresses.
    return f"address:{ipaddress.ip_network((address, 64), strict=False)}"
