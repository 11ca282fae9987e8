"""One notebook, two readers: solutions are written once, the stubs that students fill in are derived.

A code cell tagged `solution` holds the function with its answer between two marker lines. The stub is the
same cell with the answer taken out; it stands in a cell tagged `stub` further up, and a test compares.
"""

from __future__ import annotations

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
