"""The Redis of the service on this machine, for commands that look into it from beside."""

import contextlib
from collections.abc import Iterator

from pydantic import SecretStr

from jobs.settings import Settings
from service import preflight
from service.redis_server import RedisServer
from service.state import StateFolder


@contextlib.contextmanager
def reached_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with the URL of the Redis that `unfog serve` uses with them, which answers meanwhile.

    That is the one of UNFOG_REDIS_URL, or the service's own: where that does not run it is started for as long as
    the context is open, so that a key can be made before the service is first started. Raises `CannotStart`.
    """
    if "redis_url" in settings.model_fields_set:
        preflight.require_redis(settings)
        yield settings
        return
    server = RedisServer(preflight.require_redis_server(), settings.state_dir / "redis")
    own = settings.model_copy(update={"redis_url": SecretStr(server.url)})
    if server.child.ready():
        yield own
        return
    with StateFolder(settings.state_dir), server:
        yield own
