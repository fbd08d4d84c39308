"""What a visitor of the playground sees of its speed: the first preview, and how smoothly many pictures scroll.

    python -m bench.playground [--repeats 9] [--steps 1000] [--pictures 64]

One job at a time on an idle service. The clock runs from `started_at` of the job, which the worker writes when it
takes it, to the frame after the one in which the page has put the first preview into its place. Then a gallery of
so many pictures is scrolled from end to end, a little in each frame, and the time between frames is taken; Chromium
has no window and draws with the CPU. Needs a Chromium, as the tests of the page do.
"""

import argparse
import statistics
from datetime import datetime

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench import targets
from bench.report import percentile, spread, tell
from tests.browser.chromium import find_chromium
from tests.browser.visiting import Visitor

PATIENCE_MS = 120_000
A_FRAME_MS = 1000 / 60

WATCH = """
const { dataset } = document.body;
const now = () => (performance.timeOrigin + performance.now()) / 1000;
new MutationObserver((changes, itself) => {
  if (!changes.some(({ target }) => target.dataset.state === "preview")) return;
  itself.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => (dataset.seen = now())));
}).observe(document.querySelector("#stage"), { subtree: true, attributes: true, attributeFilter: ["data-state"] });
document.querySelector("#go").addEventListener("click", () => (dataset.pressed = now()), { once: true });
"""
SCROLL = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const gallery = document.querySelector("#gallery");
  const top = scrollY + gallery.getBoundingClientRect().top - innerHeight;
  const way = gallery.clientHeight + innerHeight;
  const times = [];
  for (let k = 0; k <= 120; k += 1) {
    scrollTo({ top: top + (way * k) / 120, behavior: "instant" });
    times.push(await frame());
  }
  return times.slice(1).map((time, k) => time - times[k]);
}"""


def first_preview_s(browser: Browser, url: str, steps: int, seed: int) -> tuple[float, float]:
    """Seconds to the first preview on the screen: from the start of the job, and from the press of the button."""
    visitor = Visitor.arriving(browser, url)
    page = visitor.page
    visitor.open()
    page.evaluate(f"() => {{ {WATCH} }}")
    visitor.make(steps=steps, seed=seed)
    page.locator("body[data-seen]").wait_for(timeout=PATIENCE_MS)
    job = httpx.get(f"{url}/v1/jobs?limit=1").json()["data"][0]
    assert job["request"]["seed"] == seed
    page.get_by_role("button", name="Cancel").click()
    expect(visitor.says).to_have_text("Canceled.")
    seen, pressed = (float(page.evaluate(f"document.body.dataset.{name}")) for name in ("seen", "pressed"))
    page.context.close()
    return seen - datetime.fromisoformat(job["started_at"]).timestamp(), seen - pressed


def fill_gallery(page: Page, visitor: Visitor, pictures: int) -> None:
    """Make pictures until the gallery has so many."""
    for first in range(0, pictures, 16):
        visitor.make(steps=1, seed=first, num_images=min(16, pictures - first))
        expect(page.locator("#gallery img")).to_have_count(min(pictures, first + 16))


def scroll_frames_ms(browser: Browser, url: str, pictures: int, repeats: int) -> list[list[float]]:
    """The milliseconds between frames while the gallery passes by, each time it does."""
    visitor = Visitor.arriving(browser, url)
    visitor.open()
    fill_gallery(visitor.page, visitor, pictures)
    rounds = []
    for _ in range(repeats):
        visitor.page.reload()
        expect(visitor.page.locator("#gallery img")).to_have_count(pictures)
        rounds.append(visitor.page.evaluate(SCROLL))
    visitor.page.context.close()
    return rounds


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=64)
    options = parser.parse_args()
    expect.set_options(timeout=PATIENCE_MS)
    with targets.unfog() as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        waits = [first_preview_s(browser, service.url, options.steps, seed) for seed in range(options.repeats)]
        frames_ms = scroll_frames_ms(browser, service.url, options.pictures, options.repeats)
        browser.close()
    started, pressed = zip(*waits, strict=True)
    figures = {
        "first preview, s after the job starts": started,
        "first preview, s after the press": pressed,
        f"{options.pictures} pictures, ms between frames, median": [statistics.median(ms) for ms in frames_ms],
        "ms between frames, p95": [percentile(ms, 0.95) for ms in frames_ms],
        "share of frames later than two of 60 Hz": [
            sum(one > 2 * A_FRAME_MS for one in ms) / len(ms) for ms in frames_ms
        ],
    }
    rows = [(name, spread(values)) for name, values in figures.items()]
    tell("playground", ("what", f"median (spread) of {options.repeats}"), rows, {**vars(options), **figures})


if __name__ == "__main__":
    main()
