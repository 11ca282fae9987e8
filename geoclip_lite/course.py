"""One notebook, two readers: solutions are written once, the stubs that students fill in are derived.

A code cell tagged `solution` holds the function with its answer between two marker lines. The stub is the
same cell with the answer taken out; it stands in a cell tagged `stub` further up, and a test compares.

    python -m geoclip_lite.course notebooks course    # course/student, course/instructor
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from geoclip_lite.files import write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

SOLUTION = re.compile(r"```\{solution-start\}.*?```\n(.*?)```\{solution-end\}\n```\n*", re.DOTALL)
OPENS, CLOSES = "```{solution-start}", "```{solution-end}"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
UNWRITTEN = "your turn"
INSTEAD = f'raise NotImplementedError("{UNWRITTEN}")'


def stub(solution: str) -> str:
    """The source of a solution cell with every answer replaced by a `raise`.

    Raises:
        ValueError: no answer is marked, or a marker lacks its partner.
    """
    kept, inside, answers = [], False, 0
    for line in solution.splitlines():
        marker = line.strip()
        if marker in (BEGIN, END):
            if inside == (marker == BEGIN):
                raise ValueError(f"solution: {marker!r} without its partner in:\n{solution}")
            inside, answers = not inside, answers + (marker == BEGIN)
            if inside:
                kept.append(line.replace(BEGIN, INSTEAD))
        elif not inside:
            kept.append(line)
    if inside or not answers:
        raise ValueError(f"solution: expected {BEGIN!r} ... {END!r} around the answer in:\n{solution}")
    return "\n".join(kept)


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A copy for students: no solution, neither as code nor in words.

    Raises:
        ValueError: a solution that begins and does not end, or ends and did not begin.
    """
    import nbformat

    cells, inside = [], False
    for cell in notebook.cells:
        text = SOLUTION.sub("", cell.source) if cell.cell_type == "markdown" else cell.source
        if cell.cell_type == "markdown" and CLOSES in text:
            if not inside:
                raise ValueError(f"notebook: a solution ends that did not begin, in {text!r}")
            inside, text = False, text.split(CLOSES, 1)[1].removeprefix("\n```").lstrip("\n")
        if cell.cell_type == "markdown" and OPENS in text:
            text, inside = text.split(OPENS, 1)[0].rstrip("\n"), True
            cells += [_with(cell, text)] if text else []
        elif text and not inside and "solution" not in cell.metadata.get("tags", []):
            cells.append(_with(cell, text))
    if inside:
        raise ValueError("notebook: a solution begins that does not end")
    return nbformat.from_dict({**notebook, "cells": cells})


def _with(cell: NotebookNode, text: str) -> NotebookNode:
    import nbformat

    return nbformat.from_dict({**cell, "source": text})


def write_sets(notebooks: Path, out: Path) -> list[Path]:
    """Writes every chapter twice: `out/student` without solutions, `out/instructor` as it is.

    Raises:
        FileNotFoundError: no chapter in the folder.
        ValueError: see `without_solutions`.
    """
    import nbformat

    chapters = sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb"))
    if not chapters:
        raise FileNotFoundError(f"notebooks: there is no chapter in {notebooks}")
    written = []
    for path in chapters:
        notebook = nbformat.read(path, as_version=4)
        for name, content in (("student", without_solutions(notebook)), ("instructor", notebook)):
            target = Path(out) / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, nbformat.writes(content).encode())
            written.append(target)
    return written


def main(arguments: list[str] | None = None) -> int:
    """0 if the sets were written, 1 if there is nothing to write."""
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.course", description="A set for students and one for instructors."
    )
    parser.add_argument("notebooks", type=Path, help="folder of the chapters")
    parser.add_argument("out", type=Path, help="folder for the two sets")
    options = parser.parse_args(arguments)
    try:
        written = write_sets(options.notebooks, options.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written) // 2} chapters in {options.out}/student and {options.out}/instructor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
