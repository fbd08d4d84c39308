"""Making pictures on the page, and what can be had of them afterwards."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.visiting import RECORD_PICTURES, RECORD_PLAYING, Visitor
from tests.e2e.running import RunningService


def test_a_picture_emerges_from_its_static_before_the_eyes_and_without_a_flash(visitor: Visitor) -> None:
    page = visitor.page
    page.evaluate(RECORD_PICTURES)
    started_s = time.perf_counter()
    visitor.make(steps=1000, seed=7)
    expect(page.locator("#stage .tile[data-state=preview]")).to_be_visible()
    sys.stderr.write(f"\nfrom the press to the first preview: {time.perf_counter() - started_s:.2f} s\n")
    expect(visitor.says).to_have_text(re.compile(r"^Step \d+ of 1000"))
    deadline_s, seen = time.monotonic() + 40, []
    while len({picture["source"] for picture in seen}) < 3:
        assert time.monotonic() < deadline_s, "the preview changes"
        page.wait_for_timeout(200)
        seen = page.evaluate("window.pictures")
    page.get_by_role("button", name="Cancel").click()
    assert {picture["state"] for picture in seen} == {"preview"}
    assert all(picture["source"].startswith("data:image/png;base64,") for picture in seen)
    assert all(after["at"] - before["at"] > 1000 / 3 for before, after in pairwise(seen)), "not three a second"
    expect(visitor.says).to_have_text("Canceled.")


def test_a_finished_picture_is_shown_described_and_kept(visitor: Visitor) -> None:
    page = visitor.page
    visitor.make(steps=5, seed=7, class_label="tuxedo")
    image = visitor.finished().get_by_role("img")
    expect(image).to_have_attribute("alt", "tuxedo, seed 7, ddim in 5 steps")
    expect(image).to_have_attribute("src", re.compile("^blob:"))
    page.reload()
    expect(page.locator("#gallery img")).to_have_attribute("alt", "tuxedo, seed 7, ddim in 5 steps")


def test_several_pictures_at_once_each_of_its_own_seed(visitor: Visitor) -> None:
    visitor.make(steps=3, seed=2**32 - 1, num_images=3)
    tiles = visitor.finished()
    expect(tiles).to_have_count(3)
    assert [tile.inner_text() for tile in tiles.locator("figcaption").all()] == [
        "White\nseed 4294967295",
        "Black\nseed 0",
        "Brown tabby\nseed 1",
    ]
    expect(visitor.page.locator("#gallery img")).to_have_count(3)


def test_each_of_several_models_makes_its_own(visitor: Visitor, service: RunningService) -> None:
    visitor.ask(model="small-8")
    visitor.make(sampler="ddpm", steps=3, seed=5, scale=2)
    tile = visitor.finished().first
    saved = visitor.download(tile)
    body = {"model": "small-8", "sampler": "ddpm", "steps": 3, "seed": 5, "scale": 2}
    assert saved == service.submit(body, accept="image/png").content
    tile.get_by_role("button").click()
    visitor.page.get_by_role("button", name="Use settings").click()
    expect(visitor.page.locator("#ask [name=model]")).to_have_value("small-8")
    expect(visitor.page.locator("#ask [name=sampler]")).to_have_value("ddpm")


def test_the_page_makes_what_the_service_makes(visitor: Visitor, service: RunningService) -> None:
    visitor.make(steps=5, sampler="ddim", seed=3, class_label="grey", guidance_scale="1.5", eta="0.5", scale=4)
    saved = visitor.download(visitor.finished().first)
    body = {"steps": 5, "seed": 3, "class_label": "grey", "guidance_scale": 1.5, "eta": 0.5, "scale": 4}
    assert saved == service.submit(body, accept="image/png").content


def test_a_link_makes_the_same_bytes_for_somebody_else(visit: Callable[..., Visitor]) -> None:
    giver, taker = visit(permissions=["clipboard-read", "clipboard-write"]), visit()
    giver.open()
    giver.make(steps=4, seed=11)
    tile = giver.finished().first
    saved = giver.download(tile)
    tile.get_by_role("button").click()
    giver.page.get_by_role("button", name="Copy link").click()
    expect(giver.page.locator("#detail-says")).to_have_text("The link is copied.")
    link: str = giver.page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{giver.url}/#model=cats-32&")

    taker.open("#" + link.partition("#")[2])
    expect(taker.page.locator("#stage .run")).to_have_count(0)
    taker.page.keyboard.press("Enter")  # the button has the focus
    expect(taker.says).to_have_text("Done. The same bytes as the link promises.")
    assert taker.download(taker.finished().first) == saved

    taker.page.goto(link.replace("steps=4", "steps=3"))
    taker.page.locator("#go").click()
    expect(taker.says).to_contain_text("Not the bytes that the link promises")


def test_a_link_to_one_picture_of_several_asks_for_that_one(visitor: Visitor) -> None:
    job = {
        "request": {"model": "m", "steps": 9, "num_images": 4, "seed": 2**32 - 2, "seed_to": 5, "seed_mix": 0.25}
    }
    image = {"index": 3, "seed": 1, "class_label": "plum & pear"}
    request = {"model": "m", "steps": 9, "num_images": 1, "seed": 1, "class_label": "plum & pear", "seed_to": 8}
    request["seed_mix"] = 0.25
    found = visitor.page.evaluate(
        """async ([job, image]) => {
          const { requestFor, toFragment, fromFragment } = await import("/playground/request.js");
          const request = requestFor(job, image);
          return [request, fromFragment(toFragment(request, "abc"))];
        }""",
        [job, image],
    )
    del request["num_images"]
    assert found == [{**request, "num_images": 1}, {"request": request, "sha": "abc"}]


def test_the_address_of_the_page_is_a_link_to_what_is_made(visitor: Visitor) -> None:
    visitor.make(steps=2, seed=5)
    visitor.finished()
    assert re.search(r"#model=cats-32&sampler=ddim&steps=2&seed=5&", visitor.page.url)


def test_cancel_stops_the_job_and_keeps_the_place_for_the_next(visitor: Visitor, service: RunningService) -> None:
    visitor.make(steps=1000, seed=1)
    expect(visitor.says).to_have_text(re.compile("^Step"))
    visitor.page.get_by_role("button", name="Cancel").click()
    expect(visitor.says).to_have_text("Canceled.")
    newest = httpx.get(f"{service.url}/v1/jobs?limit=1").json()["data"][0]
    assert (newest["status"], newest["request"]["steps"]) == ("canceled", 1000)
    visitor.make(steps=1, seed=1)
    visitor.finished()
    expect(visitor.page.locator("#stage .run")).to_have_count(1)


def test_a_page_that_is_left_leaves_no_job_behind(visitor: Visitor, service: RunningService) -> None:
    visitor.make(steps=1000, seed=2)
    expect(visitor.says).to_have_text(re.compile("^Step"))
    visitor.page.goto("about:blank")
    job = httpx.get(f"{service.url}/v1/jobs?limit=1").json()["data"][0]
    assert service.finished(job)["status"] == "canceled"


def test_the_animation_is_played_without_a_flash_dragged_and_saved(visitor: Visitor) -> None:
    page = visitor.page
    visitor.make(steps=6, seed=8, sampler="ddpm")
    visitor.finished().first.get_by_role("button").click()
    page.get_by_role("button", name="Animation").click()
    along = page.get_by_label("From static to picture")
    expect(along).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download APNG").click()
    moving = Image.open(io.BytesIO(download.value.path().read_bytes()))
    frames = moving.n_frames - 1  # type: ignore[attr-defined]
    assert frames >= 6
    expect(along).to_have_attribute("max", str(frames - 1))

    page.evaluate(RECORD_PLAYING)
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    times = page.evaluate("window.times")
    assert len(times) == frames
    assert all(after - before > 1000 / 3 for before, after in pairwise(times)), "not three a second"

    for frame in (0, 3):
        along.fill(str(frame))
        source: str = page.locator("#detail-image").get_attribute("src") or ""
        shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")
        moving.seek(frame + 1)  # the one before is for those who know no frames
        assert shown.tobytes() == moving.convert("RGB").tobytes()


@pytest.mark.parametrize("tongue", ["curl", "Python", "JavaScript"])
def test_the_code_of_a_picture_makes_its_bytes(visitor: Visitor, tmp_path: Path, tongue: str) -> None:
    page = visitor.page
    visitor.make(steps=3, seed=21, class_label="siamese")
    tile = visitor.finished().first
    expected = visitor.download(tile)
    tile.get_by_role("button").click()
    page.get_by_role("button", name=tongue, exact=True).click()
    code = page.locator("#detail-code").inner_text()
    if tongue == "curl":
        command = ["sh", "-c", code]
    elif tongue == "Python":
        command = [sys.executable, "-c", code]
    else:
        node = shutil.which("node")
        if node is None:
            pytest.skip("there is no Node to run JavaScript with")
        (tmp_path / "code.mjs").write_text(code)
        command = [node, "code.mjs"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "picture.png").read_bytes() == expected


def test_what_is_removed_is_gone(visitor: Visitor) -> None:
    page = visitor.page
    visitor.make(steps=1, seed=30, num_images=2)
    visitor.finished().first.get_by_role("button").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#gallery img")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#no-pictures")).to_be_visible()
    page.reload()
    expect(page.locator("#no-pictures")).to_be_visible()


def test_sixty_four_pictures_are_kept_and_found_again(visitor: Visitor) -> None:
    page = visitor.page
    for seed in (100, 200, 300, 400):
        visitor.make(steps=1, seed=seed, num_images=16, scale=1)
        expect(visitor.finished()).to_have_count(16)
    page.reload()
    images = page.locator("#gallery img")
    expect(images).to_have_count(64)
    assert images.first.evaluate("(image) => getComputedStyle(image).imageRendering") == "pixelated"
    newest, oldest = images.first.get_attribute("alt"), images.last.get_attribute("alt")
    assert newest is not None
    assert oldest is not None
    assert "seed 415" in newest
    assert "seed 100" in oldest


def test_the_key_is_in_no_code_and_no_storage(visitor: Visitor, service: RunningService) -> None:
    page = visitor.page
    visitor.tolerated.append("401")
    key = "unfog_" + "k" * 40
    asked: list[str] = []

    def guard(route) -> None:  # type: ignore[no-untyped-def]
        asked.append(route.request.headers.get("authorization", ""))
        if asked[-1] == f"Bearer {key}":
            # The real service has no keys, and one that it does not know is none.
            headers = {name: value for name, value in route.request.headers.items() if name != "authorization"}
            route.continue_(headers=headers)
        else:
            problem = {"status": 401, "code": "key_required", "detail": "this service takes calls with a key only"}
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/v1/**", guard)
    page.reload()
    field = page.get_by_label("This service takes calls with a key only.")
    expect(field).to_be_focused()
    field.fill("unfog_wrong")
    field.press("Enter")
    expect(page.locator("#key-hint")).to_contain_text("That key does not open it")
    field.fill(key)
    field.press("Enter")
    visitor.make(steps=1, seed=1)
    tile = visitor.finished().first
    expect(field).to_be_hidden()
    assert asked[:2] == ["", "Bearer unfog_wrong"]
    tile.get_by_role("button").click()
    assert "$UNFOG_API_KEY" in page.locator("#detail-code").inner_text()
    kept = page.evaluate(
        """async () => {
          const opening = indexedDB.open("unfog");
          await new Promise((resolve) => (opening.onsuccess = resolve));
          const all = opening.result.transaction("pictures").objectStore("pictures").getAll();
          await new Promise((resolve) => (all.onsuccess = resolve));
          const others = [{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href];
          return JSON.stringify([all.result, others]);
        }"""
    )
    assert '"seed":1' in kept
    assert key not in kept
    assert key not in page.content()
    assert hashlib.sha256(key.encode()).hexdigest() not in kept
