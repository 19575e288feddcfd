"""Headless Chromium for tests of what people look at: one browser a session, a page of its own for every test.

A page fails its test by itself if anything goes wrong in it: an uncaught error, an error on the console, or a request
to anywhere but this machine. So no test has to look for that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
HOME = {"", "127.0.0.1", "localhost"}  # hosts that a page may ask: files, and servers of this machine


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window; skips where playwright or Chromium isn't there."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as play:
        # As root Chromium starts without its sandbox only; what it opens here are the project's own pages.
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Makes pages: ``opened(width=500, height=900, dark=True)``, and fails if one of them said something was wrong."""
    wrong: list[str] = []
    contexts = []

    def make(width: int = 1280, height: int = 900, *, dark: bool = False, script: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: (
                wrong.append(f"asked {asked.url}") if (urlsplit(asked.url).hostname or "") not in HOME else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    """One page, light, 1280 by 900."""
    return opened()
