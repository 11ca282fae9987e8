"""What a product is made of and what is printed on it: the paint of every pixel.

A material must be seen at 64 pixels and on any colour, so each one is overdrawn, as in a catalogue for
children: metal has bright bands, glass shows what is behind it, knitted things show their stitches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from geoclip_lite.datasets.things.brush import Brush, Colour, Outline, shade

Grid = Float[np.ndarray, "height width"]
Paint = Float[np.ndarray, "height width 3"]
STITCH, TIMBER = (244, 226, 190), (150, 104, 62)


@dataclass(frozen=True)
class Surface:
    """Colour, print and material.

    Args:
        colour: of the ground.
        second: of the print.
        pattern: a name in `PATTERNS`.
        material: a name in `MATERIALS`.
    """

    colour: Colour
    second: Colour
    pattern: str
    material: str

    def paint(self, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
        """The paint of some pixels.

        Args:
            x, y: where they lie on the product; an ordinary one is about 1.7 high.
            across: from 0 at the left edge of the part to 1 at its right edge.
            behind: what has been drawn there before.
        """
        printed = PATTERNS[self.pattern](x, y)[..., None]
        ground = np.where(printed, np.array(self.second, float), np.array(self.colour, float))
        return MATERIALS[self.material](ground, x, y, across[..., None], behind)


# --- prints ---------------------------------------------------------------------------------------


def _plain(x: Grid, y: Grid) -> Bool[np.ndarray, "height width"]:
    return np.zeros(x.shape, bool)


def _striped(x: Grid, y: Grid) -> Bool[np.ndarray, "height width"]:
    return y / 0.3 % 1 < 0.45


def _dotted(x: Grid, y: Grid) -> Bool[np.ndarray, "height width"]:
    row = np.floor(y / 0.28)
    return np.hypot((x / 0.28 + row / 2) % 1 - 0.5, y / 0.28 % 1 - 0.5) < 0.33


def _checked(x: Grid, y: Grid) -> Bool[np.ndarray, "height width"]:
    return (np.floor(x / 0.24) + np.floor(y / 0.24)) % 2 < 1


def _zigzag(x: Grid, y: Grid) -> Bool[np.ndarray, "height width"]:
    return (y / 0.36 + 0.9 * np.abs(x / 0.44 % 1 - 0.5)) % 1 < 0.42


PATTERNS: dict[str, Callable[[Grid, Grid], Bool[np.ndarray, "height width"]]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "zigzag": _zigzag,
}


# --- materials ------------------------------------------------------------------------------------


def _wooden(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    grain = np.sin(22 * x + 3 * np.sin(2.6 * y + 1))[..., None]
    stained = 0.72 * ground + 0.28 * np.array(TIMBER, float)
    return stained * np.where(grain > 0.35, 0.72, 1.04)


def _metal(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    light = np.interp(
        across, [0, 0.12, 0.26, 0.36, 0.52, 0.74, 0.86, 1], [0.4, 0.8, 1.0, 1.0, 0.7, 0.42, 0.9, 0.5]
    )
    shine = np.interp(across, [0, 0.2, 0.28, 0.36, 1], [0, 0, 0.8, 0, 0])
    return (ground * light) * (1 - shine) + 255 * shine


def _glass(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    edge = np.interp(across, [0, 0.08, 0.92, 1], [0.9, 0.42, 0.42, 0.9])
    glint = ((across > 0.16) & (across < 0.23) & (y % 0.7 > 0.12)[..., None]) * 0.85
    return (edge * ground + (1 - edge) * behind) * (1 - glint) + 255 * glint


def _plastic(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    light = np.interp(across, [0, 0.3, 1], [1.05, 1.12, 0.9])
    spot = (np.hypot((across[..., 0] - 0.3) / 0.11, (y % 1.1 - 0.8) / 0.13) < 1)[..., None]
    return np.where(spot, 255, ground * light)


def _leather(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    creased = 0.06 * np.sin(17 * x + 4 * np.sin(9 * y)) * np.sin(13 * y + 3 * np.sin(11 * x))
    hide = ground * (0.74 + creased[..., None]) * np.interp(across, [0, 0.3, 1], [0.95, 1.08, 0.8])
    seam = (np.abs(y % 0.56 - 0.3) < 0.035) & (x % 0.16 < 0.1)
    return np.where(seam[..., None], np.array(STITCH, float), hide)


def _knitted(ground: Paint, x: Grid, y: Grid, across: Grid, behind: Paint) -> Paint:
    stitch = (y / 0.15 + 1.2 * np.abs(x / 0.15 % 1 - 0.5)) % 1
    return ground * np.interp(stitch, [0, 0.3, 0.5, 1], [0.62, 0.8, 1.12, 1.04])[..., None]


MATERIALS: dict[str, Callable[[Paint, Grid, Grid, Grid, Paint], Paint]] = {
    "wooden": _wooden,
    "metal": _metal,
    "glass": _glass,
    "plastic": _plastic,
    "leather": _leather,
    "knitted": _knitted,
}


# --- the brush ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProductBrush(Brush):
    """A brush that also knows the surface of the product it draws."""

    surface: Surface = field(kw_only=True)

    def dress(self, *outlines: Outline) -> None:
        """Parts in the product's own colour, print and material."""
        for outline in outlines:
            points = np.array(self.on_canvas(outline))
            low = np.clip(np.floor(points.min(0)).astype(int), 0, None)
            high = np.minimum(np.ceil(points.max(0)).astype(int) + 1, self.canvas.size)
            mask = Image.new("L", tuple(int(s) for s in high - low))
            ImageDraw.Draw(mask).polygon([tuple(p) for p in points - low], fill=255)
            box = tuple(int(v) for v in (*low, *high))
            paint = self._surface_paint(box, np.asarray(self.canvas.crop(box), float))
            self.canvas.paste(Image.fromarray(paint.clip(0, 255).astype(np.uint8)), box[:2], mask)

    def _surface_paint(self, box: tuple[int, int, int, int], behind: Paint) -> Paint:
        columns = np.arange(box[0], box[2]) - self.origin[0]
        rows = np.arange(box[1], box[3])[:, None] - self.origin[1]
        own = np.linalg.inv(self.axes)
        x, y = (step[0] * columns + step[1] * rows for step in own)
        across = np.broadcast_to(np.linspace(0, 1, len(columns)), x.shape)
        return self.surface.paint(x, y, across, behind)

    def shaded(self, light: float) -> Colour:
        """The product's colour, darker (below 1) or lighter (above)."""
        return shade(self.surface.colour, light)
