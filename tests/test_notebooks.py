"""The notebooks as they are committed, as they ran, and the links between the pages made from them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from built_book import EXECUTED, PAGES, ROOT, built_pages

MOST_LINES_IN_A_CELL = 30
MOST_COLUMNS = 88  # more would scroll out of the page's column at a window of 1280 pixels
LEAST_SHARE_OF_TEXT = 0.4
NOTEBOOKS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*/*.ipynb"))
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def cells(name: str, folder: Path = ROOT) -> list[nbformat.NotebookNode]:
    """The cells of a notebook as it is committed (ROOT) or as it ran (EXECUTED)."""
    if not (folder / name).exists():
        pytest.fail(f"{name} has not been executed: run `make book` first.")
    return nbformat.read(folder / name, as_version=4).cells


def code_cells_that(fault, name: str, folder: Path = ROOT) -> list[int]:
    """Numbers of the code cells of a notebook that have a fault."""
    return [n for n, cell in enumerate(cells(name, folder)) if cell.cell_type == "code" and fault(cell)]


def load_script(name: str):
    """The scripts in book/ stand beside the pages and are not part of an installed package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- as committed ------------------------------------------------------------------------------------


def test_toc_names_every_notebook_that_is_a_page_and_no_other():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    named = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    missing = [file for file in named if not any(ROOT.glob(f"{file}.*"))]
    live = load_script("build").LIVE
    forgotten = {name.removesuffix(".ipynb") for name in NOTEBOOKS if name not in live} - named
    assert not missing, f"_toc.yml names files that do not exist: {missing}"
    assert not forgotten, f"_toc.yml does not name these notebooks: {forgotten}"
    assert not named & {name.removesuffix(".ipynb") for name in live}, "a widget would be dead in a page"


@each_notebook
def test_committed_without_outputs(name):
    kept = code_cells_that(lambda cell: cell.outputs or cell.execution_count, name)
    assert not kept, f"cells {kept} carry outputs: run `python book/normalise.py`"


@each_notebook
def test_ids_are_present_and_unique(name):
    ids = [cell.get("id") for cell in cells(name)]
    assert all(ids), "cells without an id: run `python book/normalise.py`"
    assert len(set(ids)) == len(ids), "cells share an id: run `python book/normalise.py`"


@each_notebook
def test_normalised(name):
    text = (ROOT / name).read_text()
    assert load_script("normalise").normalised(text) == text, "run `python book/normalise.py`"


def test_normaliser_removes_what_a_session_leaves():
    cell = nbformat.v4.new_code_cell("1 + 1", id="abc", metadata={"collapsed": True, "tags": ["hide-input"]})
    cell.execution_count, cell.outputs = 3, [nbformat.v4.new_output("stream", text="2")]
    twin = nbformat.v4.new_code_cell("1 + 1", id="def")
    mine = {"kernelspec": {"display_name": "Mine", "name": "mine"}, "path": "/home/me"}
    dirty = nbformat.v4.new_notebook(cells=[cell, twin], metadata=mine)
    once = load_script("normalise").normalised(nbformat.writes(dirty))
    clean = nbformat.reads(once, as_version=4)
    assert clean.metadata.kernelspec.name == "python3"
    assert "path" not in clean.metadata
    assert clean.cells[0].metadata == {"tags": ["hide-input"]}
    assert clean.cells[0].outputs == []
    assert clean.cells[0].id != clean.cells[1].id
    assert load_script("normalise").normalised(once) == once


@each_notebook
def test_a_cell_fits_on_a_screen(name):
    long = [n for n, cell in enumerate(cells(name)) if len(cell.source.splitlines()) > MOST_LINES_IN_A_CELL]
    assert not long, f"cells {long} have more than {MOST_LINES_IN_A_CELL} lines: divide them"


@each_notebook
def test_code_fits_the_page(name):
    wide = code_cells_that(lambda cell: max(map(len, cell.source.split("\n"))) > MOST_COLUMNS, name)
    assert not wide, f"cells {wide} have lines of more than {MOST_COLUMNS} characters: break them"


@each_notebook
def test_text_carries_the_code(name):
    share = sum(cell.cell_type == "markdown" for cell in cells(name)) / len(cells(name))
    assert share >= LEAST_SHARE_OF_TEXT, f"only {share:.0%} of the cells are text"


def test_a_progress_bar_of_a_slow_machine_is_no_part_of_a_page_and_other_messages_are():
    texts = [" 67%|████   | 672/1000 [00:10<00:04, 67.01 queries/s]\r100%|███| 1000/1000 [00:11<00:00]\n", ""]
    texts += [
        "UserWarning: 50% of the rows are empty\n",
        "100%|██| 4/4 [00:10<00:00, 1.1it/s]\nUserWarning: no\n",
    ]
    bars = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in texts]
    said = nbformat.v4.new_output("stream", name="stdout", text=texts[0])
    drawn = nbformat.v4.new_output("display_data", data={"text/plain": "a figure"})
    cell = nbformat.v4.new_code_cell("work()", outputs=[*bars, said, drawn])
    clean = load_script("build").without_traces(nbformat.v4.new_notebook(cells=[cell]))
    assert clean.cells[0].outputs == [*bars[2:], said, drawn]


# ---- as run ------------------------------------------------------------------------------------------


def draws_a_picture(cell: nbformat.NotebookNode) -> bool:
    """Whether the page shows a cell's output as an image (HTML, where there is some, is shown instead)."""
    kinds = [set(output.get("data", {})) for output in cell.outputs]
    return any("text/html" not in kind and any(mime.startswith("image/") for mime in kind) for kind in kinds)


def alternative(cell: nbformat.NotebookNode) -> str:
    """The text that stands in for a cell's figure."""
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


@each_notebook
def test_every_figure_has_a_text_in_its_place(name):
    silent = code_cells_that(lambda cell: draws_a_picture(cell) and not alternative(cell), name, EXECUTED)
    assert not silent, (
        f"cells {silent} draw: say what is seen, in their metadata mystnb: {{image: {{alt: ...}}}}"
    )


def was_left_out(cell: nbformat.NotebookNode) -> bool:
    meant = "skip-execution" in cell.metadata.get("tags", [])
    return bool(cell.source.strip()) and not cell.execution_count and not meant


@each_notebook
def test_ran_to_its_end(name):
    waiting = code_cells_that(was_left_out, name, EXECUTED)
    assert not waiting, f"cells {waiting} were not executed: run `make book`"


# ---- as pages ----------------------------------------------------------------------------------------


@cache
def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(), "html.parser")


@cache
def anchors(page: Path) -> frozenset[str]:
    """Everything on a page that a link may point to."""
    return frozenset(tag["id"] for tag in parsed(page).find_all(id=True))


def leads_nowhere(page: Path, address: str) -> bool:
    """Whether a local address on a page names no file, or no place in it."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return True
    return (
        bool(parts.fragment) and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target)
    )


def broken_links(page: Path) -> list[str]:
    """Addresses of links, scripts, styles and images of a page that lead nowhere."""
    tags = parsed(page).find_all(lambda tag: tag.has_attr("href") or tag.has_attr("src"))
    return sorted(a for a in {tag.get("href") or tag.get("src") for tag in tags} if leads_nowhere(page, a))


def test_links_inside_the_book_lead_somewhere(book):
    broken = {page: links for page in built_pages() if (links := broken_links(PAGES / page))}
    assert not broken, f"broken links: {broken}"
