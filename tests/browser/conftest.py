"""One running service and one browser for all tests of the playground; a new visitor for each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from jobs.settings import BUNDLED_MODEL
from service.redis_server import RedisServer, find_redis_server
from tests.browser.chromium import find_chromium
from tests.browser.visiting import SLOW_MS, Visitor
from tests.e2e.running import RunningService, running
from tests.models.small_model import write_model

# Playwright keeps an event loop running in this thread, which no other test may meet: hence the package's scope.


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    path = find_chromium()
    expect.set_options(timeout=SLOW_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The bundled model and a small one behind the real path. A worker that stops is missed after 2 s."""
    binary = find_redis_server()
    assert binary is not None, "the tests of the playground need a redis-server"
    folder = tmp_path_factory.mktemp("browser")
    small = write_model(folder / "small-8")
    settings = {"batching": "fast", "torch_threads": "1", "heartbeat_ttl_s": "2"}
    settings["models"] = f"{BUNDLED_MODEL},{small}"
    with (
        RedisServer(binary, folder / "redis") as redis,
        running(redis.url, folder / "service.log", **settings) as one,
    ):
        yield one


@pytest.fixture
def visit(browser: Browser, service: RunningService) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors; in the end, none of them may have seen an error or have been sent elsewhere."""
    visitors: list[Visitor] = []

    def arrive(**context: Any) -> Visitor:
        visitors.append(Visitor.arriving(browser, service.url, **context))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.page.context.close()
    assert [visitor.wrong() for visitor in visitors] == [[] for _ in visitors]
    assert [visitor.foreign for visitor in visitors] == [[] for _ in visitors]


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    """A visitor with the page open."""
    one = visit()
    one.open()
    return one
