"""A page in a real browser, which remembers everything that went wrong on it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import BrowserContext, Response

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
SHOTS = Path(__file__).parent.parent.parent / "var" / "screenshots"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same without the windows that nobody sees, and faster."""
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), "")
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
CSP_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI} ${event.sample} at ${event.sourceFile}:${event.lineNumber}`);
});
"""
WITHOUT_MOTION = """
const still = new CSSStyleSheet();
still.replaceSync("*, *::before, *::after { animation: none !important; transition: none !important; }");
document.adoptedStyleSheets = [still];
"""
"""What is half faded in has half its contrast, and waiting for it takes longer than the rest of a test."""
AT_REST = """async () => {
  // What a click sets in motion is there a few frames later.
  for (let frame = 0; frame < 2; frame += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
}"""
FOUND_BY_AXE = """async (rules) => {
  const options = rules ? { runOnly: { type: "rule", values: rules } } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...options });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id} (${help}): ` + nodes.slice(0, 3).map((node) => node.html.slice(0, 300)).join(" | "));
}"""


class Page:
    """A tab. ``raw`` is Playwright's page; what went wrong is in ``problems``, and fails the test that leaves any there."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.base = base
        self.problems: list[str] = []
        self.raw = context.new_page()
        self.raw.set_default_timeout(10_000)
        self.raw.add_init_script(CSP_VIOLATIONS)
        self.raw.add_init_script(WITHOUT_MOTION)
        self.raw.on("console", self._heard)
        self.raw.on("pageerror", lambda error: self._note(f"error: {error}"))
        self.raw.on("request", lambda request: self._asked(request.url))
        self.raw.on("response", self._answered)

    def _note(self, what: str) -> None:
        self.problems.append(f"{self.raw.url.removeprefix(self.base)}: {what}")

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self._note(f"{message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and not url.startswith(self.base):
            self._note(f"asked another host: {url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"{response.status} for {response.url}")

    # Going about

    def open(self, path: str) -> Page:
        """Open an address of ours and wait until the page is at work."""
        self.raw.goto(self.base + path)
        return self.settled()

    def settled(self) -> Page:
        """Wait until what loads has loaded, and Alpine has uncovered the page."""
        self.raw.wait_for_load_state("load")
        self.raw.locator("html:not([x-cloak])").wait_for(state="attached")
        return self

    def list(self, model: type[Model]) -> Page:
        return self.open(address(model, "changelist"))

    def add(self, model: type[Model]) -> Page:
        return self.open(address(model, "add"))

    def change(self, row: Model) -> Page:
        return self.open(address(type(row), "change", row.pk))

    def theme(self, name: str) -> Page:
        """``light`` or ``dark``, as the system of whoever looks prefers it."""
        self.raw.emulate_media(color_scheme=name)  # type: ignore[arg-type]
        # Unfold asks when it draws, and keeps the answer; a reload would cost more than this.
        self.raw.evaluate("name => { document.documentElement.className = name }", name)
        return self

    def on_a_phone(self) -> Page:
        self.raw.set_viewport_size(PHONE)  # type: ignore[arg-type]
        return self

    # Judging

    def _come_to_rest(self) -> None:
        # Not with wait_for_function, which evaluates a text in the page, where the policy forbids it.
        self.raw.evaluate(AT_REST)

    def axe(self, *rules: str) -> Page:
        """Fail on serious or critical faults that axe-core finds; with ``rules``, of those rules alone."""
        self._come_to_rest()
        if not self.raw.evaluate("typeof axe !== 'undefined'"):
            self.raw.evaluate(AXE)
        found = self.raw.evaluate(FOUND_BY_AXE, list(rules) or None)
        assert found == [], f"{self.raw.url}:\n" + "\n".join(found)
        return self

    def shot(self, name: str) -> Page:
        """Keep a picture, for people: ``var/screenshots/<name>.png``."""
        self._come_to_rest()
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.raw.screenshot(path=str(SHOTS / f"{re.sub(r'[^a-z0-9-]+', '-', name.lower())}.png"))
        return self

    def is_wider_than_the_screen(self) -> bool:
        return bool(self.raw.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def address(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def session_cookie(client: Any, base: str) -> dict[str, Any]:
    """The cookie of whoever is signed in with ``client``, for a browser."""
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": base}
