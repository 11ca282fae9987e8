"""Slides of each chapter, taken from its page: what the cells tagged `slide` show, one to a slide.

    python book/slides.py PAGES     # book/build.py calls it for _build/html

A prediction question that stands before such a cell becomes a slide of its own, so that a lecturer can stop
there. What a chapter promises opens the deck, what it has taught closes it. A deck is a page without code:
the arrow keys turn it over, printing gives a slide a page, and from each slide a link leads to its place in
the book.
"""

from __future__ import annotations

import posixpath
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup, Tag

FOLDER = Path("_static", "slides")
LAST = ("What we learnt", "In short")  # headings of a chapter's summary
STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #0b5a8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #14181e; --soft: #8ecbf2; } }
html { scroll-snap-type: y mandatory; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.5rem/1.45 system-ui, sans-serif; }
section { min-height: 100vh; box-sizing: border-box; padding: 4vh 6vw; scroll-snap-align: start;
  display: flex; flex-direction: column; justify-content: center; gap: 1rem; break-after: page; }
h1, h2 { margin: 0; line-height: 1.2; font-size: 2rem; }
h1 { font-size: 2.6rem; }
img { width: min(100%, 70rem); max-height: 66vh; background: #fff; object-fit: contain;
  object-position: left; }
table { border-collapse: collapse; font-size: 1.05rem; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #8888; }
pre { font-size: 1rem; overflow-x: auto; }
ul, ol, p { margin: 0; }
li { margin: .5rem 0; }
a { color: var(--soft); }
footer { font-size: 1rem; }
.wide { overflow-x: auto; }
"""
KEYS = """
const slides = [...document.querySelectorAll('section')];
const here = () => slides.findIndex(slide => slide.getBoundingClientRect().bottom > innerHeight / 2);
const steps = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, ' ': 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1};
addEventListener('keydown', event => {
  if (event.key in steps && !event.target.closest('[tabindex="0"]') && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    slides[here() + steps[event.key]]?.scrollIntoView();
  }
});
"""


@dataclass(frozen=True)
class Slide:
    """A heading, what stands below it as HTML, and its place in the chapter."""

    title: str
    body: str
    anchor: str = ""


def slides_of(page: BeautifulSoup) -> list[Slide]:
    """The slides of a chapter's page, in reading order.

    Raises:
        ValueError: a page without a promise, a summary, or a cell tagged `slide`.
    """
    article = page.select_one("article")
    promise = article.select_one("div.admonition.note ul")
    endings = [h.parent for h in article.select("section > h2") if title_of(h.parent) in LAST]
    if promise is None or not endings:
        raise ValueError(f"page: {title_of(article)!r} lacks 'After this chapter you can' or its summary")
    slides, question = [Slide(title_of(article), f"<p>After this, you can</p>{promise}")], None
    for found in article.select("div.admonition.tip, div.cell.tag_slide"):
        section = found.find_parent("section")
        if "admonition" in found["class"]:
            question = Slide("Predict", "".join(map(str, found.select(":scope > p")[1:])), section["id"])
            continue
        slides += [question] if question else []
        slides.append(Slide(title_of(section), shown_by(found), section["id"]))
        question = None
    if len(slides) == 1:
        raise ValueError(f"page: no cell of {title_of(article)!r} is tagged slide")
    summary = [part for part in endings[0].find_all(True, recursive=False) if part.name in ("p", "ul", "ol")]
    return [*slides, Slide(title_of(endings[0]), "".join(map(str, summary)), endings[0]["id"])]


def title_of(part: Tag) -> str:
    """The first heading, without the link that stands behind it."""
    heading = part.find(["h1", "h2", "h3"])
    return "".join(text for text in heading.strings if text.parent.get("class") != ["headerlink"]).strip()


def shown_by(cell: Tag) -> str:
    """What a cell put out: pictures, tables and text; not its code. An explorer stays in the book."""
    output = cell.select_one(".cell_output")
    if output is None:
        raise ValueError(f"page: a cell tagged slide shows nothing: {cell.get_text()[:80]!r}")
    if output.select_one(".gcl"):
        return "<p>To be moved live: the explorer stands in the book.</p>"
    return f'<div class="wide" tabindex="0">{output.decode_contents()}</div>'


def deck(slides: list[Slide], chapter: str, head: str) -> str:
    """A whole page.

    Args:
        chapter: where the chapter lies, from the deck.
        head: scripts that formulas need.
    """
    parts = []
    for number, slide in enumerate(slides, 1):
        level = "h1" if number == 1 else "h2"
        place = f"{chapter}#{slide.anchor}" if slide.anchor else chapter
        foot = f'<footer>{number} of {len(slides)} · <a href="{place}">in the book</a></footer>'
        parts.append(f"<section><{level}>{slide.title}</{level}>{slide.body}{foot}</section>")
    title = slides[0].title
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{meta}<title>{title}: slides</title>'
        f"<style>{STYLE}</style>{head}</head>\n<body><main>\n"
        + "\n".join(parts)
        + f"\n</main><script>{KEYS}</script></body></html>\n"
    )


def moved(page: BeautifulSoup, chapter: str) -> BeautifulSoup:
    """The page with its links as they read from a deck.

    Args:
        chapter: where the page lies, from the deck.
    """
    for tag in page.select("[href], [src]"):
        key = "href" if tag.has_attr("href") else "src"
        link = tag[key]
        if link.startswith("#"):
            tag[key] = chapter + link
        elif not re.match(r"[a-z]+:|/", link):
            tag[key] = posixpath.normpath(posixpath.join(posixpath.dirname(chapter), link))
    return page


def write_decks(pages: Path) -> list[Path]:
    """Writes `_static/slides/NN.html` for every chapter of a built book."""
    written = []
    (pages / FOLDER).mkdir(parents=True, exist_ok=True)
    for path in sorted((pages / "notebooks").glob("[0-9][0-9]_*.html")):
        chapter = f"../../notebooks/{path.name}"
        page = moved(BeautifulSoup(path.read_text(), "html.parser"), chapter)
        formulas = [str(script) for script in page.select("script") if "mathjax" in str(script).lower()]
        target = pages / FOLDER / f"{path.name[:2]}.html"
        target.write_text(deck(slides_of(page), chapter, "".join(formulas)))
        written.append(target)
    return written


if __name__ == "__main__":
    print(f"{len(write_decks(Path(sys.argv[1])))} decks in {Path(sys.argv[1]) / FOLDER}")
