"""What is looked at before anything is started, so that a person reads a sentence and not a traceback."""

import errno
import os
import socket
import sys
from pathlib import Path

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from jobs.connection import client_of
from jobs.settings import Settings, SettingsError, load_settings
from service.problem import CannotStart
from service.redis_server import find_redis_server


def read_settings() -> Settings:
    """The settings in the environment. Raises `CannotStart` naming each variable that is out of range."""
    try:
        return load_settings()
    except SettingsError as error:
        raise CannotStart(str(error)) from error


def require_models(settings: Settings) -> None:
    """Raise `CannotStart` unless every model folder is there and looks like one; the worker looks on the Hub."""
    for name in settings.models:
        folder = Path(name)
        if not folder.is_dir():
            if _may_be_on_the_hub(name):
                continue
            raise CannotStart(f"There is no model folder {folder}. Name one that exists with UNFOG_MODELS.")
        if not any((folder / name).is_file() for name in ("model_index.json", "config.json")):
            raise CannotStart(
                f"{folder} is no diffusers model: it has neither model_index.json nor config.json. "
                "Name another folder with UNFOG_MODELS."
            )


def _may_be_on_the_hub(name: str) -> bool:
    """Whether a name without a folder reads org/name or org/name@revision, from no folder that is here."""
    organisation, slash, rest = name.partition("@")[0].partition("/")
    return bool(slash and organisation.strip(".~") and rest and "/" not in rest and not Path(organisation).is_dir())


def require_port(host: str, port: int) -> None:
    """Raise `CannotStart` unless a server may listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CannotStart(f"The address {host} is unknown here. Set UNFOG_HOST to one of this machine.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise CannotStart(_port_sentence(host, port, error)) from error


def free_port(host: str) -> int:
    """A port that nobody uses now, for those who asked for port 0."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])


def require_redis_server() -> Path:
    """The Redis server to start. Raises `CannotStart` if this machine has none."""
    binary = find_redis_server()
    if binary is None:
        raise CannotStart(
            "There is no redis-server on PATH, and the embedded one is only for Linux on x86-64 with "
            f"Python 3.11 or 3.12 (this is {sys.platform} on {os.uname().machine}, Python "
            f"{sys.version_info.major}.{sys.version_info.minor}). "
            "Install one (apt install redis-server, brew install redis), or set UNFOG_REDIS_URL to one that runs."
        )
    return binary


def require_redis(settings: Settings) -> None:
    """Raise `CannotStart` unless the Redis of the settings answers. The message holds no password."""
    try:
        with client_of(settings, 5.0, 5.0, Retry(NoBackoff(), 0)) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        raise CannotStart(
            f"UNFOG_REDIS_URL is set, but no Redis can be used there ({type(error).__name__}). "
            "Start it or correct the URL; without the variable, Unfog starts a Redis of its own."
        ) from error


def _port_sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program. "
            f"Choose another: make serve PORT={_another(port)} (or unfog serve --port {_another(port)})."
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023: make serve PORT=8000."
    return f"Nothing can listen on {host}:{port} ({error.strerror}). Set UNFOG_HOST to an address of this machine."


def _another(port: int) -> int:
    return port + 1 if port < 65535 else 8000
