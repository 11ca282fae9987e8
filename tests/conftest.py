"""Fixtures of the tests of the book: its pages, a server for them, a browser to open them with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from built_book import PAGES, serve

CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the built book."""
    if not (PAGES / "index.html").exists():
        pytest.fail("There is no built book: run `make book` first.")
    return PAGES


@pytest.fixture(scope="session")
def site(book):
    """The address of the book on a local server."""
    with serve() as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all browser tests. Without one they are skipped, in CI they fail."""
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        give_up = pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip
        give_up("No Chromium found. Install it (Debian, Ubuntu: apt-get install chromium) to test the pages.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()
