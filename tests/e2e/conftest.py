"""One running service for all end-to-end tests that only talk to it."""

from collections.abc import Iterator

import pytest

from service.redis_server import RedisServer, find_redis_server
from tests.e2e.running import RunningService, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The bundled model behind the real path, with its own Redis."""
    binary = find_redis_server()
    assert binary is not None, "the end-to-end tests need a redis-server"
    folder = tmp_path_factory.mktemp("e2e")
    with RedisServer(binary, folder / "redis") as redis, running(redis.url, folder / "service.log") as running_one:
        yield running_one
