"""Things in two states each: a noun-attribute-contrastive world, in the spirit of the paper's NAC (App. F.1).

Eighteen everyday nouns take part in two or more of nine contrasts (open or closed, lit or unlit, ...). A
picture shows one thing in one state of each of its contrasts; its colours, place, size and background vary
and are never named. A minimal pair differs in one contrast and in nothing else.

The paper's NAC was drawn by a diffusion model and checked by a vision-language model. Here a pole is drawn
or it is not, so an annotation cannot be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice, product

import numpy as np
from PIL import Image

from geoclip_lite.datasets.things.brush import OVERSAMPLING, Brush, Colour, ellipse, shade
from geoclip_lite.datasets.things.pictures import DRAW
from geoclip_lite.scenes import Scene, SceneObject

NAME = "things"
GENERIC_NOUN = "thing"

# Slot -> its two poles, each a set of synonyms; the first word is the canonical one.
CONTRASTS = {
    "opening": (("open", "opened"), ("closed", "shut")),
    "posture": (("upright", "standing"), ("toppled", "fallen")),
    "filling": (("full", "filled"), ("empty", "drained")),
    "soundness": (("whole", "intact"), ("broken", "cracked")),
    "light": (("lit", "glowing"), ("unlit", "dark")),
    "pattern": (("striped", "banded"), ("plain", "unpatterned")),
    "cleanness": (("clean", "spotless"), ("dirty", "stained")),
    "pressure": (("inflated", "pumped"), ("deflated", "limp")),
    "freshness": (("fresh", "blooming"), ("wilted", "drooping")),
}
POLES = tuple(pole for poles in CONTRASTS.values() for pole in poles)  # for `relevance.synonym`
NOUNS = {
    "ball": ("pressure", "pattern"),
    "balloon": ("pressure", "pattern"),
    "book": ("opening",),
    "bottle": ("opening", "posture"),
    "box": ("opening", "pattern"),
    "bucket": ("filling", "pattern"),
    "candle": ("light", "pattern"),
    "door": ("opening", "pattern"),
    "flower": ("freshness",),
    "glass": ("filling", "soundness"),
    "lamp": ("light", "posture"),
    "mug": ("filling", "soundness", "pattern"),
    "plant": ("freshness", "posture"),
    "plate": ("soundness", "cleanness"),
    "shirt": ("cleanness", "pattern"),
    "umbrella": ("opening", "pattern"),
    "vase": ("posture", "soundness", "pattern"),
    "window": ("opening", "soundness", "light"),
}
GROUNDED = tuple((noun, slot) for noun, slots in NOUNS.items() for slot in slots)
EVALUATION_SIZE = 2430  # as many as the paper's table 8 gives for NAC

COLOURS: tuple[Colour, ...] = (
    (214, 72, 66), (236, 142, 56), (238, 200, 72), (98, 168, 92), (64, 158, 168), (78, 118, 196),
    (146, 98, 178), (224, 132, 168), (150, 108, 80), (224, 220, 210),
)  # fmt: skip
WALLS: tuple[Colour, ...] = (
    (238, 232, 220), (214, 226, 232), (226, 218, 234), (218, 232, 214), (246, 226, 208), (200, 204, 212),
)  # fmt: skip
FLOORS: tuple[Colour, ...] = (
    (196, 164, 128), (150, 140, 132), (170, 182, 176), (206, 188, 162), (132, 146, 166), (188, 158, 158),
)  # fmt: skip

State = dict[str, str]  # slot -> canonical word of one of its poles


@dataclass(frozen=True)
class Look:
    """What varies from picture to picture and is never named.

    Args:
        main: colour of the thing.
        second: of its stripes.
        wall: behind it.
        floor: under it.
        x: where it stands, a fraction of the width.
        ground: height of the point where it stands, a fraction of the height, from the top.
        size: a step of its own coordinates, a fraction of the height.
        mirrored: left and right exchanged.
    """

    main: Colour
    second: Colour
    wall: Colour
    floor: Colour
    x: float = 0.5
    ground: float = 0.84
    size: float = 0.4
    mirrored: bool = False


PLAIN_LOOK = Look(COLOURS[5], COLOURS[9], WALLS[0], FLOORS[0])


def random_look(rng: np.random.Generator) -> Look:
    """Colours, place and size at random; stripes always stand out from what they are on."""
    main, second = (COLOURS[i] for i in rng.choice(len(COLOURS), 2, replace=False))
    if abs(np.dot(np.subtract(main, second), (0.3, 0.6, 0.1))) < 45:
        second = shade(main, 0.5) if sum(main) > 420 else shade(main, 2.5)
    wall, floor = WALLS[rng.integers(len(WALLS))], FLOORS[rng.integers(len(FLOORS))]
    x, ground, size = rng.uniform((0.42, 0.8, 0.32), (0.58, 0.9, 0.42))
    return Look(main, second, wall, floor, float(x), float(ground), float(size), bool(rng.random() < 0.5))


# --- words ----------------------------------------------------------------------------------------


def words() -> set[str]:
    """Every word that a caption of this world can hold."""
    return {*NOUNS, GENERIC_NOUN, *(word for pole in POLES for word in pole), *["a", "photo", "of", "the"]}


def describe(objects: Sequence[SceneObject]) -> str:
    """The caption: "a photo of the open striped box"."""
    return "a photo of " + " and ".join(f"the {thing.phrase}" for thing in objects)


def states(noun: str) -> list[State]:
    """Every state of the noun: one pole of each of its contrasts."""
    slots = NOUNS[noun]
    return [
        {slot: pole[0] for slot, pole in zip(slots, poles, strict=True)}
        for poles in product(*(CONTRASTS[slot] for slot in slots))
    ]


def reworded(state: State, rng: np.random.Generator) -> State:
    """The state, each pole called by one of its synonyms."""
    names = {pole[0]: pole for pole in POLES}
    return {slot: str(rng.choice(names[word])) for slot, word in state.items()}


def canonical(scene: Scene) -> Scene:
    """The scene with every pole called by its first word, so that words can be compared."""
    names = {word: pole[0] for pole in POLES for word in pole}
    called = [replace(o, attributes=tuple((s, names[v]) for s, v in o.attributes)) for o in scene.objects]
    return replace(scene, objects=tuple(called), caption=describe(called))


# --- scenes ---------------------------------------------------------------------------------------


def scene(
    noun: str,
    state: State,
    look: Look = PLAIN_LOOK,
    image_id: str | None = None,
    called: State | None = None,
) -> Scene:
    """One thing in one state.

    Args:
        image_id: by default made of the words.
        called: the words that the annotation uses for the state; None: the canonical ones.
    """
    thing = SceneObject(noun, tuple((called or state).items()), position=(look.x, look.ground - look.size))
    name = image_id or f"{NAME}/{thing.phrase}"
    return Scene(name, describe([thing]), (thing,), partial(draw, noun, state, look))


def minimal_pair(noun: str, slot: str, rng: np.random.Generator, name: str) -> tuple[Scene, Scene]:
    """Two pictures that differ in one contrast and in nothing else, first pole first.

    Raises:
        ValueError: no such noun, or one that does not take part in this contrast.
    """
    if slot not in NOUNS.get(noun, ()):
        known = f"it has {', '.join(NOUNS[noun])}" if noun in NOUNS else f"there are {', '.join(NOUNS)}"
        raise ValueError(f"noun, slot: there is no {slot!r} of a {noun!r}; {known}")
    look, state = random_look(rng), states(noun)[rng.integers(2 ** len(NOUNS[noun]))]
    poles = [state | {slot: pole[0]} for pole in CONTRASTS[slot]]
    called = reworded(state, rng)
    return tuple(
        scene(noun, pole, look, f"{NAME}/{name}/{pole[slot]}", called | {slot: reworded(pole, rng)[slot]})
        for pole in poles
    )


def minimal_pairs(n: int, seed: int) -> list[tuple[Scene, Scene]]:
    """Seeded minimal pairs, the grounded contrasts in turn."""
    rng = np.random.default_rng(seed)
    grounded = islice(cycle(GROUNDED), n)
    return [minimal_pair(*each, rng, f"{seed}/{i:04d}-{'-'.join(each)}") for i, each in enumerate(grounded)]


def evaluation_scenes() -> list[Scene]:
    """1,215 minimal pairs, 2,430 pictures."""
    return [s for pair in minimal_pairs(EVALUATION_SIZE // 2, seed=2430) for s in pair]


def validation_scenes() -> list[Scene]:
    """500 other pairs, for every choice that must not look at the evaluation set."""
    return [s for pair in minimal_pairs(500, seed=1000) for s in pair]


def references() -> list[Scene]:
    """Every noun in every state, once, in the middle of one room."""
    return [scene(noun, state) for noun in NOUNS for state in states(noun)]


def random_scene(rng: np.random.Generator, n_objects: int = 1) -> Scene:
    """A random thing in a random state, for training."""
    if n_objects != 1:
        raise ValueError(f"n_objects must be 1: a picture shows one thing, got {n_objects}")
    noun = list(NOUNS)[rng.integers(len(NOUNS))]
    state = states(noun)[rng.integers(2 ** len(NOUNS[noun]))]
    name = f"{NAME}/random/{rng.integers(2**63):016x}"
    return scene(noun, state, random_look(rng), name, reworded(state, rng))


# --- pictures -------------------------------------------------------------------------------------


def draw(noun: str, state: State, look: Look, size: int) -> Image.Image:
    """A room, a shadow on its floor, and the thing."""
    side = OVERSAMPLING * size
    canvas = _room(look, side)
    step = look.size * side
    axes = np.array([[-step if look.mirrored else step, 0], [0, -step]])
    brush = Brush(canvas, axes, np.array([look.x, look.ground]) * side)
    if noun not in ("shirt", "window"):  # these hang on the wall
        brush.fill(ellipse(0, 0, 0.95, 0.14), shade(look.floor, 0.78), round=False)
    DRAW[noun](brush, state, look.main, look.second)
    return canvas.reduce(OVERSAMPLING)


def _room(look: Look, side: int) -> Image.Image:
    """A wall that gets darker upwards, and a floor."""
    edge = int((look.ground - 0.12) * side)
    light = np.interp(np.arange(side), [0, edge, edge + 1, side], [0.9, 1.0, 1.0, 0.88])
    rows = np.where((np.arange(side) < edge)[:, None], look.wall, look.floor) * light[:, None]
    pixels = np.broadcast_to(rows[:, None], (side, side, 3)).astype(np.uint8)
    return Image.fromarray(pixels)
