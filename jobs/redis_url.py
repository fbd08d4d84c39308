"""What `UNFOG_REDIS_URL` says: one Redis, or a name that Sentinels know the master of."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.connection import parse_url

SENTINEL_PORT = 26379
_SCHEMES = {"redis+sentinel": False, "rediss+sentinel": True}
_OF_SENTINELS = "sentinel_"
"""Options of the URL that begin so are for the connections to the Sentinels."""


@dataclass(frozen=True)
class SentinelUrl:
    """Sentinels, the name they know a master by, and how to connect to either."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    options: dict[str, Any] = field(repr=False)
    """Of connections to the master, as redis-py names them."""
    sentinel_options: dict[str, Any] = field(repr=False)


def is_sentinel_url(url: str) -> bool:
    """Whether the URL names Sentinels."""
    return url.partition("://")[0] in _SCHEMES


def parsed_sentinel_url(url: str) -> SentinelUrl:
    """`redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…/MASTER[/DB][?OPTIONS]`.

    With `rediss+sentinel` master and Sentinels are spoken to by TLS. The options are those of redis-py for one
    Redis, such as `ssl_ca_certs`; with `sentinel_` before them, as in `sentinel_password`, they are for the
    Sentinels, which also get the `ssl_` ones of the master. Raises `ValueError`, in words that hold no password.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    sentinels = tuple(_address(host) for host in hosts.split(","))
    if not master or not all(host for host, _ in sentinels) or not (database or "0").isdigit():
        raise ValueError("it must look like redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0")
    tls = _SCHEMES[parts.scheme]
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    of_sentinels = {key.removeprefix(_OF_SENTINELS): value for key, value in given.items() if _is_theirs(key)}
    of_master = {key: value for key, value in given.items() if not _is_theirs(key)}
    username, _, password = login.rpartition(":") if ":" in login else ("", "", "")
    options = _read(of_master, tls=tls) | {"db": int(database or 0)}
    if password:
        options |= {"password": unquote(password)} | ({"username": unquote(username)} if username else {})
    shared = {key: value for key, value in of_master.items() if key.startswith("ssl_")}
    return SentinelUrl(sentinels, unquote(master), options, _read(shared | of_sentinels, tls=tls))


def _is_theirs(option: str) -> bool:
    return option.startswith(_OF_SENTINELS)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), SENTINEL_PORT
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("each Sentinel is HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _read(options: dict[str, str], *, tls: bool) -> dict[str, Any]:
    """Options as redis-py reads them from a URL, with their types."""
    read = dict(parse_url(f"redis://any/?{urlencode(options)}"))
    read.pop("host", None)
    return read | ({"ssl": True} if tls else {})
