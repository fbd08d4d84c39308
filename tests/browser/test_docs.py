"""`/docs` in a browser: every call is shown and can be tried, under a policy, with nothing from elsewhere."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis

from jobs.settings import Settings
from tests import cards
from tests.app.serving import Served, serving
from tests.browser.visiting import SLOW_MS, Visitor


@pytest.fixture
def api(redis_url: str) -> Iterator[Served]:
    """The API with two models known, and no worker."""
    with Redis.from_url(redis_url) as redis:
        cards.announce_both(redis)
    with serving(Settings(redis_url=redis_url)) as served:
        yield served


@pytest.fixture
def visitor(browser: Browser, api: Served) -> Iterator[Visitor]:
    """One who has opened the page; in the end, nothing may have gone wrong or elsewhere."""
    one = Visitor.arriving(browser, api.url)
    one.page.goto(f"{api.url}/docs")
    expect(one.page.locator(".opblock").first).to_be_visible(timeout=SLOW_MS)
    yield one
    one.page.context.close()
    assert one.wrong() == []
    assert one.foreign == []


def test_every_call_is_shown_and_opens(visitor: Visitor, api: Served) -> None:
    described = api.server.config.app.openapi()["paths"]  # type: ignore[union-attr]
    calls = sum(len(methods) for methods in described.values())
    expect(visitor.page.locator(".opblock")).to_have_count(calls)
    for number in range(calls):
        visitor.page.locator(".opblock-summary-control").nth(number).click()
        expect(visitor.page.locator(".opblock").nth(number)).to_have_class(re.compile(r"\bis-open\b"))
    expect(visitor.page.locator(".errors-wrapper")).to_have_count(0)


def test_a_key_can_be_given(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Authorize").first.click()
    dialog = visitor.page.locator(".dialog-ux")
    expect(dialog).to_contain_text("unfog_…")
    dialog.locator("input").fill("unfog_a_b")
    dialog.get_by_role("button", name="Authorize").click()
    expect(dialog.get_by_role("button", name="Logout")).to_be_visible()


def test_a_job_can_be_submitted_from_the_page(visitor: Visitor, api: Served) -> None:
    block = visitor.page.locator(".opblock-post", has_text="/v1/jobs").first
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator("textarea.body-param__text").fill('{"steps": 5, "seed": 7}')
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response").first
    expect(answer).to_contain_text("202", timeout=SLOW_MS)
    expect(answer).to_contain_text("x-request-id")
