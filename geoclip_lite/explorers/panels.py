"""The parts of an explorer: controls, and panels that have something to show for every frame."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from geoclip_lite.plots import COLOURS
from geoclip_lite.scenes import Scene

Cell = tuple[int, bool, str]  # which picture, whether it is right, what it shows
SIDE = 64  # of a thumbnail, in pixels
COLUMNS = 12  # of the sprite


def data_address(picture: Image.Image) -> str:
    """A picture as an address that holds all of it, for a sprite or an `<image>` in a drawing."""
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=70, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


@dataclass(frozen=True)
class Control:
    """A slider over some values, or a choice from them.

    Args:
        name: what it changes, as the reader sees it.
        values: one a position, as the reader sees them.
        start: the position at first.
        choice: a list to choose from instead of a slider.
    """

    name: str
    values: Sequence[str]
    start: int = 0
    choice: bool = False

    def __post_init__(self):
        if len(self.values) < 2 or not 0 <= self.start < len(self.values):
            raise ValueError(
                f"values, start: {self.name!r} needs two positions or more and must start at one of them, "
                f"got {len(self.values)} and {self.start}"
            )

    def html(self, name: str) -> str:
        """The labelled control; `name` is its id."""
        shown = escape(self.values[self.start])
        if self.choice:
            options = "".join(
                f'<option value="{i}"{" selected" if i == self.start else ""}>{escape(value)}</option>'
                for i, value in enumerate(self.values)
            )
            field = f'<select id="{name}">{options}</select>'
            return f'<div class="gcl-control"><label for="{name}">{escape(self.name)}</label>{field}</div>'
        return (
            f'<div class="gcl-control"><label for="{name}">{escape(self.name)}: </label>'
            f"<output>{shown}</output>"
            f'<input type="range" id="{name}" min="0" max="{len(self.values) - 1}" step="1" '
            f'value="{self.start}" aria-valuetext="{shown}"></div>'
        )


@dataclass(frozen=True)
class Strip:
    """Pictures in a row.

    Args:
        pictures: all that any frame shows, each once.
        frames: for each frame the cells (number of the picture, whether it is right, what it shows); equally
            many in every frame.
    """

    pictures: Sequence[Image.Image]
    frames: Sequence[Sequence[Cell]]
    kind = "strip"

    def __post_init__(self):
        if len({len(cells) for cells in self.frames}) != 1:
            raise ValueError("frames: every frame of a strip must show equally many pictures")

    @classmethod
    def of_scenes(
        cls,
        scenes: Sequence[Scene],
        frames: Sequence[Sequence[int]],
        right: Sequence[int],
        label: Callable[[Scene], str] = lambda scene: scene.caption,
    ) -> Strip:
        """The pictures of some scenes, for instance the best of a ranking.

        Args:
            frames: numbers of scenes, one list a frame.
            right: the number of the scene that is right in each frame; -1: none.
            label: what to write under a picture; its caption by default.
        """
        used = {i: number for number, i in enumerate(sorted({i for frame in frames for i in frame}))}
        cells = [
            [(used[i], i == hit, label(scenes[i])) for i in frame]
            for frame, hit in zip(frames, right, strict=True)
        ]
        return cls([scenes[i].image(SIDE) for i in used], cells)

    def data(self) -> list:
        """What the script needs for each frame."""
        return [[[int(picture), bool(hit), label] for picture, hit, label in cells] for cells in self.frames]

    def html(self, start: int, number: int) -> str:
        """The list as it stands at first."""
        items = "".join(self._item(*cell) for cell in self.frames[start])
        return f'<ol class="gcl-strip" data-panel="{number}">{items}</ol>'

    def _item(self, picture: int, hit: bool, label: str) -> str:
        x, y = picture % COLUMNS * SIDE, picture // COLUMNS * SIDE
        where = f"width:{SIDE}px;height:{SIDE}px;background-position:-{x}px -{y}px"
        marked = ' class="hit"' if hit else ""
        thumb = f'<span role="img" aria-label="{escape(label)}" style="{where}"></span>'
        return f"<li{marked}>{thumb}<span>{escape(label)}</span></li>"

    def sprite(self) -> str:
        """All pictures in one file, as a data address."""
        rows = -(-len(self.pictures) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
        for i, picture in enumerate(self.pictures):
            sheet.paste(picture.resize((SIDE, SIDE)), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
        return data_address(sheet)


@dataclass(frozen=True)
class Curves:
    """Lines over the values of the first control, with a cursor at the current one.

    Args:
        x: one number a position of the first control.
        lines: name -> one number a position.
        xlabel, ylabel: of the axes.
        low, high: of the y axis.
    """

    x: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    xlabel: str
    ylabel: str = ""
    low: float = 0.0
    high: float = 1.0
    kind = "curves"
    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 220, 40, 120, 12, 36

    def _px(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[-1] - self.x[0])
        return round(self.LEFT + share * (self.WIDTH - self.LEFT - self.RIGHT), 1)

    def _py(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.HEIGHT - self.BOTTOM - share * (self.HEIGHT - self.TOP - self.BOTTOM), 1)

    def data(self) -> list[dict]:
        """Where cursor and dots stand in each frame of the first control."""
        return [
            {"x": self._px(x), "dots": [self._py(line[i]) for line in self.lines.values()]}
            for i, x in enumerate(self.x)
        ]

    def html(self, start: int, number: int) -> str:
        """The drawing with its cursor at the start."""
        at = self.data()[start]
        ends = f'x1="{at["x"]}" x2="{at["x"]}" y1="{self.TOP}" y2="{self.HEIGHT - self.BOTTOM}"'
        cursor = f'<line class="cursor" {ends} stroke="currentColor" stroke-dasharray="3 3"/>'
        parts = [self._axes(), cursor]
        for i, line in enumerate(self.lines.values()):
            colour = COLOURS[i % len(COLOURS)]
            points = " ".join(f"{self._px(x)},{self._py(y)}" for x, y in zip(self.x, line, strict=True))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<circle class="dot" r="4" cx="{at["x"]}" cy="{at["dots"][i]}" fill="{colour}"/>')
        for name, y in self._labels():
            parts.append(f'<text x="{self.WIDTH - self.RIGHT + 8}" y="{y + 4:.1f}">{escape(name)}</text>')
        names = ", ".join(self.lines)
        label = escape(f"{names} against {self.xlabel}; the caption gives the numbers at the cursor.")
        size = f'viewBox="0 0 {self.WIDTH} {self.HEIGHT}" width="{self.WIDTH}"'
        return f'<svg data-panel="{number}" {size} role="img" aria-label="{label}">{"".join(parts)}</svg>'

    def _labels(self) -> list[tuple[str, float]]:
        """Where each line's name stands: at its end, or as little lower or higher as keeps names apart."""
        ends = sorted((self._py(line[-1]), name) for name, line in self.lines.items())
        places: list[float] = []
        for y, _ in ends:
            places.append(max(y, places[-1] + 13) if places else y)
        too_low = max(0.0, places[-1] - (self.HEIGHT - self.BOTTOM))
        return [(name, place - too_low) for (_, name), place in zip(ends, places, strict=True)]

    def _axes(self) -> str:
        bottom, right = self.HEIGHT - self.BOTTOM, self.WIDTH - self.RIGHT
        frame = f'<path d="M{self.LEFT} {self.TOP}V{bottom}H{right}" fill="none" stroke="currentColor"/>'
        ticks = [
            f'<text x="{self.LEFT - 6}" y="{self._py(value) + 4}" text-anchor="end">{value:g}</text>'
            for value in np.linspace(self.low, self.high, 5).round(3)
        ]
        ticks += [
            f'<text x="{self._px(value)}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
            for value in np.linspace(self.x[0], self.x[-1], 5).round(3)
        ]
        middle = (self.LEFT + right) / 2
        ticks.append(
            f'<text x="{middle}" y="{bottom + 31}" text-anchor="middle">{escape(self.xlabel)}</text>'
        )
        return frame + "".join(ticks)


@dataclass(frozen=True)
class Drawing:
    """Inline SVG, one drawing a frame.

    Args:
        frames: SVG elements, in the coordinates of the view box; text takes the page's colour.
        width, height: of the view box.
        label: what the drawing is; the caption says what the frame shows.
        still: elements under every frame.
        picked: (x, y, width, height) of the area where the pointer sets the first control, from left to
            right, and the second, from top to bottom.
    """

    frames: Sequence[str]
    width: float
    height: float
    label: str
    still: str = ""
    picked: tuple[float, float, float, float] | None = None
    kind = "drawing"

    def data(self) -> list[str]:
        """The elements of each frame."""
        return list(self.frames)

    def html(self, start: int, number: int) -> str:
        """The drawing of the first frame."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}"'
        area = ""
        if self.picked:
            x, y, width, height = self.picked
            area = (
                f'<rect class="pick" x="{x}" y="{y}" width="{width}" height="{height}" fill="transparent"/>'
            )
        return (
            f'<svg data-panel="{number}" {size} role="img" aria-label="{escape(self.label)}">{self.still}'
            f'<g class="frame">{self.frames[start]}</g>{area}</svg>'
        )
