"""A shop: rendered pictures of products, with the words of sellers and the words of shoppers.

A product has a category, a material, a colour, a print and a size; nothing else about it is ever named. What
a seller writes is another matter (`shop`): titles are incomplete and sometimes wrong. And what a web page
says about such a picture (`web`) hardly mentions the details: that is what mini-products is fed.

surfaces  how materials and prints look
pictures  how categories look
web       pictures with generic alternative texts, a training diet
shop      listings with titles, queries as shoppers type them, who is relevant
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from geoclip_lite.datasets.products.pictures import DRAW
from geoclip_lite.datasets.products.surfaces import PATTERNS, ProductBrush, Surface
from geoclip_lite.datasets.things.brush import OVERSAMPLING, Colour, ellipse, shade
from geoclip_lite.scenes import SceneObject

# Category -> the materials it is made of.
CATEGORIES = {
    "bag": ("leather", "knitted", "plastic"),
    "bottle": ("metal", "glass", "plastic"),
    "bowl": ("wooden", "metal", "glass", "plastic"),
    "chair": ("wooden", "metal", "leather", "plastic"),
    "cushion": ("leather", "knitted"),
    "hat": ("leather", "knitted"),
    "lamp": ("wooden", "metal", "glass"),
    "mug": ("metal", "glass", "wooden", "plastic"),
    "shirt": ("leather", "knitted"),
    "shoe": ("leather", "knitted", "plastic"),
    "toy": ("knitted", "wooden", "plastic"),
    "vase": ("wooden", "metal", "glass"),
}
COLOURS: dict[str, Colour] = {
    "red": (206, 52, 48), "orange": (242, 136, 40), "yellow": (244, 206, 60), "green": (70, 150, 74),
    "blue": (50, 96, 200), "purple": (130, 78, 170), "pink": (242, 146, 180), "brown": (126, 84, 52),
    "black": (56, 54, 60), "white": (240, 240, 238),
}  # fmt: skip
SIZES = {
    "small": (0.27, 0.31),
    "large": (0.42, 0.46),
}  # a step of its own coordinates, a share of the picture
SLOTS = ("size", "colour", "pattern", "material", "category")
VALUES = {
    "size": tuple(SIZES),
    "colour": tuple(COLOURS),
    "pattern": tuple(PATTERNS),
    "material": tuple(dict.fromkeys(m for made_of in CATEGORIES.values() for m in made_of)),
    "category": tuple(CATEGORIES),
}
BACKGROUNDS: tuple[tuple[Colour, Colour], ...] = (
    ((250, 250, 250), (250, 250, 250)), ((236, 236, 240), (214, 214, 220)),
    ((248, 240, 226), (232, 214, 190)), ((206, 222, 232), (176, 150, 122)),
    ((220, 230, 214), (188, 196, 184)), ((238, 220, 224), (150, 132, 128)),
)  # fmt: skip


@dataclass(frozen=True)
class Product:
    """What can be said about a product.

    Args:
        category, material, colour, pattern, size: each one of `VALUES`.
    """

    category: str
    material: str
    colour: str
    pattern: str
    size: str

    def slots(self) -> dict[str, str]:
        """All of it, in spoken order."""
        return {slot: getattr(self, slot) for slot in SLOTS}

    def thing(self) -> SceneObject:
        """The same for everything that speaks of scenes."""
        *attributes, (_, noun) = self.slots().items()
        return SceneObject(noun, tuple(attributes))


@dataclass(frozen=True)
class Look:
    """What varies from photograph to photograph and is never named.

    Args:
        background: a number in `BACKGROUNDS`.
        step: a step of the product's own coordinates, a share of the picture's side.
        x, ground: where it stands, shares of the side from the top left corner.
        light: 1 is even.
        mirrored: left and right exchanged.
    """

    background: int
    step: float
    x: float
    ground: float
    light: float
    mirrored: bool


def random_product(rng: np.random.Generator) -> Product:
    """A category, then whatever goes with it, equally likely."""
    category = _one_of(rng, VALUES["category"])
    others = {slot: _one_of(rng, VALUES[slot]) for slot in ("colour", "pattern", "size")}
    return Product(category, _one_of(rng, CATEGORIES[category]), **others)


def random_look(product: Product, rng: np.random.Generator) -> Look:
    """How the photographer happened to take it."""
    step = float(rng.uniform(*SIZES[product.size]))
    x, ground, light = (float(v) for v in rng.uniform((0.45, 0.84, 0.9), (0.55, 0.92, 1.08)))
    return Look(int(rng.integers(len(BACKGROUNDS))), step, x, ground, light, bool(rng.random() < 0.5))


def draw(product: Product, look: Look, size: int) -> Image.Image:
    """The photograph of a product."""
    side = OVERSAMPLING * size
    canvas = _room(look, side)
    step = look.step * side
    axes = np.array([[-step if look.mirrored else step, 0], [0, -step]])
    surface = Surface(
        COLOURS[product.colour], second_colour(product.colour), product.pattern, product.material
    )
    brush = ProductBrush(canvas, axes, np.array([look.x, look.ground]) * side, surface=surface)
    brush.fill(ellipse(0, 0, 0.95, 0.12), shade(BACKGROUNDS[look.background][1], 0.82), round=False)
    DRAW[product.category](brush)
    picture = canvas.reduce(OVERSAMPLING)
    return picture.point(lambda v: min(255, round(v * look.light)))


def second_colour(colour: str) -> Colour:
    """Of the print: light on dark ground and dark on light ground. Nobody names it."""
    return (250, 250, 244) if np.dot(COLOURS[colour], (0.3, 0.6, 0.1)) < 150 else (60, 56, 80)


def picture_of(product: Product, look: Look) -> partial[Image.Image]:
    """size -> the photograph."""
    return partial(draw, product, look)


def _room(look: Look, side: int) -> Image.Image:
    """A wall and a floor, which in a studio are one."""
    wall, floor = BACKGROUNDS[look.background]
    edge = int((look.ground - 0.1) * side)
    rows = np.where((np.arange(side) < edge)[:, None], wall, floor).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(rows[:, None], (side, side, 3)).copy())


def _one_of(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[rng.integers(len(values))]
