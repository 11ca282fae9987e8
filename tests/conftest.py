"""Fixtures that several files of tests share: one thread, a model behind a server, the book in a browser."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import built_book
import chat_server
import pytest
import torch
from built_book import PAGES

# Clients of the service, and the service in a process of its own, are shared with the scripts of results/.
sys.path.append(str(Path(__file__).parents[1] / "results"))

# Helpers that assert: before a test file imports them, so that a failure shows what was compared.
pytest.register_assert_rewrite("index_contract", "index_on_server", "near_ties", "service_on_server")

# Files whose tests wait for other processes: browsers, kernels, servers, clusters, writers that are killed.
WITH_OTHERS = {
    "test_embedding",
    "test_explorers",
    "test_index",
    "test_index_milvus",
    "test_live",
    "test_pages",
    "test_playground",
    "test_publishing",
    "test_service_page",
    "test_service_process",
    "test_store",
    "test_widgets",
}
# The longest files, longest first: begun at once, none of them is what a worker does alone in the end.
LONG = (
    "test_pages",
    "test_index_milvus",
    "test_embedding",
    "test_live",
    "test_results",
    "test_service_process",
    "test_playground",
    "test_rewriting",
    "test_store",
    "test_training",
)
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


def pytest_collection_modifyitems(items):
    """A second try for what waits for another process, since it may wait too briefly on a busy machine.

    A test that needed it is told in the summary, as RERUN.
    """
    places = {stem: place for place, stem in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))
    for item in items:
        if item.path.stem in WITH_OTHERS:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="module")
def one_thread():
    """Small matrices are slower with several threads, and much slower on a busy machine.

    What training has made deterministic is so no longer after the module.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


# --- a language model -----------------------------------------------------------------------------


@pytest.fixture
def no_pauses(monkeypatch):
    """A server in trouble is tried again at once; the pauses that there would have been."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def serve():
    """Replies -> a running server that gives them, and its endpoint; see `chat_server.serving`."""
    with ExitStack() as running:
        yield lambda *replies, **about: running.enter_context(chat_server.serving(*replies, **about))


# --- the book -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the built book."""
    if not (PAGES / "index.html").exists():
        pytest.fail("There is no built book: run `make book` first.")
    return PAGES


@pytest.fixture(scope="session")
def site(book):
    """The address of the book on a local server."""
    with built_book.serve() as address:
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
