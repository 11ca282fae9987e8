"""A brush that draws in an object's own coordinates, wherever the object stands and however it lies.

The origin of these coordinates is the point where the object touches the ground, x goes right, y goes up,
and an ordinary object is about 1.7 high. All outlines are polygons, so one affine map places, mirrors,
scales and topples everything, stripes included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from scipy.interpolate import PchipInterpolator

Colour = tuple[int, int, int]
Outline = Float[np.ndarray, "corners 2"]
OVERSAMPLING = 4  # canvases are drawn so many times too large and averaged down for smooth edges


# --- outlines -------------------------------------------------------------------------------------


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360) -> Outline:
    """An ellipse, or the part of it between two angles in degrees, counted from the right over the top."""
    angles = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Outline:
    """A rectangle with sides along the axes."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def turned(*profile: tuple[float, float]) -> Outline:
    """What a lathe makes: symmetric around x = 0, with (height, half width) at some heights."""
    heights, widths = np.array(profile).T
    y = np.linspace(heights[0], heights[-1], 60)
    x = PchipInterpolator(heights, widths)(y)
    return np.concatenate([np.stack([x, y], 1), np.stack([-x, y], 1)[::-1]])


def curve(*points: tuple[float, float]) -> Outline:
    """A smooth line through some points, in their order."""
    along = np.linspace(0, len(points) - 1, 40)
    return PchipInterpolator(np.arange(len(points)), np.array(points))(along)


def jagged(x: float, y: float, radius: float, corners: int = 9) -> Outline:
    """A hole with teeth, as in broken glass."""
    angles = 2 * np.pi * np.arange(2 * corners) / (2 * corners) + 0.3
    lengths = radius * np.where(np.arange(2 * corners) % 2, 0.45, 1.0) * (1 + 0.25 * np.sin(5 * angles))
    return np.stack([x + lengths * np.cos(angles), y + lengths * np.sin(angles)], axis=1)


def shade(colour: Colour, light: float) -> Colour:
    """The colour with 0 < light < 1 times its light, or, above 1, so much nearer to white."""
    c = np.array(colour, float)
    mixed = c * light if light <= 1 else 255 - (255 - c) / light
    return tuple(int(v) for v in mixed)


# --- the brush ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brush:
    """Draws on a canvas in the coordinates of one object.

    Args:
        canvas: the picture, OVERSAMPLING times too large.
        axes: columns: what one step right and one step up in the object is on the canvas, in pixels.
        origin: where the object touches the ground, in pixels.
    """

    canvas: Image.Image
    axes: Float[np.ndarray, "2 2"]
    origin: Float[np.ndarray, "2"]

    def moved(self, x: float, y: float) -> Brush:
        """The brush of something that stands at (x, y)."""
        return replace(self, origin=self.origin + self.axes @ (x, y))

    def lying(self, height: float, radius: float) -> Brush:
        """The brush of a toppled object: turned by a quarter, resting on its widest place."""
        right, up = self.axes.T
        turned_axes = np.stack([-up, right], axis=1)
        return replace(self.moved(-height / 2, radius), axes=turned_axes)

    def on_canvas(self, outline: Outline) -> list[tuple[float, float]]:
        """Pixels of an outline."""
        return [tuple(p) for p in outline @ self.axes.T + self.origin]

    def fill(
        self,
        outline: Outline,
        colour: Colour,
        *,
        round: bool = True,
        stripes: Colour | None = None,
        across: bool = False,
        bite: Outline | None = None,
    ) -> None:
        """A filled outline, lit from the left.

        Args:
            round: darker towards the right, as a body is; False: flat.
            stripes: of this second colour; None: plain.
            across: stripes run upwards instead of level.
            bite: an outline that is missing from it.
        """
        points = np.array(self.on_canvas(outline))
        low = np.floor(points.min(0)).astype(int) - 1
        size = np.ceil(points.max(0)).astype(int) + 2 - low
        mask = Image.new("L", tuple(int(s) for s in size))
        pen = ImageDraw.Draw(mask)
        pen.polygon([tuple(p) for p in points - low], fill=255)
        if bite is not None:
            pen.polygon([tuple(p) for p in np.array(self.on_canvas(bite)) - low], fill=0)
        paint = self._paint(low, size, colour, stripes, across)
        if round:
            paint = paint * np.interp(np.arange(size[0]) / size[0], [0, 0.25, 1], [1.02, 1.1, 0.78])[:, None]
        picture = Image.fromarray(paint.clip(0, 255).astype(np.uint8))
        self.canvas.paste(picture, tuple(int(v) for v in low), mask)

    def _paint(
        self, low: np.ndarray, size: np.ndarray, colour: Colour, stripes: Colour | None, across: bool
    ) -> Float[np.ndarray, "height width 3"]:
        """The colour of every pixel of a rectangle, as if it were all inside."""
        paint = np.broadcast_to(np.array(colour, float), (size[1], size[0], 3))
        if stripes is None:
            return paint
        x, y = np.meshgrid(low[0] + np.arange(size[0]), low[1] + np.arange(size[1]))
        own = np.linalg.solve(self.axes, np.stack([x.ravel(), y.ravel()]) - self.origin[:, None])
        banded = (own[0 if across else 1] / 0.28 % 1 < 0.5).reshape(size[1], size[0], 1)
        return np.where(banded, np.array(stripes, float), paint)

    def line(self, points: Outline | Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """A line with round ends; its width in the object's units."""
        pixels, thick = self.on_canvas(np.asarray(points, float)), max(1, round(width * self.unit))
        pen = ImageDraw.Draw(self.canvas)
        pen.line(pixels, fill=colour, width=thick, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            pen.ellipse([x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2], fill=colour)

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float = 0.8) -> None:
        """Light around a point, fading out."""
        centre, reach = np.array(self.on_canvas(np.array([(x, y)])))[0], radius * self.unit
        low, side = (centre - reach).astype(int), int(2 * reach)
        steps = (np.arange(side) - side / 2) / reach
        distance = np.hypot(*np.meshgrid(steps, steps))
        mask = (255 * strength * (1 - distance).clip(0) ** 1.5).astype(np.uint8)
        light = Image.new("RGB", (side, side), colour)
        self.canvas.paste(light, tuple(int(v) for v in low), Image.fromarray(mask))

    @property
    def unit(self) -> float:
        """Pixels of one step up."""
        return float(np.linalg.norm(self.axes[:, 1]))
