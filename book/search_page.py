"""Takes book/_static/search_page.webp, the picture of the search page: a real query, answered and explained.

python book/search_page.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import sync_playwright

from geoclip_lite import images

sys.path.append(str(Path(__file__).parents[1] / "results"))
from _service import Running

QUERY = "a blue square, a red pentagon and a yellow star"
WIDTH, HEIGHT = 1000, 1010  # pixels of the page
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def taken(address: str) -> Image.Image:
    """The page with its answer, in light."""
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for _ in range(2):  # a first search is slower than any later one
            page.goto(f"{address}/?{urlencode({'q': QUERY})}", wait_until="networkidle")
        page.wait_for_selector("#answer svg g")
        content = page.screenshot()
        browser.close()
    return images.read(content)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Running(log=Path(folder) / "log") as service:
        picture = taken(service.address)
    picture.save(Path(__file__).parent / "_static" / "search_page.webp", "WEBP", quality=88, method=6)


if __name__ == "__main__":
    main()
