"""When not everything is well, the page says what is, and goes on by itself when it can."""

import json
import re
import signal
from collections.abc import Callable

import httpx
from playwright.sync_api import Route, expect

from tests.browser.visiting import Visitor
from tests.e2e.running import RunningService


def answer(status: int, code: str, detail: str, **headers: str) -> Callable[[Route], None]:
    """Plays the service saying no."""
    body = json.dumps({"type": "about:blank", "title": "no", "status": status, "code": code, "detail": detail})

    def fulfil(route: Route) -> None:
        route.fulfill(status=status, content_type="application/problem+json", headers=headers, body=body)

    return fulfil


def test_a_full_queue_says_how_long_to_wait_and_the_request_is_sent_again(visitor: Visitor) -> None:
    visitor.tolerated.append("429")
    full = answer(429, "queue_full", "1000 evaluations wait, the limit is 1000", **{"Retry-After": "2"})
    visitor.page.route("**/v1/jobs", full, times=1)
    visitor.make(steps=1, seed=1)
    expect(visitor.says).to_have_text(
        re.compile(r"^1000 evaluations wait, the limit is 1000\. Trying again in \d s")
    )
    visitor.finished()


def test_who_does_not_want_to_wait_tries_now_or_cancels(visitor: Visitor) -> None:
    visitor.tolerated.append("429")
    full = answer(429, "queue_full", "the queue is full", **{"Retry-After": "600"})
    visitor.page.route("**/v1/jobs", full, times=2)
    visitor.make(steps=1, seed=1)
    visitor.page.get_by_role("button", name="Try now").click()
    expect(visitor.says).to_contain_text("Trying again in 600 s")
    visitor.page.get_by_role("button", name="Cancel").click()
    expect(visitor.says).to_have_text("Canceled.")
    expect(visitor.page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_lost_connection_is_found_again_and_the_job_with_it(visitor: Visitor, service: RunningService) -> None:
    visitor.tolerated.append("ERR_")
    before = len(httpx.get(f"{service.url}/v1/jobs?limit=100").json()["data"])
    visitor.page.route("**/v1/jobs/*/events", lambda route: route.abort("connectionreset"), times=2)
    visitor.make(steps=3, seed=4)
    expect(visitor.says).to_contain_text("Connection lost. Trying again")
    visitor.finished()
    after = len(httpx.get(f"{service.url}/v1/jobs?limit=100").json()["data"])
    assert after == before + 1


def test_a_lost_answer_to_a_submit_makes_no_second_job(visitor: Visitor, service: RunningService) -> None:
    visitor.tolerated.append("ERR_")
    sent: list[str] = []

    def lose(route: Route) -> None:
        route.fetch()
        sent.append(route.request.headers["idempotency-key"])
        route.abort("connectionreset")

    visitor.page.route("**/v1/jobs", lose, times=1)
    before = len(httpx.get(f"{service.url}/v1/jobs?limit=100").json()["data"])
    visitor.make(steps=2, seed=6)
    visitor.finished()
    assert len(sent) == 1
    assert len(httpx.get(f"{service.url}/v1/jobs?limit=100").json()["data"]) == before + 1


def test_a_job_that_fails_says_why(visitor: Visitor) -> None:
    def fail(route: Route) -> None:
        job = httpx.get(route.request.url.removesuffix("/events")).json()
        job |= {"status": "failed", "error": {"code": "not_finite", "detail": "the picture came out as NaN"}}
        route.fulfill(content_type="text/event-stream", body=f"event: done\ndata: {json.dumps(job)}\n\n")

    visitor.page.route("**/v1/jobs/*/events", fail)
    visitor.make(steps=1, seed=1)
    expect(visitor.says).to_have_text("It failed: the picture came out as NaN")
    expect(visitor.page.locator("#gallery img")).to_have_count(0)


def test_what_the_service_refuses_is_said_in_its_words(visitor: Visitor) -> None:
    visitor.tolerated.append("422")
    visitor.page.locator("#ask [name=num_images]").evaluate("(field) => (field.max = 99)")
    visitor.make(steps=1, num_images=17)
    expect(visitor.says).to_have_text("The service refused it: /num_images: must be a whole number from 1 to 16")


def test_without_a_worker_the_job_waits_and_the_page_says_so(visitor: Visitor, service: RunningService) -> None:
    page = visitor.page
    service.worker.send_signal(signal.SIGSTOP)
    try:
        visitor.make(steps=2, seed=9)
        expect(page.locator("#notice")).to_contain_text("No worker is running")
        expect(visitor.says).to_contain_text("Waiting, place 1 in the queue")
    finally:
        service.worker.send_signal(signal.SIGCONT)
    visitor.finished()
    expect(page.locator("#notice")).to_be_hidden()


def test_a_service_that_does_not_answer_is_looked_for(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated.append("ERR_")
    page.route("**/v1/models", lambda route: route.abort("connectionrefused"), times=1)
    page.reload()
    expect(page.locator("#notice")).to_contain_text("Nothing can be made now: the service does not answer")
    expect(page.locator("#go")).to_be_disabled()
    expect(page.locator("#go")).to_be_enabled()
    expect(page.locator("#notice")).to_be_hidden()


def test_a_part_of_the_page_that_got_lost_is_loaded_again(visitor: Visitor) -> None:
    visitor.tolerated.append("ERR_")
    visitor.page.route("**/playground/words.js", lambda route: route.abort("connectionreset"), times=1)
    visitor.page.reload()
    expect(visitor.page.locator("#notice")).to_contain_text("A part of this page did not arrive")
    expect(visitor.page.locator("#go")).to_be_enabled()
    expect(visitor.page.locator("#notice")).to_be_hidden()
