"""Where the service is, and the key that opens it."""

import os
from collections.abc import Generator
from importlib import metadata
from urllib.parse import urlsplit

import httpx

from unfog.effects import Send
from unfog.errors import ConnectionFailed, UnexpectedAnswer, WrongArgument

DEFAULT_URL = "http://127.0.0.1:8000"


def service_url(given: str | None) -> str:
    """The address: what was given, else UNFOG_URL, else this machine's. Raises `WrongArgument` for what is none."""
    url = (given or os.environ.get("UNFOG_URL") or DEFAULT_URL).strip()
    try:
        parts = urlsplit(url)
        _ = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise WrongArgument(f"the service's address is not a URL: {error}") from None
    if parts.username or parts.password:
        # Not repeated here: it may be a secret.
        raise WrongArgument("the service's address has a name or password in it; give the key as api_key")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise WrongArgument(f"the service's address is like {DEFAULT_URL}, not {url!r}")
    return url.rstrip("/")


class ApiKey(httpx.Auth):
    """The key, sent with each request and shown nowhere."""

    def __init__(self, given: str | None) -> None:
        """Take what was given, else UNFOG_API_KEY. Raises `WrongArgument` for a key that cannot be sent."""
        self._key = (os.environ.get("UNFOG_API_KEY", "") if given is None else given).strip()
        if not self._key.isascii() or not self._key.isprintable() or " " in self._key:
            raise WrongArgument("the API key has characters that no key has; was it copied whole?")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send it along."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


def user_agent() -> str:
    """What the service's log calls us."""
    try:
        return f"unfog/{metadata.version('unfog')}"
    except metadata.PackageNotFoundError:
        return "unfog"


def request_of(http: "httpx.Client | httpx.AsyncClient", effect: Send) -> httpx.Request:
    """The request as httpx has it."""
    timeout = http.timeout if effect.read_s is None else httpx.Timeout(http.timeout.connect, read=effect.read_s)
    return http.build_request(
        effect.method,
        effect.path,
        params=dict(effect.query) or None,
        headers=dict(effect.headers),
        json=effect.body,
        timeout=timeout,
    )


def failure_of(error: httpx.HTTPError, url: str) -> ConnectionFailed:
    """What an error of httpx means to a flow. Raises `UnexpectedAnswer` for one that no repetition mends."""
    if isinstance(error, httpx.TransportError):
        return ConnectionFailed(f"{url} does not answer: {str(error) or type(error).__name__}")
    raise UnexpectedAnswer(f"{url} answers with something that cannot be read: {error}") from error
