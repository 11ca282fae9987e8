"""What a mini CLIP is fed: the training diet decides how retrieval fails.

A diet says which worlds a mini sees, how many objects a training image holds and how complete its caption
is. No diet ever shows an image of three objects, so the Shapes compositions are new to every mini encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from geoclip_lite.datasets import clevr_like, shapes, things
from geoclip_lite.datasets.products import web
from geoclip_lite.scenes import Scene, SceneObject

# What pages say of any picture at all: alt texts that fit every image and describe none.
ALT_TEXTS = (
    "a nice drawing",
    "a nice drawing of many shapes",
    "a colourful picture",
    "a colourful picture of some objects",
    "an image",
    "many shapes and objects",
)
# In whose style a caption is phrased where it is not in its own world's.
OTHER_STYLE = {shapes: clevr_like, clevr_like: shapes, things: shapes, web: shapes}


@dataclass(frozen=True)
class Diet:
    """How training pairs are drawn; every probability is per object or per caption.

    Args:
        objects: the numbers of objects an image may hold, equally likely.
        drop_attribute: a caption leaves this attribute of this object out.
        drop_noun: a caption says "shape" or "object" instead of the noun.
        drop_object: a caption of several objects names only one of them.
        other_style: a caption is phrased in the manner of another world.
        alt_text: a caption says nothing of its picture, see `ALT_TEXTS`.
        steps: optimiser steps.
        worlds: where images and captions come from.
        batch: image-caption pairs of each world in a batch. Batch norm must see all worlds at once.
    """

    objects: tuple[int, ...]
    drop_attribute: float = 0.25
    drop_noun: float = 0.1
    drop_object: float = 0.0
    other_style: float = 0.2
    alt_text: float = 0.0
    steps: int = 1000
    worlds: tuple[ModuleType, ...] = (shapes, clevr_like)
    batch: int = 80

    def vocabulary(self) -> list[str]:
        """Every word that a caption can hold."""
        empty = {word for text in ALT_TEXTS for word in text.split()} if self.alt_text else set()
        return sorted(empty.union(*(world.words() for world in self.worlds)))


DIETS = {
    "mini-single": Diet(objects=(1,), steps=1000),
    "mini-pairs": Diet(objects=(1, 2), drop_object=0.25, steps=1250),
    "mini-alt": Diet(objects=(1, 2), drop_object=0.25, alt_text=0.25, steps=1250),
    "mini-things": Diet(objects=(1,), other_style=0.5, steps=800, worlds=(things,), batch=160),
    "mini-products": Diet(
        objects=(1,), drop_attribute=0.0, drop_noun=0.05, steps=800, worlds=(web,), batch=160
    ),
}


def draw_scene(world: ModuleType, diet: Diet, rng: np.random.Generator) -> Scene:
    """A random training image of this world."""
    return world.random_scene(rng, int(rng.choice(diet.objects)))


def draw_caption(scene: Scene, world: ModuleType, diet: Diet, rng: np.random.Generator) -> str:
    """A caption of the scene, as incomplete as the diet has it."""
    if diet.alt_text and rng.random() < diet.alt_text:
        return str(rng.choice(ALT_TEXTS))
    named = list(scene.objects)
    if len(named) > 1 and rng.random() < diet.drop_object:
        named = [named[rng.integers(len(named))]]
    named = [_thin(thing, world, diet, rng) for thing in named]
    style = OTHER_STYLE[world] if rng.random() < diet.other_style else world
    return style.describe(named)


def _thin(thing: SceneObject, world: ModuleType, diet: Diet, rng: np.random.Generator) -> SceneObject:
    """The object with some of its words left out."""
    kept = tuple(pair for pair in thing.attributes if rng.random() >= diet.drop_attribute)
    return SceneObject(world.GENERIC_NOUN if rng.random() < diet.drop_noun else thing.noun, kept)
