"""How each category of product looks: one function a category, standing at the origin of its brush."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geoclip_lite.datasets.products.surfaces import ProductBrush
from geoclip_lite.datasets.things.brush import curve, ellipse, rectangle, turned

DARK, LIGHT, CREAM, SOLE = (52, 46, 50), (255, 238, 170), (250, 244, 230), (236, 232, 222)


def mug(brush: ProductBrush) -> None:
    brush.line(ellipse(0.52, 0.6, 0.34, 0.34, -90, 90), brush.shaded(0.75), 0.14)
    brush.fill(ellipse(0, 1.16, 0.58, 0.16), brush.shaded(1.5), round=False)
    brush.fill(ellipse(0, 1.14, 0.48, 0.11), brush.shaded(0.4), round=False)
    front = [ellipse(0, 1.16, 0.58, 0.16, 180, 360), ellipse(0, 0.12, 0.52, 0.12, 0, -180)]
    brush.dress(np.concatenate(front))


def bottle(brush: ProductBrush) -> None:
    brush.dress(turned((0, 0.36), (0.06, 0.4), (0.95, 0.4), (1.3, 0.15), (1.55, 0.14)))
    brush.fill(rectangle(-0.19, 1.5, 0.19, 1.8), DARK)


def vase(brush: ProductBrush) -> None:
    brush.fill(ellipse(0, 1.6, 0.4, 0.1), brush.shaded(0.4), round=False)
    brush.dress(turned((0, 0.3), (0.08, 0.34), (0.65, 0.62), (1.2, 0.28), (1.36, 0.24), (1.6, 0.4)))


def bowl(brush: ProductBrush) -> None:
    brush.fill(ellipse(0, 0.84, 0.92, 0.2), brush.shaded(1.5), round=False)
    brush.fill(ellipse(0, 0.82, 0.8, 0.14), brush.shaded(0.45), round=False)
    front = [ellipse(0, 0.84, 0.92, 0.2, 180, 360), ellipse(0, 0.84, 0.92, 0.78, 0, -180)]
    brush.dress(np.concatenate(front))
    brush.fill(rectangle(-0.36, 0, 0.36, 0.12), brush.shaded(0.7))


def lamp(brush: ProductBrush) -> None:
    brush.glow(0, 0.9, 0.9, LIGHT, 0.7)
    brush.line([(0, 0.1), (0, 0.95)], DARK, 0.1)
    brush.fill(ellipse(0, 0.1, 0.42, 0.1), DARK)
    brush.dress(np.array([(-0.74, 0.8), (0.74, 0.8), (0.4, 1.72), (-0.4, 1.72)]))
    brush.line([(-0.74, 0.8), (0.74, 0.8)], LIGHT, 0.06)


def chair(brush: ProductBrush) -> None:
    for x in (-0.42, 0.42):
        brush.line([(x * 0.9, 0.7), (x, 0.26)], DARK, 0.09)
        brush.line([(x * 1.2, 0.6), (x * 1.35, 0.02)], DARK, 0.11)
    brush.dress(rectangle(-0.5, 0.78, 0.5, 1.75))
    brush.dress(np.array([(-0.5, 0.84), (0.5, 0.84), (0.66, 0.5), (-0.66, 0.5)]))
    brush.line([(-0.66, 0.5), (0.66, 0.5)], brush.shaded(0.55), 0.06)


def bag(brush: ProductBrush) -> None:
    brush.line(ellipse(0, 1.05, 0.36, 0.56, 0, 180), brush.shaded(0.5), 0.1)
    brush.dress(np.array([(-0.62, 1.12), (0.62, 1.12), (0.8, 0.04), (-0.8, 0.04)]))
    brush.line([(-0.62, 1.1), (0.62, 1.1)], brush.shaded(0.45), 0.07)
    brush.fill(rectangle(-0.09, 0.94, 0.09, 1.16), CREAM)


def cushion(brush: ProductBrush) -> None:
    side = curve((-0.8, 0.12), (-0.68, 0.66), (-0.8, 1.24))
    top = curve((-0.8, 1.24), (0, 1.1), (0.8, 1.24))
    brush.dress(
        np.concatenate([side, top, -side * (1, 0) + side[::-1] * (0, 1), top[::-1] * (1, -1) + (0, 1.36)])
    )
    for x, y in ((-0.8, 0.12), (-0.8, 1.24), (0.8, 0.12), (0.8, 1.24)):
        brush.fill(ellipse(x, y, 0.11, 0.11), CREAM)


def toy(brush: ProductBrush) -> None:
    for x in (-0.42, 0.42):
        brush.dress(ellipse(x, 1.62, 0.2, 0.2))
        brush.dress(ellipse(x * 1.4, 0.62, 0.2, 0.26))
        brush.dress(ellipse(x, 0.16, 0.26, 0.2))
    brush.dress(ellipse(0, 0.5, 0.5, 0.48), ellipse(0, 1.22, 0.54, 0.48))
    for x in (-0.2, 0.2):
        brush.fill(ellipse(x, 1.3, 0.14, 0.15), (255, 255, 255), round=False)
        brush.fill(ellipse(x, 1.28, 0.08, 0.09), DARK, round=False)
    brush.fill(ellipse(0, 1.06, 0.16, 0.1), CREAM, round=False)


def hat(brush: ProductBrush) -> None:
    brush.dress(ellipse(0, 0.24, 0.98, 0.24))
    brush.dress(turned((0.24, 0.62), (0.5, 0.6), (0.95, 0.5), (1.2, 0.34), (1.26, 0.05)))
    brush.line([(-0.62, 0.34), (0.62, 0.34)], brush.shaded(0.4), 0.12)


def shirt(brush: ProductBrush) -> None:
    half = [(0.2, 1.7), (0.52, 1.6), (1.0, 1.12), (0.76, 0.84), (0.54, 1.06), (0.54, 0.06)]
    brush.dress(np.array([*half, *[(-x, y) for x, y in reversed(half)]]))
    brush.fill(ellipse(0, 1.7, 0.22, 0.16, 180, 360), brush.shaded(0.5), round=False)
    brush.line([(0.54, 1.06), (0.54, 0.6)], brush.shaded(0.7), 0.03)
    brush.line([(-0.54, 1.06), (-0.54, 0.6)], brush.shaded(0.7), 0.03)


def shoe(brush: ProductBrush) -> None:
    upper = np.concatenate(
        [
            [(-0.86, 0.16), (-0.88, 0.92), (-0.34, 0.96)],
            curve((-0.34, 0.96), (-0.1, 0.72), (0.4, 0.56), (0.84, 0.42), (0.98, 0.16)),
        ]
    )
    brush.dress(upper)
    brush.fill(rectangle(-0.92, 0, 1.04, 0.18), SOLE)
    for x in (-0.24, -0.06, 0.14):
        brush.line([(x - 0.08, 0.72 - 0.3 * x), (x + 0.1, 0.86 - 0.3 * x)], CREAM, 0.06)
    brush.line([(-0.84, 0.94), (-0.36, 0.98)], brush.shaded(0.45), 0.07)


DRAW: dict[str, Callable[[ProductBrush], None]] = {
    draw.__name__: draw
    for draw in (bag, bottle, bowl, chair, cushion, hat, lamp, mug, shirt, shoe, toy, vase)
}
