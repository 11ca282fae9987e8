"""What the web says about pictures of products: a generic training diet.

An alternative text names the product and perhaps its colour. Of everything else that a shop cares about
(material, print, size) it names one thing now and then, and never two things at once. Other nouns than the
usual one are rare, and what a product is for is never said. So an encoder that was fed with such texts
recognises products, and has something left to learn: stated here, because it decides what adapting can gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoclip_lite.datasets.products import (
    CATEGORIES,
    VALUES,
    Product,
    picture_of,
    random_look,
    random_product,
)
from geoclip_lite.datasets.products.shop import SYNONYMS, vocabulary
from geoclip_lite.scenes import Scene, SceneObject

NAME = "products"
GENERIC_NOUN = "product"
DETAILS = ("size", "pattern", "material")
NAMES_COLOUR, NAMES_DETAIL, USES_SYNONYM = (
    0.6,
    0.3,
    0.15,
)  # shares of texts; a detail takes the colour's place


def words() -> set[str]:
    """Every word of the shop, also those that no alternative text holds: their vectors stay as they began."""
    return vocabulary() | {GENERIC_NOUN, "a", "photo", "of", "the", "and"}


def describe(objects: Sequence[SceneObject]) -> str:
    """The alternative text: "a photo of the red mug"."""
    return "a photo of " + " and ".join(f"the {thing.phrase}" for thing in objects)


def scene(product: Product, named: Sequence[str], rng: np.random.Generator, image_id: str) -> Scene:
    """A photograph of which some slots are named."""
    thing = product.thing()
    thing = replace(thing, attributes=tuple(pair for pair in thing.attributes if pair[0] in named))
    return Scene(image_id, describe([thing]), (thing,), picture_of(product, random_look(product, rng)))


def random_scene(rng: np.random.Generator, n_objects: int = 1) -> Scene:
    """A picture as it stands on a web page, for training."""
    if n_objects != 1:
        raise ValueError(f"n_objects must be 1: a picture shows one product, got {n_objects}")
    product, image_id = random_product(rng), f"{NAME}/random/{rng.integers(2**63):016x}"
    named = ["colour"] if rng.random() < NAMES_COLOUR else []
    if rng.random() < NAMES_DETAIL:
        named = [str(rng.choice(DETAILS))]
    shown = scene(product, named, rng, image_id)
    if rng.random() >= USES_SYNONYM:
        return shown
    called = [replace(shown.objects[0], noun=str(rng.choice(SYNONYMS[product.category])))]
    return replace(shown, objects=tuple(called), caption=describe(called))


def _scenes(n: int, seed: int) -> list[Scene]:
    """Pictures whose texts name category and colour."""
    rng = np.random.default_rng(seed)
    return [scene(random_product(rng), ["colour"], rng, f"{NAME}/{seed}/{i:04d}") for i in range(n)]


def evaluation_scenes() -> list[Scene]:
    """1,000 pictures with generic texts: what must not be forgotten."""
    return _scenes(1000, seed=4004)


def validation_scenes() -> list[Scene]:
    """1,000 others, for every choice that must not look at the evaluation set."""
    return _scenes(1000, seed=5005)


def references() -> list[Scene]:
    """Every category in every colour, plain and large, once."""
    rng = np.random.default_rng(0)
    kinds = [(category, colour) for category in VALUES["category"] for colour in VALUES["colour"]]
    return [
        scene(
            Product(category, CATEGORIES[category][0], colour, "plain", "large"),
            ["colour"],
            rng,
            f"{NAME}/{colour} {category}",
        )
        for category, colour in kinds
    ]
