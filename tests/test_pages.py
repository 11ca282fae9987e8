"""Every built page in a real browser: complete offline, readable in light and dark and on a phone."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_book import PAGES, built_pages

MOST_BYTES = 1_500_000
MOST_BYTES_LIVE = 3_000_000  # the page that holds an encoder; test_live.py weighs it with both diets
# Without `preload` axe does not fetch style sheets a second time (and from wrong addresses).
AXE_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "resultTypes": ["violations"],
    "preload": False,
}
FILE_NAME = re.compile(r"\.(png|svg|jpe?g|webp)$|[0-9a-f]{32}")
WEIGHT = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
IMAGES = """() => [...document.images].map(image => ({
    source: image.src, alt: image.alt, loaded: image.complete && image.naturalWidth > 0}))"""
TYPESET = "() => !window.MathJax || window.MathJax.startup.promise.then(() => true)"
UNFOLD = """() => {
    document.querySelectorAll('details').forEach(details => details.open = true);
    document.querySelectorAll('.toggle-button-hidden').forEach(button => button.click());
    document.querySelectorAll('img[loading=lazy]').forEach(image => image.loading = 'eager');
    document.getAnimations().forEach(animation => animation.finish());
    return Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}"""

each_page = pytest.mark.parametrize("page", built_pages() or ["no book: run `make book` first"])


class Visit:
    """A page opened in a fresh context and unfolded, with everything it complained about on the way."""

    def __init__(self, browser, address: str, home: str, scheme: str = "light", width: int = 1280):
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page, self.home, self.complaints = self.context.new_page(), home, []
        self.page.on("request", self.note_request)
        self.page.on("requestfailed", self.note_failure)
        self.page.on("response", self.note_response)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        self.page.on("console", self.note_console)
        self.page.goto(address, wait_until="load")
        self.page.wait_for_function(TYPESET)
        self.page.evaluate(UNFOLD)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def note_request(self, request):
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.complaints.append(f"asks another host: {request.url}")

    def note_failure(self, request):
        self.complaints.append(f"{request.failure}: {request.url}")

    def note_response(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def note_console(self, message):
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")


def complaints_about_images(page) -> list[str]:
    """Images that did not load, or whose alternative text is missing or no more than a file's name."""
    images = page.evaluate(IMAGES)
    broken = [f"not loaded: {image['source']}" for image in images if not image["loaded"]]
    silent = [i["source"] for i in images if not i["alt"].strip() or FILE_NAME.search(i["alt"])]
    return broken + [f"no alternative text: {source}" for source in silent]


def complaints_about_access(page) -> list[str]:
    """What axe-core finds against WCAG 2.1 A and AA: rule and places."""
    found = Axe().run(page, options=AXE_RULES).response["violations"]
    return [f"axe {rule['id']}: {[node['target'] for node in rule['nodes']][:5]}" for rule in found]


def complaints_about_weight(page) -> list[str]:
    weight, most = page.evaluate(WEIGHT), MOST_BYTES_LIVE if "/try_live." in page.url else MOST_BYTES
    return [f"weighs {weight:,} bytes, more than {most:,}"] if weight > most else []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@each_page
def test_page_is_complete_and_accessible(browser, site, page, scheme):
    with Visit(browser, f"{site}/{page}", site, scheme) as visit:
        assert visit.page.evaluate("document.documentElement.dataset.theme") == scheme
        checks = [complaints_about_images, complaints_about_access, complaints_about_weight]
        found = [complaint for check in checks for complaint in check(visit.page)]
        assert not visit.complaints + found


@each_page
def test_page_fits_a_phone(browser, site, page):
    with Visit(browser, f"{site}/{page}", site, width=390) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.page.evaluate("document.body.scrollWidth") <= 390
        assert not complaints_about_access(visit.page)


def words_found(visit: Visit) -> list[str]:
    """Titles of the pages that the search page lists."""
    visit.page.wait_for_selector("ul.search li a")
    return visit.page.locator("ul.search li > a").all_inner_texts()


def test_search_finds_a_word(browser, site):
    with Visit(browser, f"{site}/search.html?q=cosine", site) as visit:
        assert any("Pointwise retrieval" in title for title in words_found(visit))
        assert not visit.complaints


def test_door_leads_to_the_first_page(browser, site):
    with Visit(browser, f"{site}/book/teaching.html", site) as visit:
        visit.page.goto(site, wait_until="commit")
        visit.page.wait_for_url(f"{site}/book/intro.html")
        # A page that is left gives up what it was still loading.
        assert not [complaint for complaint in visit.complaints if "net::ERR_ABORTED" not in complaint]


@pytest.mark.parametrize("page", ["book/intro.html", "notebooks/01_pointwise_retrieval.html"])
def test_page_opens_from_the_disk(browser, book, page):
    with Visit(browser, (PAGES / page).as_uri(), book.as_uri()) as visit:
        assert not visit.complaints + complaints_about_images(visit.page)


def test_search_works_from_the_disk(browser, book):
    with Visit(browser, f"{(PAGES / 'search.html').as_uri()}?q=cosine", book.as_uri()) as visit:
        assert any("Pointwise retrieval" in title for title in words_found(visit))
        assert not visit.complaints
