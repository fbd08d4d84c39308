"""For everybody: by keyboard, by ear, on a phone, in the dark, and without motion."""

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visiting import RECORD_PICTURES, Visitor

PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True}


def serious(page: Page, part: str = "html") -> list[str]:
    """What axe finds in a part of the page that is serious or critical."""
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = Axe().run(page, part, rules).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(
    "context",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_serious(visit: Callable[..., Visitor], context: dict[str, Any]) -> None:
    visitor = visit(reduced_motion="reduce", **context)
    visitor.open()
    page = visitor.page
    assert serious(page) == []
    visitor.make(steps=1, seed=1, num_images=2)
    visitor.finished()
    page.get_by_text("The same as a table").click()
    page.get_by_role("button", name="Use my latest picture").click()
    expect(page.locator("#panes")).to_be_visible()
    # What stands in the way, as it looks when it does.
    page.evaluate("for (const id of ['notice', 'key-form']) document.getElementById(id).hidden = false")
    page.evaluate("document.getElementById('notice').textContent = 'No worker is running.'")
    assert serious(page) == []
    page.locator("#gallery button").first.click()
    assert serious(page, "#detail") == []


def test_nothing_is_wider_than_a_phone(visit: Callable[..., Visitor]) -> None:
    visitor = visit(**PHONE)
    visitor.open()
    visitor.make(steps=1, seed=1, num_images=16)
    visitor.finished()
    visitor.page.get_by_role("button", name="Use my latest picture").click()
    wide = "() => document.documentElement.scrollWidth > innerWidth"
    assert not visitor.page.evaluate(wide)
    visitor.page.locator("#gallery button").first.click()
    assert not visitor.page.locator("#detail").evaluate("(dialog) => dialog.scrollWidth > dialog.clientWidth")


def test_a_picture_is_made_and_saved_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    press = page.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if page.locator(selector).evaluate("(element) => element === document.activeElement"):
                outline = page.locator(selector).evaluate("(element) => getComputedStyle(element).outlineStyle")
                assert outline != "none", f"one sees that {selector} has the focus"
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    press("Tab")
    expect(page.get_by_role("link", name="Skip to the playground")).to_be_focused()
    press("Enter")
    tab_to("#ask [name=class_label]")
    press("t")
    tab_to("#steps")
    page.keyboard.type("2")
    press("Enter")
    tiles = visitor.finished()
    assert "tuxedo" in (tiles.get_by_role("img").get_attribute("alt") or "")
    page.locator("body").evaluate("document.activeElement.blur()")
    tab_to("#stage .shot")
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to("#detail-actions a")
    with page.expect_download():
        press("Enter")
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#stage .shot")).to_be_focused()


def test_who_wants_no_motion_gets_no_previews(visit: Callable[..., Visitor]) -> None:
    visitor = visit(reduced_motion="reduce")
    visitor.open()
    visitor.page.evaluate(RECORD_PICTURES)
    with visitor.page.expect_request("**/v1/jobs") as sent:
        visitor.make(steps=12, seed=2)
    visitor.finished()
    assert sent.value.post_data_json["preview"] is False
    assert {picture["state"] for picture in visitor.page.evaluate("window.pictures")} == {"done"}


def test_what_happens_is_said_at_most_every_five_seconds(visitor: Visitor) -> None:
    page = visitor.page
    page.clock.install(time=datetime(2026, 1, 1))
    page.reload()
    expect(page.locator("#go")).to_be_enabled()
    page.evaluate(
        """async () => {
          const { Announcer } = await import("/playground/say.js");
          window.heard = [];
          const region = document.createElement("p");
          const hear = () => heard.push([performance.now(), region.textContent]);
          new MutationObserver(hear).observe(region, { childList: true });
          window.announcer = new Announcer(region);
        }"""
    )
    page.clock.pause_at(datetime(2026, 1, 2))  # from here on it goes only as far as it is told
    for second in range(12):
        page.evaluate(f"announcer.say('step {second}')")
        page.clock.run_for(1000)
    page.clock.run_for(10_000)
    heard = page.evaluate("heard")
    assert [heard[0][1], heard[-1][1]] == ["step 0", "step 11"]
    assert 3 <= len(heard) <= 5
    assert all(after - before >= 4999 for (before, _), (after, _) in pairwise(heard))


def test_the_theme_can_be_chosen_and_stays(visit: Callable[..., Visitor]) -> None:
    visitor = visit(color_scheme="light")
    visitor.open()
    page = visitor.page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
