"""The page as files: how large, how safe, how they are sent."""

import sys
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Response

from app.main import create_app
from app.routes.playground import FILES, POLICY
from jobs.settings import Settings
from tests.browser.visiting import Visitor

MOST_BYTES = 100_000


@pytest.fixture
def client(redis_url: str) -> Iterator[TestClient]:
    """The API alone; nobody has announced a model."""
    with TestClient(create_app(Settings(redis_url=redis_url))) as client:
        yield client


def test_all_files_together_are_small_as_they_are_sent(client: TestClient) -> None:
    sent = [int(client.get(f"/playground/{path.name}").headers["content-length"]) for path in FILES.iterdir()]
    assert sum(sent) <= MOST_BYTES


def test_a_first_visit_with_all_that_it_asks_the_service_is_small(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    answers: list[Response] = []
    visitor.page.on("response", lambda response: answers.append(response))
    visitor.open()
    visitor.page.locator("#chart svg").first.wait_for()
    sizes = [answer.request.sizes() for answer in answers]
    total = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    sys.stderr.write(f"\na first visit, headers and models and all: {len(sizes)} answers, {total} bytes\n")
    assert len(sizes) > len(list(FILES.iterdir()))
    assert total <= MOST_BYTES


def test_the_page_may_load_its_own_files_and_nothing_else(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", sorted(path.name for path in FILES.iterdir()))
def test_every_file_is_sent_with_its_type_and_a_tag(client: TestClient, path: str) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    answer = client.get(f"/playground/{path}")
    assert answer.status_code == 200
    assert answer.content == (FILES / path).read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == kinds[path.rpartition(".")[2]]
    again = client.get(f"/playground/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/playground/", "/playground/x.js", "/playground/..%2fmain.py", "/playground/%2e%2e"]
)
def test_there_is_no_list_and_no_way_out_of_the_folder(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_head_says_what_get_would(client: TestClient) -> None:
    assert client.head("/").headers["etag"] == client.get("/").headers["etag"]
