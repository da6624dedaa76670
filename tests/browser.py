"""People at the page: each reads it in a Chromium window of their own."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    async_playwright,
    expect,
)
from playwright.async_api import Error as BrowserError

from tests.chromium import Chromium
from tests.services import node

WITHIN_MS = 20_000
"""How long a reader waits for what must appear, on a machine that is busy with other tests."""

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 780}

_ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--font-render-hinting=none",
    "--hide-scrollbars",
]

# Writes down what a page tells those who listen to it, however soon it is taken back.
_TOLD = """
window.told = [];
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const element = target.closest ? target : target.parentElement;
    const region = element?.closest('[role=status], [role=alert], [aria-live]');
    if (region) window.told.push(region.textContent);
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""

expect.set_options(timeout=WITHIN_MS)


class Window:
    """A window on the page. Whatever goes wrong in it is written down in `problems`."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.problems: list[str] = []
        self._allowed: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))

    def may_say(self, *patterns: str) -> None:
        """Allow problems that a test provokes."""
        self._allowed += patterns

    @property
    def surprises(self) -> list[str]:
        """The problems that nobody provoked."""
        return [one for one in self.problems if not any(re.search(p, one) for p in self._allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        """Failed requests, answers of 400 and more, and broken policies are written there too."""
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} ({message.location['url']})")


class Windows:
    """A running browser, and the windows that are open in it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.open: list[Window] = []

    async def new(self, **options: Any) -> Window:
        """Open a window that shares nothing with the others; options are those of a context."""
        given = {"viewport": DESK, "locale": "en-GB", "timezone_id": "Europe/Paris", **options}
        context = await self._browser.new_context(**given)
        context.set_default_timeout(WITHIN_MS)
        return await self._open(context)

    async def another(self, window: Window) -> Window:
        """Open a window beside one, with the same storage."""
        return await self._open(window.context)

    async def _open(self, context: BrowserContext) -> Window:
        page = await context.new_page()
        await page.add_init_script(_TOLD)
        window = Window(context, page)
        self.open.append(window)
        return window

    def must_be_well(self) -> None:
        """Raise if a window complained about anything that no test provoked."""
        surprises = [one for window in self.open for one in window.surprises]
        assert surprises == [], surprises


@asynccontextmanager
async def windows(chromium: Chromium) -> AsyncIterator[Windows]:
    """Start the browser; at the end nothing of it is left."""
    async with _driver(chromium) as driver:
        # Chromium's sandbox refuses to be root.
        is_root = os.geteuid() == 0
        browser = await driver.chromium.launch(
            executable_path=chromium.program,
            args=[*_ARGUMENTS, *(["--no-sandbox"] if is_root else [])],
            env={**os.environ, **chromium.environment},
            chromium_sandbox=not is_root,
        )
        try:
            yield Windows(browser)
        finally:
            await browser.close()


@asynccontextmanager
async def _driver(chromium: Chromium) -> AsyncIterator[Playwright]:
    """Start what drives the browser; its temporary files go where the browser is."""
    given = {
        "PLAYWRIGHT_NODEJS_PATH": node(),
        "NODE_COMPILE_CACHE": str(chromium.folder / "compiled"),
        "TMPDIR": str(chromium.folder),
    }
    before = dict(os.environ)
    os.environ.update(given)
    try:
        driver = await async_playwright().start()
    finally:
        for name in given:
            os.environ.pop(name)
        os.environ.update(before)
    try:
        yield driver
    finally:
        await driver.stop()


__all__ = ["DESK", "PHONE", "BrowserError", "Window", "Windows", "expect", "windows"]
