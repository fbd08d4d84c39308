"""Makes the pictures of the playground: the page while it works, on a desk and on a phone, light and dark.

    python -m docs.pictures.playground

Needs a Chromium, as the tests of the page do, and a redis-server.
"""

import io
import re
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from service.redis_server import RedisServer, find_redis_server
from tests.browser.chromium import find_chromium
from tests.browser.visiting import Visitor
from tests.e2e.running import running

HERE = Path(__file__).resolve().parent
DEVICES = {
    "desktop": {"viewport": {"width": 1280, "height": 960}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}
KEPT = 8
PATIENCE_MS = 240_000


def photograph(browser: Browser, url: str, device: str, scheme: str) -> None:
    """The page with a job half done, after some that are."""
    visitor = Visitor.arriving(browser, url, color_scheme=scheme, **DEVICES[device])
    visitor.open()
    visitor.make(steps=8, seed=16, num_images=KEPT)
    expect(visitor.finished()).to_have_count(KEPT)
    visitor.make(steps=200, seed=42, num_images=4 if device == "desktop" else 1)
    expect(visitor.says).to_have_text(re.compile("^Step [5-9][0-9] of 200"))
    visitor.page.evaluate("scrollTo(0, 0)")
    picture = Image.open(io.BytesIO(visitor.page.screenshot(animations="disabled")))
    few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(HERE / f"playground-{device}-{scheme}.png", optimize=True)
    visitor.page.context.close()


def main() -> None:
    """Take all four."""
    binary = find_redis_server()
    assert binary is not None, "this needs a redis-server"
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(binary, Path(folder) / "redis") as redis,
        running(redis.url, Path(folder) / "log", batching="fast", torch_threads="1") as service,
        sync_playwright() as playwright,
    ):
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for device in DEVICES:
            for scheme in ("light", "dark"):
                photograph(browser, service.url, device, scheme)
        browser.close()


if __name__ == "__main__":
    main()
