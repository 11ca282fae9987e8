"""Bring notebooks into the form in which they are committed: no outputs, quiet metadata, stable ids.

    python book/normalise.py                   # all notebooks of the book
    python book/normalise.py notebooks/01*     # these
    python book/normalise.py --check           # change nothing, fail if something would change

Run it before each commit. A cell's id is a digest of its text, so an edited cell changes its own id and no
other, and the same text gives the same id on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NOTEBOOK_KEYS = {"execution", "mystnb"}  # nbmake's time limit, MyST-NB's settings
CELL_KEYS = {"tags", "mystnb"}  # how a cell is shown, its figure's alt text


def book_notebooks() -> list[Path]:
    """Every notebook that belongs to the book, whether or not `_toc.yml` names it."""
    return sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.ipynb")])


def normalised(text: str) -> str:
    """A notebook's file in its committed form."""
    notebook = nbformat.reads(text, as_version=4)
    kept = {key: value for key, value in notebook.metadata.items() if key in NOTEBOOK_KEYS}
    notebook.metadata = nbformat.from_dict(
        {**kept, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    notebook.nbformat_minor = 5
    taken: set[str] = set()
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_KEYS and v})
        cell.id = unused_id(cell, taken)
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


def unused_id(cell: nbformat.NotebookNode, taken: set[str]) -> str:
    """Eight digits from the cell's type and text; a repeated cell takes the next digest in a chain."""
    name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
    while name in taken:
        name = hashlib.sha256(name.encode()).hexdigest()[:8]
    taken.add(name)
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all notebooks of the book if none is named")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    arguments = parser.parse_args()
    changed = []
    for path in arguments.notebooks or book_notebooks():
        before = path.read_text()
        after = normalised(before)
        if after != before:
            changed.append(str(path))
            if not arguments.check:
                path.write_text(after)
    if changed:
        print("would change:" if arguments.check else "normalised:", *changed)
    sys.exit(bool(changed and arguments.check))


if __name__ == "__main__":
    main()
