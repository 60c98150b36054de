"""Debian's Chromium without a window, as a customer's browser."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from cartwheel.local import packages
from cartwheel.local.console import Console

PHONE, DESKTOP = 375, 1280
"""Widths in CSS pixels."""

_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """Yield a browser that asks nobody but the pages that a test opens."""
    if shutil.which("chromium") is None:
        needed = {"chromium": "tests of pages"}
        await asyncio.to_thread(packages.install, needed, Console(quiet=True))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_QUIET
        )
        try:
            yield browser
        finally:
            await browser.close()
