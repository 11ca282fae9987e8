"""What was found, as HTML: every picture with the text that stands in for it."""

from __future__ import annotations

import traceback
from html import escape

from geoclip_lite import plots
from geoclip_lite.widgets.bench import SIDE, Bench
from geoclip_lite.widgets.search import SHOWN, Found, Match, Question


def strip_html(bench: Bench, found: Found) -> str:
    """The first pictures with scores and captions, best first."""
    ranking = found.ranking
    numbers, scores = (rows[0, :SHOWN].tolist() for rows in (ranking.indices, ranking.scores))
    items = "".join(
        f'<li style="width:{SIDE + 24}px"><img src="{bench.thumbnails[i]}" width="{SIDE}" height="{SIDE}" '
        f'alt="{escape(caption)}" style="display:block;border:1px solid {plots.GREY}">'
        f"{place}. {score:.3f}<br>{escape(caption)}</li>"
        for place, (i, score, caption) in enumerate(zip(numbers, scores, found.captions, strict=True), 1)
    )
    style = "display:flex;flex-wrap:wrap;gap:8px;list-style:none;padding:0;line-height:1.25"
    return f'<ol aria-label="pictures found, best first" style="{style}">{items}</ol>'


def matches_html(bench: Bench, found: Found) -> str:
    """The first picture with a numbered box for every phrase, and a list that says the same."""
    if not found.matches:
        return ""
    best = bench.thumbnails[int(found.ranking.indices[0, 0])]
    said = [f"{m.phrase}: {m.place}, cosine {m.cosine:.2f}" for m in found.matches]
    label = escape(f"First picture. {'; '.join(said)}")
    boxes = "".join(_box(i, match) for i, match in enumerate(found.matches))
    items = "".join(f"<li>{escape(line)}</li>" for line in said)
    picture = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 100 100" width="220" '
        f'style="border:1px solid {plots.GREY}"><image href="{best}" width="100" height="100"/>{boxes}</svg>'
    )
    listed = f'<ol aria-label="objects of the query in the first picture">{items}</ol>'
    return f'<div style="display:flex;gap:16px;align-items:center">{picture}{listed}</div>'


def _box(number: int, match: Match) -> str:
    """A frame and its number on a plate, in coordinates of a picture 100 wide."""
    left, top, right, bottom = (100 * side for side in match.box)
    colour = plots.COLOURS[number % len(plots.COLOURS)]
    x = left + (7 * number) % max(1, right - left - 7)  # several phrases may lie on nearly the same place
    return (
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" '
        f'stroke="{colour}" stroke-width="1.2"/><rect x="{x}" y="{top}" width="7" height="7" fill="white"/>'
        f'<text x="{x + 1.5}" y="{top + 5.6}" font-size="6" fill="black">{number + 1}</text>'
    )


def numbers_html(question: Question, found: Found, seconds: float) -> str:
    """What can be counted: the best score, the words of the steering, the time."""
    scores, shown = found.ranking.scores[0], len(found.captions)
    lines = [f"{found.ranking.method}: best score {scores[0]:.3f}, last shown {scores[shown - 1]:.3f}"]
    for word in filter(None, (question.source, question.target)):
        holding = sum(word in caption.replace(",", " ").split() for caption in found.captions)
        lines.append(f"{holding} of {shown} captions say <i>{escape(word)}</i>")
    return f"<div>{'; '.join(lines)} ({1000 * seconds:.0f} ms)</div>"


def notes_html(found: Found) -> str:
    """What the encoder could only guess at."""
    return "".join(f'<div role="status">Note: {escape(note)}</div>' for note in found.notes)


def stopped_html(what: str, done: int, total: int) -> str:
    """How far stopped work has come."""
    so_far = f"Stopped {what}: {done:,} of {total:,} pictures are done."
    return f'<div role="status">{so_far} Change any control to go on.</div>'


def problem_html(problem: Exception) -> str:
    """What to change, for a reader; what no reader can have caused, with its traceback."""
    head = f'<div role="alert"><b>{escape(str(problem)) or type(problem).__name__}</b></div>'
    if isinstance(problem, ValueError | OSError):
        return head
    trace = escape("".join(traceback.format_exception(problem)))
    summary = f"{type(problem).__name__}: nothing that was asked should lead to this"
    return f"{head}<details><summary>{summary}</summary><pre>{trace}</pre></details>"
