"""A visitor of the playground: a page in a browser, and what a visitor does and sees there."""

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

SLOW_MS = 40_000
"""How long a test waits for what should come at once: the machine may be busy, and nothing here is about speed."""

NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""Chromium gives up what it loads when the machine gets or loses a network, as it does while images are built."""
RECORD_PICTURES = """
window.pictures = [];
new MutationObserver((changes) => {
  for (const { target, attributeName } of changes) {
    if (attributeName !== "src" || !target.closest(".run")) continue;
    const state = target.closest(".tile").dataset.state;
    window.pictures.push({ at: performance.now(), source: target.src, state });
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["src"] });
"""
RECORD_PLAYING = """
window.times = [];
new MutationObserver(() => window.times.push(performance.now())).observe(
  document.getElementById("detail-image"), { attributes: true, attributeFilter: ["src"] });
"""
RECORD_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Visitor:
    """A page, and what went wrong on it. tolerated: patterns of the console errors that a test brings about."""

    page: Page
    url: str
    tolerated: list[str] = field(default_factory=list)
    _wrong: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Requests that went to somebody else."""

    @classmethod
    def arriving(cls, browser: Browser, url: str, **context: Any) -> "Visitor":
        """A new visitor in a browser of their own, who has not opened the page yet."""
        settings = {"viewport": {"width": 1280, "height": 900}, **context}
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(SLOW_MS)
        visitor = cls(page, url)
        page.on("console", visitor._hear)
        page.on("pageerror", lambda error: visitor._wrong.append(f"uncaught: {error}"))
        page.on("request", lambda request: visitor._note(request.url))
        page.add_init_script(RECORD_VIOLATIONS)
        return visitor

    def open(self, fragment: str = "") -> None:
        """Open the page and wait until something can be made."""
        self.page.goto(f"{self.url}/{fragment}")
        expect(self.page.locator("#go")).to_be_enabled()

    def ask(self, **fields: Any) -> None:
        """Fill the form."""
        for name, value in fields.items():
            control = self.page.locator(f"#ask [name={name}]")
            if name in ("model", "class_label", "sampler", "scale"):
                control.select_option(str(value))
            else:
                control.fill(str(value))

    def make(self, **fields: Any) -> None:
        """Fill the form and press the button."""
        self.ask(**fields)
        self.page.locator("#go").click()

    @property
    def says(self) -> Locator:
        """What the newest run says of itself."""
        return self.page.locator("#stage .doing").first

    def finished(self) -> Locator:
        """The pictures of the newest run, when it is done."""
        expect(self.says).to_contain_text("Done")
        return self.page.locator("#stage .run").first.locator(".tile[data-state=done]")

    def download(self, tile: Locator) -> bytes:
        """The file that a visitor gets who opens a picture and saves it."""
        tile.get_by_role("button").click()
        with self.page.expect_download() as download:
            self.page.get_by_role("link", name="Download PNG").click()
        self.page.get_by_role("button", name="Close").click()
        return download.value.path().read_bytes()

    def wrong(self) -> list[str]:
        """Console errors, uncaught exceptions and broken policies that the test did not expect."""
        tolerated = [*self.tolerated, NETWORK_CHANGED]
        return [text for text in self._wrong if not any(re.search(pattern, text) for pattern in tolerated)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._wrong.append(f"{message.text} ({message.location.get('url', '')})")

    def _note(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(url)
