"""Synthetic Shapes, the symbolic world of the paper's section 3.

Six shapes in seven colours make 42 primitives. An image holds three of them, unordered and with
replacement, at fixed places on a white canvas: C(44, 3) = 13,244 compositions. The caption lists the
three phrases in alphabetical order: "blue circle, green star, red pentagon".

The paper names neither its seven colours nor its places; these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from PIL import Image, ImageDraw

from geoclip_lite.scenes import Scene, SceneObject

NAME = "shapes"
GENERIC_NOUN = "shape"

COLOURS = {
    "black": (35, 35, 40),
    "blue": (38, 92, 224),
    "green": (34, 150, 62),
    "orange": (250, 130, 14),
    "purple": (142, 50, 190),
    "red": (222, 32, 40),
    "yellow": (248, 208, 16),
}
# Circumradius of each polygon relative to the circle's radius, so that all six look equally large.
SHAPES = {"circle": 1.0, "hexagon": 1.08, "pentagon": 1.14, "square": 1.24, "star": 1.32, "triangle": 1.36}

PRIMITIVES = tuple(SceneObject(shape, (("colour", colour),)) for colour in COLOURS for shape in SHAPES)
OBJECTS_PER_IMAGE = 3
PLACES = ((0.27, 0.29), (0.73, 0.29), (0.5, 0.73))  # centres, in fractions of the canvas
RADIUS = 0.185
N_COMPOSITIONS = comb(len(PRIMITIVES) + OBJECTS_PER_IMAGE - 1, OBJECTS_PER_IMAGE)
EVALUATION_SIZE = 2430  # as many as the paper's table 8 gives; which ones it does not say

Placed = tuple[SceneObject, float, float, float, float]  # object, x, y, radius, turn in radians


def words() -> set[str]:
    """Every word that a caption of this world can hold."""
    return {word for primitive in PRIMITIVES for word in primitive.phrase.split()} | {",", GENERIC_NOUN}


def describe(objects: Sequence[SceneObject]) -> str:
    """The caption: phrases in alphabetical order, separated by commas."""
    return ", ".join(sorted(thing.phrase for thing in objects))


def composition(objects: Sequence[SceneObject]) -> Scene:
    """The scene of up to three primitives, in alphabetical order on the fixed places.

    One primitive alone is a reference image and stands in the middle of the canvas.
    """
    ordered = sorted(objects, key=lambda thing: thing.phrase)
    places = PLACES if len(ordered) > 1 else ((0.5, 0.5),)
    placed = [(thing, x, y, RADIUS, 0.0) for thing, (x, y) in zip(ordered, places, strict=False)]
    return _scene(placed, image_id=f"{NAME}/{describe(objects)}")


def rearranged(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same three objects, each moved on by one place or two; three equal ones give the same picture."""
    turn = int(rng.integers(1, OBJECTS_PER_IMAGE))
    places = PLACES[turn:] + PLACES[:turn]
    placed = [(thing, x, y, RADIUS, 0.0) for thing, (x, y) in zip(scene.objects, places, strict=True)]
    return _scene(placed, image_id=f"{scene.image_id}, moved by {turn}")


def references() -> list[Scene]:
    """The 42 images of one primitive each."""
    return [composition([primitive]) for primitive in PRIMITIVES]


def compositions() -> list[Scene]:
    """All 13,244 compositions, in lexicographic order of their primitives."""
    return [composition(three) for three in combinations_with_replacement(PRIMITIVES, OBJECTS_PER_IMAGE)]


def split(seed: int = 2430, validation_size: int = 1000) -> tuple[list[Scene], list[Scene]]:
    """Evaluation and validation sets: disjoint uniform samples of the compositions, seeded."""
    everything = compositions()
    order = np.random.default_rng(seed).permutation(len(everything))
    chosen = [everything[i] for i in order[: EVALUATION_SIZE + validation_size]]
    return chosen[:EVALUATION_SIZE], chosen[EVALUATION_SIZE:]


def evaluation_scenes() -> list[Scene]:
    """Our seeded uniform sample of 2,430 compositions, disjoint from `validation_scenes`."""
    return split()[0]


def validation_scenes() -> list[Scene]:
    """1,000 other compositions, for every choice that must not look at the evaluation set."""
    return split()[1]


def random_scene(rng: np.random.Generator, n_objects: int) -> Scene:
    """One or two random primitives at random places that do not touch, for training.

    Sizes vary around the evaluation images' and shapes are turned by up to 8 degrees.
    """
    if n_objects not in (1, 2):
        raise ValueError(f"n_objects must be 1 or 2, got {n_objects}; for three use composition()")
    chosen = [PRIMITIVES[i] for i in rng.integers(len(PRIMITIVES), size=n_objects)]
    radii = RADIUS * rng.uniform(0.8, 1.1, n_objects)
    centres = _scatter(rng, radii * [SHAPES[primitive.noun] for primitive in chosen])
    turns = np.radians(rng.uniform(-8, 8, n_objects))
    placed = [(o, *c, r, t) for o, c, r, t in zip(chosen, centres, radii, turns, strict=True)]
    return _scene(placed, image_id=f"{NAME}/random/{rng.integers(2**63):016x}")


def _scatter(rng: np.random.Generator, reach: np.ndarray) -> np.ndarray:
    """Centres of one or two circles of these radii inside the unit square, redrawn until they are apart."""
    while True:
        margin = reach[:, None] + 0.02
        centres = rng.uniform(margin, 1 - margin, size=(len(reach), 2))
        if len(reach) == 1 or np.linalg.norm(centres[0] - centres[1]) > reach.sum():
            return centres


def _scene(placed: Sequence[Placed], image_id: str) -> Scene:
    objects = tuple(SceneObject(o.noun, o.attributes, position=(x, y)) for o, x, y, _, _ in placed)
    return Scene(image_id, describe(objects), objects, partial(draw, tuple(placed)))


def draw(placed: Sequence[Placed], size: int) -> Image.Image:
    """Shapes on a white canvas, drawn four times too large and averaged down for smooth edges."""
    canvas = Image.new("RGB", (4 * size, 4 * size), "white")
    pen = ImageDraw.Draw(canvas)
    for thing, x, y, radius, turn in placed:
        colour = COLOURS[thing.slots["colour"]]
        corners = _outline(thing.noun, radius, turn)
        outline = [(4 * size * (x + dx), 4 * size * (y + dy)) for dx, dy in corners]
        if thing.noun == "circle":
            pen.ellipse([*outline[0], *outline[1]], fill=colour)
        else:
            pen.polygon(outline, fill=colour)
    return canvas.reduce(4)


def _outline(shape: str, radius: float, turn: float) -> list[tuple[float, float]]:
    """Corner offsets from the centre, one corner pointing up; a circle's are its bounding box."""
    if shape == "circle":
        return [(-radius, -radius), (radius, radius)]
    n_corners = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "star": 10}[shape]
    angles = turn + 2 * np.pi * np.arange(n_corners) / n_corners + (np.pi / 4 if shape == "square" else 0)
    lengths = np.full(n_corners, radius * SHAPES[shape])
    if shape == "star":
        lengths[1::2] *= 0.45
    return list(zip(lengths * np.sin(angles), -lengths * np.cos(angles), strict=True))
