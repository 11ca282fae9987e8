"""What a mini CLIP is fed: the training diet decides how retrieval fails.

A diet says how many objects a training image holds and how complete its caption is. No diet ever shows
an image of three objects, so the Shapes compositions are new to every mini encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.scenes import Scene, SceneObject

WORLDS = (shapes, clevr_like)


@dataclass(frozen=True)
class Diet:
    """How training pairs are drawn; every probability is per object or per caption.

    Args:
        objects: the numbers of objects an image may hold, equally likely.
        drop_attribute: a caption leaves this attribute of this object out.
        drop_noun: a caption says "shape" or "object" instead of the noun.
        drop_object: a caption of several objects names only one of them.
        other_style: a caption is phrased in the manner of the other world.
        steps: optimiser steps.
    """

    objects: tuple[int, ...]
    drop_attribute: float = 0.25
    drop_noun: float = 0.1
    drop_object: float = 0.0
    other_style: float = 0.2
    steps: int = 1000


DIETS = {
    "mini-single": Diet(objects=(1,), steps=1000),
    "mini-pairs": Diet(objects=(1, 2), drop_object=0.25, steps=1250),
}


def vocabulary() -> list[str]:
    """Every word that a caption of either world can hold."""
    things = [*shapes.PRIMITIVES, *clevr_like.TYPES]
    words = {word for thing in things for word in thing.phrase.split()}
    words |= set(clevr_like.describe(things[:1]).split()[:4]) | {"and", ","}
    return sorted(words | {world.GENERIC_NOUN for world in WORLDS})


def draw_scene(world: ModuleType, diet: Diet, rng: np.random.Generator) -> Scene:
    """A random training image of this world."""
    return world.random_scene(rng, int(rng.choice(diet.objects)))


def draw_caption(scene: Scene, world: ModuleType, diet: Diet, rng: np.random.Generator) -> str:
    """A caption of the scene, as incomplete as the diet has it."""
    things = list(scene.objects)
    if len(things) > 1 and rng.random() < diet.drop_object:
        things = [things[rng.integers(len(things))]]
    things = [_thin(thing, world, diet, rng) for thing in things]
    other = WORLDS[1 - WORLDS.index(world)]
    return (other if rng.random() < diet.other_style else world).describe(things)


def _thin(thing: SceneObject, world: ModuleType, diet: Diet, rng: np.random.Generator) -> SceneObject:
    """The object with some of its words left out."""
    kept = tuple(pair for pair in thing.attributes if rng.random() >= diet.drop_attribute)
    return SceneObject(world.GENERIC_NOUN if rng.random() < diet.drop_noun else thing.noun, kept)
