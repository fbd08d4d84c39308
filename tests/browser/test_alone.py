"""The page before the real API with two models and no worker: what is asked for stays until a test ends it."""

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect
from redis import Redis

from jobs.api_keys import make_key
from jobs.catalogue import announce
from jobs.record import Failure
from jobs.settings import Settings
from service.preflight import free_port
from tests import cards
from tests.app.serving import serving
from tests.browser.visiting import Visitor

Arrive = Callable[..., Visitor]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """Where both models are announced."""
    with Redis.from_url(redis_url) as redis:
        cards.announce_both(redis)
        yield redis


@pytest.fixture
def arrive(browser: Browser) -> Iterator[Arrive]:
    """Makes visitors of a service; in the end, none may have seen what they were not to see."""
    visitors: list[Visitor] = []

    def one(url: str, fragment: str = "", tolerated: str = "^$", ready: bool = True) -> Visitor:
        visitor = Visitor.arriving(browser, url)
        visitor.tolerated.append(tolerated)
        visitors.append(visitor)
        if ready:
            visitor.open(fragment)
        else:
            visitor.page.goto(url)
        return visitor

    yield one
    for visitor in visitors:
        visitor.page.context.close()
    assert [visitor.wrong() + visitor.foreign for visitor in visitors] == [[] for _ in visitors]


def newest(url: str, **headers: str) -> dict[str, object]:
    """The newest job."""
    found: dict[str, object] = httpx.get(f"{url}/v1/jobs?limit=1", headers=headers).json()["data"][0]
    return found


def test_the_form_follows_the_chosen_model_and_asks_for_it(redis: Redis, redis_url: str, arrive: Arrive) -> None:
    with serving(Settings(redis_url=redis_url)) as api:
        visitor = arrive(api.url)
        form, page = visitor.page.locator("#ask"), visitor.page
        models = form.locator("[name=model]")
        assert models.locator("option").all_inner_texts() == ["fruit-16", "pebble-8"]
        expect(form.locator("[name=class_label] option")).to_have_count(4)
        expect(form.locator("[name=guidance_scale]")).to_have_value("2")
        models.select_option("pebble-8")
        expect(form.locator("[name=class_label]")).to_be_disabled()
        expect(form.locator("[name=guidance_scale]")).to_be_disabled()
        expect(form.locator("[name=sampler]")).to_have_value("ddpm")
        expect(form.locator("[name=eta]")).to_be_disabled()
        assert form.locator("[name=scale] option").all_inner_texts()[0] == "8 × 8"
        expect(page.locator("#stage img")).to_have_attribute("width", "8")
        expect(page.locator("#measured")).to_contain_text("Nothing has been measured for pebble-8")
        expect(page.locator("#chart")).to_be_hidden()
        expect(page.locator("#fog-not")).to_be_visible()
        visitor.make(steps=3, seed=7)
        expect(visitor.says).to_contain_text("Waiting, place 1 in the queue")
        assert newest(api.url)["model"] == "pebble-8"


def test_a_model_that_comes_later_is_offered_and_the_choice_stays(
    redis: Redis, redis_url: str, arrive: Arrive
) -> None:
    with serving(Settings(redis_url=redis_url)) as api:
        visitor = arrive(api.url)
        visitor.ask(sampler="heun", steps=7)
        visitor.make(seed=1)  # while something waits, the page looks every few seconds
        late = cards.PEBBLE.model_copy(update={"id": "shell-8"})
        announce(redis, cards.WORKER, (cards.FRUIT, cards.PEBBLE, late), 3600)
        expect(visitor.page.locator("#ask [name=model] option")).to_have_count(3)
        expect(visitor.page.locator("#ask [name=sampler]")).to_have_value("heun")
        expect(visitor.page.locator("#steps")).to_have_value("7")


def test_a_link_to_what_this_service_does_not_have_says_so(redis: Redis, redis_url: str, arrive: Arrive) -> None:
    with serving(Settings(redis_url=redis_url)) as api:
        visitor = arrive(api.url, "#model=stones-64&sampler=ddim&steps=3&class_label=flint")
        expect(visitor.page.locator("#cost")).to_contain_text(
            "This service has no model stones-64, no class flint: that would be another picture."
        )
        expect(visitor.page.locator("#steps")).to_have_value("3")


def test_a_queue_that_is_full_says_so_and_when_to_come_back(redis: Redis, redis_url: str, arrive: Arrive) -> None:
    with serving(Settings(redis_url=redis_url, max_queued_evaluations=10)) as api:
        full = {"steps": 10, "guidance_scale": 1}
        assert httpx.post(f"{api.url}/v1/jobs", json=full).status_code == 202
        turned_away = httpx.post(f"{api.url}/v1/jobs", json=full)
        visitor = arrive(api.url, tolerated="429")
        visitor.make(steps=5, seed=1)
        expect(visitor.says).to_have_text(re.compile(r"Trying again in \d+ s\.$"))
        said = turned_away.json()["detail"]
        expect(visitor.says).to_contain_text(said[1:].rstrip("."))
        visitor.page.get_by_role("button", name="Cancel").click()
        expect(visitor.says).to_have_text("Canceled.")


def test_a_job_that_has_failed_says_why(redis: Redis, redis_url: str, arrive: Arrive) -> None:
    with serving(Settings(redis_url=redis_url)) as api:
        visitor = arrive(api.url)
        visitor.make(steps=5, seed=1)
        expect(visitor.says).to_contain_text("Waiting")
        cards.fail(redis, str(newest(api.url)["id"]), Failure(code="not_finite", detail="the numbers ran away"))
        expect(visitor.says).to_have_text("It failed: the numbers ran away")
        expect(visitor.page.locator("#stage .tile")).to_have_attribute("data-state", "stopped")


def test_who_has_a_key_is_let_in_and_sends_it_in_a_header(redis: Redis, redis_url: str, arrive: Arrive) -> None:
    _, token = make_key(redis, "alice")
    with serving(Settings(redis_url=redis_url)) as api:
        visitor = arrive(api.url, tolerated="401", ready=False)
        field = visitor.page.get_by_label("This service takes calls with a key only.")
        expect(field).to_be_focused()
        sent: list[dict[str, str]] = []
        visitor.page.on("request", lambda request: sent.append({"url": request.url, **request.headers}))
        field.fill(token)
        field.press("Enter")
        expect(visitor.page.locator("#key-form")).to_be_hidden()
        visitor.make(steps=5, seed=1)
        expect(visitor.says).to_contain_text("Waiting, place 1 in the queue")
        job = str(newest(api.url, Authorization=f"Bearer {token}")["id"])
        with visitor.page.expect_request("**/0.png"):
            cards.succeed(redis, job, [cards.png((9, 99, 199))])
        visitor.finished()
        calls = [call for call in sent if "/v1/" in call["url"]]
        assert {call["url"].rpartition("/")[2] for call in calls} >= {"models", "jobs", "events", "0.png"}
        assert {call["authorization"] for call in calls} == {f"Bearer {token}"}
        assert not [call["url"] for call in calls if token in call["url"]]


def test_a_service_that_goes_away_is_found_again_and_the_job_with_it(
    redis: Redis, redis_url: str, arrive: Arrive
) -> None:
    port = free_port("127.0.0.1")
    settings = Settings(redis_url=redis_url)
    with serving(settings, port) as api:
        visitor = arrive(api.url, tolerated="ERR_")
        visitor.make(steps=5, seed=1)
        expect(visitor.says).to_contain_text("Waiting")
        job = str(newest(api.url)["id"])
    expect(visitor.says).to_contain_text("Connection lost. Trying again")
    with serving(settings, port):
        cards.succeed(redis, job, [cards.png((9, 99, 199))])
        visitor.finished()
        expect(visitor.page.locator("#notice")).to_be_hidden()
