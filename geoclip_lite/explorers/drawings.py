"""Drawings that several chapters move: matchings, plans, maps, boxes on a picture, bars."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from PIL import Image

from geoclip_lite.explorers.panels import Drawing, data_address
from geoclip_lite.plots import COLOURS, GREY

Matrix = Sequence[Sequence[float]]
ROW, CELL, TILE = 45, 40, 34  # heights of a line of words, of a plan's cell, of a map's tile, in pixels


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" {style}/>'


def matchings(
    left: Sequence[str], right: Sequence[str], ways: Sequence[Sequence[tuple[int, int]]], costs: Matrix
) -> Drawing:
    """Words on both sides, joined by the pairs of one matching a frame, each with its cost."""
    words = [_text(185, 34 + ROW * i, name, "end") for i, name in enumerate(left)]
    words += [_text(315, 34 + ROW * j, name) for j, name in enumerate(right)]
    frames = [
        "".join(
            f'<line x1="190" y1="{30 + ROW * i}" x2="310" y2="{30 + ROW * j}" stroke="{COLOURS[i]}" '
            f'stroke-width="3"/>{_text(196, 24 + ROW * i, f"{float(costs[i][j]):.3f}")}'
            for i, j in way
        )
        for way in ways
    ]
    height = 20 + ROW * max(len(left), len(right))
    return Drawing(frames, 500, height, "phrases joined to objects, with costs", "".join(words))


def plans(rows: Sequence[str], columns: Sequence[str], tables: Sequence[Matrix]) -> Drawing:
    """A transport plan a frame: the more mass a cell carries, of what a row has to give, the darker."""
    words = [_text(170, 42 + CELL * i, name, "end") for i, name in enumerate(rows)]
    below = 30 + CELL * len(rows)
    words += [_text(185 + CELL * j, below + 14 * j, name) for j, name in enumerate(columns)]
    frames = []
    for table in tables:
        most = max(sum(float(mass) for mass in row) for row in table)
        frames.append(
            "".join(
                _box(180 + CELL * j, 20 + CELL * i, 36, 36, _filled(float(table[i][j]) / most))
                for i in range(len(rows))
                for j in range(len(columns))
            )
        )
    height = below + 14 * len(columns)
    return Drawing(frames, 430, height, "the plan: dark cells carry mass", "".join(words))


def _filled(share: float) -> str:
    return f'stroke="{GREY}" fill="{COLOURS[0]}" fill-opacity="{share:.2f}"'


def map_of_ranks(ranks: Sequence[Sequence[int]], label: str) -> Drawing:
    """A tile for every pair of positions of two controls, the first across; the pointer picks a tile.

    The better the rank, the darker its tile; from a hundred on all are as light.
    """
    tiles, rings = [], []
    for column, column_of_ranks in enumerate(ranks):
        for row, rank in enumerate(column_of_ranks):
            x, y, shade = TILE * column, TILE * row, max(0.05, 1 - log10(rank) / 2)
            tiles.append(_box(x, y, TILE - 2, TILE - 2, f'fill="{COLOURS[4]}" fill-opacity="{shade:.2f}"'))
            tiles.append(_text(x + 16, y + 21, str(rank), "middle"))
            ring = 'fill="none" stroke="currentColor" stroke-width="3"'
            rings.append(_box(x, y, TILE - 2, TILE - 2, ring))
    width, height = TILE * len(ranks), TILE * len(ranks[0])
    return Drawing(rings, width, height, label, "".join(tiles), (0, 0, width, height))


def boxes_on(picture: Image.Image, boxes: Sequence[Sequence[float]], side: int = 192) -> Drawing:
    """A box on a picture, one a frame; the pointer picks it.

    Args:
        boxes: left, top, right, bottom, in fractions of the picture.
    """
    still = f'<image href="{data_address(picture.resize((side, side)))}" width="{side}" height="{side}"/>'
    style = f'fill="none" stroke="{COLOURS[5]}" stroke-width="3"'
    frames = [
        _box(side * x, side * y, side * (right - x), side * (bottom - y), style)
        for x, y, right, bottom in boxes
    ]
    return Drawing(frames, side, side, "the picture, with a box on it", still, (0, 0, side, side))


def bars(names: Sequence[str], frames: Sequence[Sequence[float]], label: str) -> Drawing:
    """A bar a name, from -1 to 1, around a middle line."""

    def bar(i: int, value: float) -> str:
        style = f'fill="{COLOURS[i % len(COLOURS)]}"'
        shape = _box(110 + min(0, 110 * value), 40 * i + 20, abs(110 * value), 12, style)
        return shape + _text(10, 40 * i + 14, f"{names[i]}: {value:.2f}")

    drawn = ["".join(bar(i, float(value)) for i, value in enumerate(values)) for values in frames]
    return Drawing(drawn, 230, 40 * len(names) + 10, label)
