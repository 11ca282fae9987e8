"""How each of the things looks in each of its states: one function a noun.

A function gets a brush, the state (slot -> pole, in canonical words) and two colours, and draws the thing
standing at the origin. What shows a state must be seen at 64 pixels, and must be the thing's own: an open
box has flaps, a toppled vase lies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geoclip_lite.datasets.things.brush import Brush, Colour, curve, ellipse, jagged, rectangle, shade, turned

State = dict[str, str]
DARK, WOOD, PAPER, GLASS = (58, 50, 52), (176, 128, 84), (250, 246, 232), (206, 228, 236)
WATER, COFFEE, FLAME, LIGHT = (64, 140, 214), (96, 60, 38), (255, 160, 40), (255, 236, 140)
LEAF, BROWN, MUD, STEEL = (62, 150, 74), (150, 116, 62), (112, 82, 52), (150, 156, 166)
NIGHT = (52, 62, 92)


def bottle(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stopper = brush.moved(0, 1.62)
    if state["opening"] == "open":  # the cork lies beside it
        stopper = brush.moved(0.62, 0.1).lying(0.3, 0.1)
    if state["posture"] == "toppled":
        brush = brush.lying(1.7, 0.36)
        stopper = stopper if state["opening"] == "open" else brush.moved(0, 1.62)
    brush.fill(turned((0, 0.32), (0.06, 0.36), (0.85, 0.36), (1.2, 0.14), (1.6, 0.13), (1.7, 0.16)), main)
    brush.fill(rectangle(-0.36, 0.3, 0.36, 0.72), PAPER)
    if state["opening"] == "open":
        brush.fill(ellipse(0, 1.68, 0.15, 0.06), DARK, round=False)
    stopper.fill(rectangle(-0.12, -0.04, 0.12, 0.3), WOOD)


def vase(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    ground, broken = brush, state["soundness"] == "broken"
    if state["posture"] == "toppled":
        brush = brush.lying(1.5, 0.56)
    bite = jagged(0.26, 1.16, 0.5) if broken else None
    body = turned((0, 0.3), (0.08, 0.32), (0.65, 0.56), (1.15, 0.24), (1.3, 0.2), (1.5, 0.36))
    stripes = second if state["pattern"] == "striped" else None
    brush.fill(ellipse(0, 1.5, 0.36, 0.09), shade(main, 0.45), round=False)
    brush.fill(body, main, stripes=stripes, bite=bite)
    brush.fill(ellipse(0, 1.5, 0.3, 0.06), shade(main, 0.4), round=False, bite=bite)
    if broken:
        _crack(brush, (0.05, 0.9), (-0.1, 0.66), (0.06, 0.5), (-0.04, 0.26))
        _shards(ground, main)


def lamp(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    lit = state["light"] == "lit"
    if state["posture"] == "toppled":
        brush = brush.lying(1.7, 0.5)
    brush.fill(ellipse(0, 0.08, 0.42, 0.1), shade(main, 0.6))
    brush.line([(0, 0.1), (0, 0.95)], shade(main, 0.7), 0.1)
    if lit:
        brush.glow(0, 1.2, 1.15, LIGHT, 0.95)
    cover = np.array([(-0.56, 0.85), (0.56, 0.85), (0.3, 1.65), (-0.3, 1.65)])
    brush.fill(cover, LIGHT if lit else shade(main, 0.85), round=not lit)
    brush.line([(-0.56, 0.85), (0.56, 0.85)], shade(main, 0.55), 0.05)


def plant(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    if state["posture"] == "toppled":
        brush = brush.lying(1.7, 0.42)
    fresh = state["freshness"] == "fresh"
    colour = LEAF if fresh else BROWN
    for side in (-1, 1):
        for reach, height in ((0.28, 1.7), (0.6, 1.25)):
            tip = (side * reach, height) if fresh else (side * (reach + 0.18), height - 1.05)
            bend = (side * reach * 0.4, 1.0) if fresh else (side * reach * 0.8, 1.0)
            stem = curve((side * 0.05, 0.6), bend, tip)
            brush.line(stem, shade(colour, 0.8), 0.05)
            _leaf(brush, stem[22], stem[39], colour, 0.14 if fresh else 0.08)
    brush.fill(turned((0, 0.28), (0.56, 0.42)), main)
    brush.fill(rectangle(-0.46, 0.5, 0.46, 0.66), shade(main, 0.85))


def glass(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    broken = state["soundness"] == "broken"
    bite = jagged(0.4, 1.3, 0.62) if broken else None
    brush.fill(turned((0, 0.34), (1.4, 0.5)), GLASS, bite=bite)
    if state["filling"] == "full":
        brush.fill(turned((0.1, 0.3), (1.15, 0.43)), main, bite=bite)
        if not broken:
            brush.fill(ellipse(0, 1.15, 0.43, 0.08), shade(main, 1.5), round=False)
    brush.line([(-0.33, 0.2), (-0.42, 1.2)], (255, 255, 255), 0.05)
    if broken:
        _crack(brush, (0.02, 1.0), (0.12, 0.7), (-0.05, 0.55), (0.08, 0.2))
        _shards(brush, GLASS)
    else:
        brush.line(ellipse(0, 1.4, 0.5, 0.09), shade(GLASS, 0.8), 0.03)


def mug(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    broken = state["soundness"] == "broken"
    handle = ellipse(0.55, 0.58, 0.34, 0.36, -90, 90)
    for part in (handle[:9], handle[31:]) if broken else (handle,):
        brush.line(part, shade(main, 0.8), 0.13)
    if broken:  # the rest of the handle lies on the ground
        brush.moved(0.62, 0.06).line(ellipse(0.3, -0.02, 0.26, 0.22, 20, 160), shade(main, 0.8), 0.13)
    brush.fill(ellipse(0, 1.12, 0.56, 0.16), shade(main, 1.4), round=False)
    drink = COFFEE if state["filling"] == "full" else shade(main, 0.5)
    level = 1.1 if state["filling"] == "full" else 1.15
    brush.fill(ellipse(0, level, 0.47, 0.12), drink, round=False)
    stripes = second if state["pattern"] == "striped" else None
    wall = np.concatenate([ellipse(0, 1.12, 0.56, 0.16, 180, 360), ellipse(0, 0.1, 0.52, 0.12, 0, -180)])
    brush.fill(wall, main, stripes=stripes, bite=jagged(-0.34, 1.02, 0.34) if broken else None)
    if broken:
        _crack(brush, (-0.2, 0.8), (-0.08, 0.6), (-0.22, 0.42), (-0.1, 0.2))
    if state["filling"] == "full":  # and steaming
        for x in (-0.2, 0.14):
            brush.line(curve((x, 1.24), (x + 0.1, 1.4), (x - 0.04, 1.56), (x + 0.06, 1.72)), PAPER, 0.06)


def bucket(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    full = state["filling"] == "full"
    stripes = second if state["pattern"] == "striped" else None
    brush.line(ellipse(0, 1.0, 0.62, 0.66, 0, 180), STEEL, 0.06)
    brush.fill(ellipse(0, 1.05, 0.7, 0.24), shade(main, 0.7), round=False)
    brush.fill(ellipse(0, 1.05, 0.62, 0.19), WATER if full else shade(main, 0.35), round=False)
    if full:
        brush.fill(ellipse(-0.05, 1.1, 0.5, 0.16), shade(WATER, 1.5), round=False)
        brush.fill(ellipse(-0.05, 1.07, 0.46, 0.13), WATER, round=False)
    wall = np.concatenate([ellipse(0, 1.05, 0.7, 0.24, 180, 360), ellipse(0, 0.1, 0.46, 0.12, 0, -180)])
    brush.fill(wall, main, stripes=stripes)


def candle(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    brush.fill(ellipse(0, 0.1, 0.5, 0.12), STEEL)
    stripes = second if state["pattern"] == "striped" else None
    brush.fill(rectangle(-0.22, 0.1, 0.22, 1.15), main, stripes=stripes)
    brush.fill(ellipse(0, 1.15, 0.22, 0.06), shade(main, 1.4), round=False)
    if state["light"] == "lit":
        brush.glow(0, 1.45, 0.85, LIGHT, 0.95)
        brush.fill(turned((1.2, 0.02), (1.34, 0.12), (1.5, 0.08), (1.75, 0.005)), FLAME, round=False)
        brush.fill(turned((1.24, 0.02), (1.34, 0.06), (1.52, 0.01)), LIGHT, round=False)
    brush.line([(0, 1.15), (0.01, 1.3)], DARK, 0.05)


def window(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    pane = LIGHT if state["light"] == "lit" else NIGHT
    brush = brush.moved(0, 0.35)
    if state["light"] == "lit":
        brush.glow(0, 0.7, 1.35, LIGHT, 0.7)
    brush.fill(rectangle(-0.66, -0.06, 0.66, 1.46), shade(main, 0.7), round=False)
    brush.fill(rectangle(-0.56, 0.04, 0.56, 1.36), pane, round=False)
    right = rectangle(0.03, 0.04, 0.56, 1.36)
    if state["opening"] == "open":
        right = np.array([(0.56, 0.04), (1.0, -0.16), (1.0, 1.26), (0.56, 1.36)])
    for wing in (right, right * (-1, 1)):
        inner = wing.mean(0) + (wing - wing.mean(0)) * (0.72, 0.86)
        brush.fill(wing, main, round=False)
        brush.fill(inner, shade(pane, 0.9), round=False)
        brush.line([inner[0] * 0.5 + inner[3] * 0.5, inner[1] * 0.5 + inner[2] * 0.5], main, 0.05)
        if state["soundness"] == "broken":
            x, y = np.add(wing.mean(0), (0, 0.22))
            for dx, dy in ((0.16, 0.3), (-0.16, 0.26), (0.16, -0.4), (-0.15, -0.46), (0.02, -0.55)):
                brush.line([(x, y), (x + dx, y + dy)], PAPER, 0.03)
            brush.fill(jagged(x, y, 0.19), DARK if state["light"] == "lit" else PAPER, round=False)


def door(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    brush.fill(rectangle(-0.58, 0, 0.58, 1.85), shade(WOOD, 0.6), round=False)
    if state["opening"] == "closed":
        brush.fill(rectangle(-0.48, 0, 0.48, 1.76), main, stripes=stripes)
        brush.fill(ellipse(0.36, 0.86, 0.07, 0.07), LIGHT)
        return
    brush.fill(rectangle(-0.48, 0, 0.48, 1.76), DARK, round=False)
    brush.fill(np.array([(-0.48, 0), (-0.98, -0.2), (-0.98, 1.66), (-0.48, 1.76)]), main, stripes=stripes)
    brush.fill(ellipse(-0.9, 0.74, 0.06, 0.07), LIGHT)


def box(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    side, back = np.array([(0.5, 0), (0.85, 0.22), (0.85, 0.98), (0.5, 0.8)]), shade(main, 0.7)
    top = np.array([(-0.7, 0.8), (0.5, 0.8), (0.85, 0.98), (-0.35, 0.98)])
    if state["opening"] == "open":
        brush.fill(np.array([(-0.35, 0.98), (0.85, 0.98), (0.95, 1.4), (-0.25, 1.4)]), shade(main, 0.85))
        brush.fill(top, DARK, round=False)
        brush.fill(np.array([(-0.7, 0.8), (-0.35, 0.98), (-0.72, 1.32), (-1.02, 1.1)]), shade(main, 1.3))
        brush.fill(np.array([(0.5, 0.8), (0.85, 0.98), (1.15, 0.86), (0.82, 0.62)]), shade(main, 1.3))
    brush.fill(rectangle(-0.7, 0, 0.5, 0.8), main, stripes=stripes)
    brush.fill(side, back, stripes=second if stripes else None, round=False)
    if state["opening"] == "closed":
        brush.fill(top, shade(main, 1.3), round=False)
        brush.fill(np.array([(-0.2, 0.8), (0, 0.8), (0.35, 0.98), (0.15, 0.98)]), WOOD, round=False)
        brush.fill(rectangle(-0.2, 0.56, 0, 0.8), WOOD, round=False)


def book(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    if state["opening"] == "closed":
        brush.fill(np.array([(0.4, 0.04), (0.52, 0.12), (0.52, 1.46), (0.4, 1.38)]), PAPER, round=False)
        brush.fill(np.array([(-0.52, 1.38), (0.4, 1.38), (0.52, 1.46), (-0.4, 1.46)]), PAPER, round=False)
        brush.fill(rectangle(-0.52, 0, 0.42, 1.4), main)
        brush.fill(rectangle(-0.52, 0, -0.4, 1.4), shade(main, 0.6), round=False)
        brush.fill(rectangle(-0.22, 0.85, 0.26, 1.12), PAPER, round=False)
        return
    for s in (-1, 1):
        brush.fill(np.array([(0, 0.1), (s * 0.98, 0.24), (s * 0.98, 1.12), (0, 0.98)]), main, round=False)
        page = np.array([(0, 0.2), (s * 0.88, 0.34), (s * 0.88, 1.16), (0, 1.02)])
        brush.fill(page, PAPER if s < 0 else shade(PAPER, 0.92), round=False)
        for y in (0.38, 0.54, 0.7, 0.86):
            brush.line([(s * 0.14, y + 0.02), (s * 0.76, y + 0.12)], STEEL, 0.04)
    brush.line([(0, 0.14), (0, 1.02)], shade(PAPER, 0.6), 0.04)


def umbrella(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    hook = [(0, 0.3), (0, 0.14), *map(tuple, ellipse(0.13, 0.14, 0.13, 0.12, 180, 360))]
    brush.line([(0, 0.25), (0, 1.75)], DARK, 0.05)
    brush.line(hook, WOOD, 0.09)
    if state["opening"] == "closed":
        brush.fill(turned((0.42, 0.12), (0.6, 0.2), (1.0, 0.17), (1.6, 0.03)), main, stripes=stripes)
        brush.line([(-0.17, 0.72), (0.17, 0.78)], shade(main, 0.5), 0.05)
        return
    edge = [ellipse(x, 0.92, 0.24, 0.13, 0, 180) for x in (0.72, 0.24, -0.24, -0.72)]
    dome = np.concatenate([ellipse(0, 0.92, 0.96, 0.72, 180, 0), *edge])
    brush.fill(dome, main, stripes=stripes, across=True)
    brush.line([(0, 1.62), (0, 1.78)], DARK, 0.05)


def plate(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    middle = brush.moved(0, 0.8)
    bite = np.array([(0.1, 0.06), (0.9, 0.9), (1.2, 0.2), (0.5, -0.1), (0.36, 0.02)])
    bite = bite if state["soundness"] == "broken" else None
    middle.fill(ellipse(0, 0, 0.8, 0.8), main, bite=bite)
    middle.fill(ellipse(0, 0, 0.56, 0.56), shade(main, 1.6), round=False, bite=bite)
    if state["cleanness"] == "dirty":
        _dirt(middle, (-0.2, 0.16, 0.2), (0.0, -0.26, 0.17), (-0.36, -0.2, 0.1), (0.3, -0.22, 0.08))
    if bite is not None:
        _crack(middle, (0.1, 0.06), (-0.1, 0.02), (-0.3, -0.16), (-0.6, -0.22), (-0.78, -0.3))
        _crack(middle, (0.1, 0.06), (0.06, -0.3), (0.18, -0.5), (0.12, -0.78))
        _shards(brush, main)


def shirt(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    half = [(0.2, 1.6), (0.5, 1.52), (0.98, 1.08), (0.74, 0.82), (0.52, 1.02), (0.52, 0.1)]
    outline = np.array([*half, *[(-x, y) for x, y in reversed(half)]])
    brush.fill(outline, main, stripes=stripes)
    brush.fill(ellipse(0, 1.6, 0.22, 0.16, 180, 360), shade(main, 0.55), round=False)
    if state["cleanness"] == "dirty":
        _dirt(brush, (-0.18, 0.9, 0.2), (0.2, 0.5, 0.17), (-0.26, 0.34, 0.11), (0.24, 1.08, 0.09))


def ball(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    if state["pressure"] == "inflated":
        brush.fill(ellipse(0, 0.66, 0.66, 0.66), main, stripes=stripes)
        brush.fill(ellipse(-0.24, 0.94, 0.14, 0.1), shade(main, 2.2), round=False)
        return
    sunk = np.concatenate(
        [
            curve((-0.8, 0.16), (-0.5, 0.44), (-0.05, 0.24), (0.4, 0.46), (0.8, 0.16)),
            ellipse(0, 0.16, 0.8, 0.16, 0, -180),
        ]
    )
    brush.fill(sunk, main, stripes=stripes)
    brush.line(curve((-0.34, 0.34), (-0.05, 0.2), (0.24, 0.36)), shade(main, 0.5), 0.05)


def balloon(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    stripes = second if state["pattern"] == "striped" else None
    if state["pressure"] == "inflated":
        brush.line(curve((0, 0.62), (0.1, 0.4), (-0.08, 0.2), (0.04, 0)), DARK, 0.03)
        brush.fill(turned((0.64, 0.02), (0.9, 0.36), (1.35, 0.56), (1.85, 0.02)), main, stripes=stripes)
        brush.fill(np.array([(-0.08, 0.56), (0.08, 0.56), (0, 0.68)]), shade(main, 0.7), round=False)
        brush.fill(ellipse(-0.22, 1.48, 0.09, 0.15), shade(main, 2.2), round=False)
        return
    limp = np.concatenate(
        [
            curve((-0.3, 0.04), (-0.36, 0.2), (0.1, 0.26), (0.5, 0.14), (0.72, 0.06)),
            [(0.72, 0.0), (-0.2, 0.0)],
        ]
    )
    brush.line(curve((-0.28, 0.08), (-0.5, 0.02), (-0.66, 0.16), (-0.9, 0.04)), DARK, 0.03)
    brush.fill(limp, main, stripes=stripes, across=True)
    brush.line(curve((0.0, 0.14), (0.2, 0.17), (0.4, 0.1)), shade(main, 0.55), 0.03)


def flower(brush: Brush, state: State, main: Colour, second: Colour) -> None:
    if state["freshness"] == "fresh":
        brush.line([(0, 0), (0, 1.2)], LEAF, 0.07)
        _leaf(brush, np.array((0, 0.3)), np.array((0.46, 0.72)), LEAF, 0.12)
        _leaf(brush, np.array((0, 0.2)), np.array((-0.46, 0.6)), LEAF, 0.12)
        _petals(brush.moved(0, 1.3), main, 0.26)
        return
    brush.line(curve((0, 0), (0.02, 0.6), (0.2, 1.0), (0.48, 0.98), (0.56, 0.72)), BROWN, 0.07)
    _leaf(brush, np.array((0, 0.34)), np.array((-0.36, 0.06)), BROWN, 0.08)
    _petals(brush.moved(0.56, 0.62), shade(main, 0.62), 0.15)
    for x in (-0.3, 0.2, 0.66):
        brush.fill(ellipse(x, 0.03, 0.13, 0.05), shade(main, 0.62))


# --- what several of them share -------------------------------------------------------------------


def _crack(brush: Brush, *points: tuple[float, float]) -> None:
    brush.line(points, DARK, 0.045)


def _shards(brush: Brush, colour: Colour) -> None:
    for x, size in ((0.72, 0.2), (0.98, 0.13), (-0.78, 0.15)):
        corners = np.array([(x - size, 0), (x + size, 0.02), (x + size * 0.3, size * 1.3)])
        brush.fill(corners, shade(colour, 0.85), round=False)


def _dirt(brush: Brush, *spots: tuple[float, float, float]) -> None:
    for x, y, radius in spots:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        lengths = radius * (1 + 0.3 * np.sin(3 * angles + 9 * x))
        spot = np.stack([x + lengths * np.cos(angles), y + lengths * np.sin(angles)], axis=1)
        brush.fill(spot, MUD, round=False)


def _leaf(brush: Brush, start: np.ndarray, tip: np.ndarray, colour: Colour, width: float) -> None:
    along = np.linspace(0, 1, 12)[:, None]
    middle, side = start + along * (tip - start), np.array([-(tip - start)[1], (tip - start)[0]])
    bulge = width * np.sin(np.pi * along) * side / np.linalg.norm(side)
    brush.fill(np.concatenate([middle + bulge, (middle - bulge)[::-1]]), colour, round=False)


def _petals(brush: Brush, colour: Colour, radius: float) -> None:
    for angle in np.arange(6) * np.pi / 3:
        x, y = 1.25 * radius * np.cos(angle), 1.25 * radius * np.sin(angle)
        brush.fill(ellipse(x, y, radius, radius), colour, round=False)
    brush.fill(ellipse(0, 0, 0.8 * radius, 0.8 * radius), (240, 196, 60), round=False)


DRAW: dict[str, Callable[[Brush, State, Colour, Colour], None]] = {
    draw.__name__: draw
    for draw in (
        ball, balloon, book, bottle, box, bucket, candle, door, flower, glass, lamp, mug, plant, plate, shirt,
        umbrella, vase, window,
    )
}  # fmt: skip
