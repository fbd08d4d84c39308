"""Below the stage: steps against quality, the fog view, and walks between seeds."""

import io
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from jobs.settings import BUNDLED_MODEL
from models.folder import load_model
from models.forward_process import add_noise
from models.latents import from_image, slerp, start_index, starting_noise
from models.noise_schedule import NoiseSchedule
from models.spacing import timesteps_for
from tests.browser.visiting import Visitor
from tests.e2e.running import RunningService

READ_CANVAS = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    """The noise schedule of the bundled model."""
    return load_model(BUNDLED_MODEL).schedule


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of the visitor's: large, wide, with a gradient."""
    down, across = np.mgrid[0:240, 0:400]
    pixels = np.stack([across * 255 // 399, down * 255 // 239, 128 + 0 * down], axis=-1).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def test_the_chart_shows_what_was_measured_and_a_row_fills_the_form(visitor: Visitor) -> None:
    page = visitor.page
    quality = httpx.get(f"{visitor.url}/v1/models/cats-32").json()["quality"]
    shown = [row for row in quality if row["comparable"] and row["guidance_scale"] == 1.0]
    expect(page.locator("#chart .point")).to_have_count(len(shown))
    page.get_by_text("The same as a table").click()
    expect(page.locator("#chart tr:has(td)")).to_have_count(len(shown))
    page.get_by_role("button", name="Use heun with 5 steps").click()
    expect(page.locator("[name=sampler]")).to_have_value("heun")
    expect(page.locator("#steps")).to_have_value("5")
    page.locator("#chart select").select_option("1.5")
    expect(page.locator("#chart svg[role=img]")).to_have_attribute("aria-label", re.compile("guidance 1.5"))


def test_one_seed_at_all_step_counts_in_one_click(visitor: Visitor, service: RunningService) -> None:
    page = visitor.page
    visitor.ask(seed=5)
    page.get_by_role("button", name="One seed, 1 to 1000 steps").click()
    tiles = page.locator("#steps-strip .tile")
    expect(tiles).to_have_count(7)
    for k, steps in enumerate((1, 5, 10)):
        expect(tiles.nth(k)).to_have_attribute("data-state", "done")
        expect(tiles.nth(k).locator("figcaption")).to_contain_text(f"{steps} step")
    page.get_by_role("button", name="Cancel these").click()
    expect(tiles.nth(6)).to_have_attribute("data-state", "stopped")
    newest = httpx.get(f"{service.url}/v1/jobs?limit=7").json()["data"]
    assert sorted(job["request"]["steps"] for job in newest) == [1, 5, 10, 20, 50, 100, 1000]
    assert {job["request"]["seed"] for job in newest} == {5}


def test_a_walk_leads_from_one_seed_to_the_other(visitor: Visitor, service: RunningService) -> None:
    page = visitor.page
    visitor.ask(steps=2, class_label="calico")
    form = page.locator("#walk-form")
    form.get_by_label("From seed").fill("7")
    form.get_by_label("To seed").fill("9")
    form.get_by_label("Pictures").fill("3")
    form.get_by_role("button", name="Walk").click()
    tiles = page.locator("#walk-strip .tile")
    expect(tiles).to_have_count(3)
    for k in range(3):
        expect(tiles.nth(k)).to_have_attribute("data-state", "done")
    saved = [np.asarray(Image.open(io.BytesIO(visitor.download(tiles.nth(k))))).astype(int) for k in range(3)]
    for k, seed in ((0, 7), (2, 9)):
        body = {"steps": 2, "seed": seed, "class_label": "calico", "scale": 8}
        alone = np.asarray(Image.open(io.BytesIO(service.submit(body, accept="image/png").content))).astype(int)
        # Batches of any size are fast, and may differ in the last bits.
        assert abs(saved[k] - alone).max() <= 1
    assert abs(saved[1] - saved[0]).max() > 8


def test_the_fog_is_the_forward_process_and_lifts_from_there(
    visitor: Visitor, schedule: NoiseSchedule, photo: Path
) -> None:
    page = visitor.page
    visitor.ask(seed=12, steps=10, class_label="white")
    page.locator("#file").set_input_files(photo)
    page.locator("#t").fill("437")

    clean = np.array(page.locator("#clean").evaluate(READ_CANVAS), dtype=np.uint8).reshape(32, 32, 4)[..., :3]
    assert abs(clean[16, 0].astype(int) - [51, 128, 128]).max() <= 6, "cut to its middle"
    x0 = from_image(Image.fromarray(clean), 32, 32)
    noise, _ = starting_noise(12, 3, 32, 32)
    drowned = add_noise(x0, noise, torch.tensor([437]), torch.tensor(schedule.alphas_cumprod))
    expected = ((drowned + 1) * 127.5).clamp(0, 255)[0].permute(1, 2, 0).numpy()
    shown = np.array(page.locator("#drowned").evaluate(READ_CANVAS)).reshape(32, 32, 4)[..., :3]
    assert abs(shown - expected).max() < 2

    expect(page.locator("#t-says")).to_contain_text("10 steps of ddim come back from t = 399 in 4.")
    page.get_by_role("button", name="Lift the fog from here").click()
    tile = page.locator("#fog-result .tile")
    expect(tile).to_have_attribute("data-state", "done")
    assert tile.locator("img").get_attribute("alt") == "white, seed 12, ddim in 10 steps"
    job = httpx.get(f"{visitor.url}/v1/jobs?limit=1").json()["data"][0]
    assert (job["progress"]["total"], job["request"]["strength"]) == (4, 0.45)


def test_a_picture_of_the_gallery_goes_into_the_fog_pixel_for_pixel(visitor: Visitor) -> None:
    page = visitor.page
    visitor.make(steps=2, seed=3)
    tile = visitor.finished().first
    made = np.asarray(Image.open(io.BytesIO(visitor.download(tile))))[::8, ::8]
    page.get_by_role("button", name="Use my latest picture").click()
    expect(page.locator("#panes")).to_be_visible()
    clean = np.array(page.locator("#clean").evaluate(READ_CANVAS)).reshape(32, 32, 4)[..., :3]
    assert (clean == made).all()


def test_the_fog_view_begins_with_the_latest_picture_which_comes_back_as_its_class(visitor: Visitor) -> None:
    page = visitor.page
    visitor.make(steps=2, seed=3, class_label="calico")
    visitor.finished()
    visitor.ask(class_label="", seed=6)  # by its seed, it would be another
    page.locator("#fog").scroll_into_view_if_needed()
    expect(page.locator("#panes")).to_be_visible()
    page.get_by_role("button", name="Lift the fog from here").click()
    tile = page.locator("#fog-result .tile")
    expect(tile).to_have_attribute("data-state", "done")
    assert tile.locator("img").get_attribute("alt") == "calico, seed 6, ddim in 2 steps"


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_picture_can_be_pasted_and_dropped(visitor: Visitor, photo: Path, way: str) -> None:
    visitor.page.evaluate(
        """([bytes, way]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
          const options = { bubbles: true, cancelable: true };
          const paste = () => new ClipboardEvent("paste", { ...options, clipboardData: transfer });
          const drop = () => new DragEvent("drop", { ...options, dataTransfer: transfer });
          document.getElementById("drop").dispatchEvent(way === "paste" ? paste() : drop());
        }""",
        [list(photo.read_bytes()), way],
    )
    expect(visitor.page.locator("#panes")).to_be_visible()


def test_what_is_no_picture_is_said_to_be_none(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    visitor.page.locator("#file").set_input_files(tmp_path / "notes.png")
    expect(visitor.page.locator("#drop-says")).to_contain_text("cannot read that as a picture")
    expect(visitor.page.locator("#panes")).to_be_hidden()


def test_the_page_draws_the_very_static_that_the_service_starts_from(visitor: Visitor) -> None:
    found = visitor.page.evaluate(
        """async () => {
          const { startingNoise, startOf } = await import("/playground/noise.js");
          const asked = [[0, 3072], [7, 3072], [2 ** 32 - 1, 100]];
          const plain = asked.map(([seed, count]) => [...startingNoise(seed, count)]);
          return [...plain, [...startOf({ seed: 7, seed_to: 9, seed_mix: 0.3 }, 3072)]];
        }"""
    )
    for (seed, count), drawn in zip([(0, 3072), (7, 3072), (2**32 - 1, 100)], found, strict=False):
        noise = torch.randn(count, generator=torch.Generator().manual_seed(seed))
        assert abs(np.array(drawn) - noise.numpy()).max() < 1e-5
    mixed = slerp(starting_noise(7, 3, 32, 32)[0], starting_noise(9, 3, 32, 32)[0], 0.3)
    assert abs(np.array(found[3]) - mixed.flatten().numpy()).max() < 1e-5


def test_the_way_back_starts_where_the_service_starts(visitor: Visitor, schedule: NoiseSchedule) -> None:
    asked = [(t, steps) for steps in (1, 2, 7, 16, 50, 333, 1000) for t in range(0, 1000, 37)]
    log_snr = httpx.get(f"{visitor.url}/v1/models/cats-32").json()["log_snr"]
    ways = visitor.page.evaluate(
        """async ([logSnr, asked]) => {
          const { Schedule } = await import("/playground/schedule.js");
          const schedule = new Schedule(logSnr, 1000);
          return asked.map(([t, steps]) => ({ ...schedule.wayBack(t, steps), kept: schedule.at(t).alpha }));
        }""",
        [log_snr, asked],
    )
    for (t, steps), way in zip(asked, ways, strict=True):
        start = start_index(steps, way["strength"])
        timesteps = timesteps_for(schedule, steps, "trailing")
        assert steps - start == way["walked"]
        assert timesteps[start] == way["t"]
        assert abs(way["t"] - t) <= 1000 / steps, "the nearest start there is"
        assert abs(way["kept"] - schedule.alphas_cumprod[t] ** 0.5) < 0.01
