"""A CLEVR-like world: solids on a table.

Three shapes, eight colours, two materials and two sizes make 96 types of object. Scenes are records in
CLEVR's own schema (Johnson et al., 2017: `color`, `3d_coords`, `pixel_coords`, `relationships`, ...), so
what reads these reads the original's scene files too. Colours and the caption follow CLEVR and the
paper's section 3: "a photo of a large red rubber sphere and a small blue metal cube".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from geoclip_lite.datasets.raycast import COLOURS, SCALE, SIZES, draw, pixel_coords, project
from geoclip_lite.scenes import Relation, Scene, SceneObject

NAME = "clevr-like"
GENERIC_NOUN = "object"

MATERIALS = ("rubber", "metal")
SHAPES = ("sphere", "cube", "cylinder")
SLOTS = {"size": "size", "colour": "color", "material": "material"}  # our slot -> CLEVR's key, as spoken

TYPES = tuple(
    SceneObject(shape, (("size", size), ("colour", colour), ("material", material)))
    for size, colour, material, shape in product(SIZES, COLOURS, MATERIALS, SHAPES)
)
MAX_OBJECTS = 10
TABLE = np.array([2.0, 2.6])  # centres lie within +-TABLE of the middle, in x (right) and y (away)
MIN_GAP = 0.12  # between the footprints of two objects, in table units
MIN_APART = 1.0  # between two centres on screen, in units of the larger one's radius: limits occlusion

DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "behind": (0, 1), "front": (0, -1)}


def words() -> set[str]:
    """Every word that a caption of this world can hold."""
    spoken = {word for thing in TYPES for word in thing.phrase.split()}
    return spoken | {*["a", "photo", "of", "and"], ",", GENERIC_NOUN}


def describe(objects: Sequence[SceneObject]) -> str:
    """The caption: "a photo of a large red rubber sphere, a ... and a ..."."""
    phrases = [f"a {thing.phrase}" for thing in objects]
    return "a photo of " + " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def scene_from_record(record: dict, image_id: str) -> Scene:
    """A scene from a record in CLEVR's schema; the picture is drawn from the record."""
    objects = tuple(
        SceneObject(
            entry["shape"],
            tuple((slot, entry[key]) for slot, key in SLOTS.items()),
            position=tuple(project(np.array(entry["3d_coords"])).tolist()),
        )
        for entry in record["objects"]
    )
    relations = tuple(
        Relation(subject, predicate, i)
        for predicate, related in record["relationships"].items()
        for i, subjects in enumerate(related)
        for subject in subjects
    )
    return Scene(image_id, describe(objects), objects, partial(draw, record), relations)


def make_record(things: Sequence[SceneObject], rng: np.random.Generator) -> dict:
    """A record in CLEVR's schema: the given objects at random places and turns, none touching."""
    if not 1 <= len(things) <= MAX_OBJECTS:
        raise ValueError(f"a scene holds 1 to {MAX_OBJECTS} objects, got {len(things)}")
    radii = np.array([SIZES[thing.slots["size"]] for thing in things])
    centres = place(radii, rng)
    entries = [
        {SLOTS[slot]: value for slot, value in thing.attributes}
        | {
            "shape": thing.noun,
            "rotation": float(rng.uniform(0, 360)),
            "3d_coords": [float(x), float(y), float(r)],
            "pixel_coords": pixel_coords(np.array([x, y, r]), size=64),
        }
        for thing, (x, y), r in zip(things, centres, radii, strict=True)
    ]
    directions = {name: [float(dx), float(dy), 0.0] for name, (dx, dy) in DIRECTIONS.items()}
    return {"objects": entries, "relationships": relate(centres), "directions": directions}


def relate(centres: Float[np.ndarray, "objects 2"]) -> dict[str, list[list[int]]]:
    """CLEVR's relationships: `relate(...)[name][i]` lists the objects that stand `name` of object i."""
    return {
        name: [np.flatnonzero((centres - centre) @ direction > 1e-9).tolist() for centre in centres]
        for name, direction in DIRECTIONS.items()
    }


def place(radii: Float[np.ndarray, "objects"], rng: np.random.Generator) -> Float[np.ndarray, "objects 2"]:
    """Random places on the table, far enough apart on it and on screen.

    Starts over when stuck, and then lets objects hide a little more of each other.
    """
    leniency = 1.0
    while (centres := _place_one_by_one(radii, rng, leniency)) is None:
        leniency *= 0.99
    return centres


def _place_one_by_one(
    radii: Float[np.ndarray, "objects"], rng: np.random.Generator, leniency: float
) -> Float[np.ndarray, "objects 2"] | None:
    centres = np.empty((0, 2))
    for i, radius in enumerate(radii):
        tries = rng.uniform(-TABLE, TABLE, size=(64, 2))
        free = np.flatnonzero(_is_free(tries, radius, centres, radii[:i], leniency))
        if not len(free):
            return None
        centres = np.vstack([centres, tries[free[0]]])
    return centres


def _is_free(
    tries: Float[np.ndarray, "tries 2"],
    radius: float,
    centres: Float[np.ndarray, "placed 2"],
    radii: Float[np.ndarray, "placed"],
    leniency: float,
) -> Bool[np.ndarray, "tries"]:
    apart = np.linalg.norm(tries[:, None] - centres, axis=-1) > radius + radii + MIN_GAP
    seen = project(np.column_stack([tries, np.full(len(tries), radius)]))
    others = project(np.column_stack([centres, radii]))
    on_screen = np.linalg.norm(seen[:, None] - others, axis=-1)
    return (apart & (on_screen > leniency * MIN_APART * np.maximum(radius, radii) * SCALE)).all(axis=1)


def rearranged(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same objects at other random places and turns."""
    return scene_from_record(make_record(scene.objects, rng), image_id=f"{scene.image_id}, moved")


def references() -> list[Scene]:
    """96 images of one object each, standing in the middle of the table."""
    scenes = []
    for thing in TYPES:
        record = make_record([thing], np.random.default_rng(0))
        record["objects"][0] |= {"3d_coords": [0.0, 0.0, SIZES[thing.slots["size"]]], "rotation": 30.0}
        scenes.append(scene_from_record(record, image_id=f"{NAME}/reference/{thing.phrase}"))
    return scenes


def random_scene(rng: np.random.Generator, n_objects: int) -> Scene:
    """`n_objects` (1-10) objects of random types at random places."""
    things = [TYPES[i] for i in rng.integers(len(TYPES), size=n_objects)]
    return scene_from_record(make_record(things, rng), image_id=f"{NAME}/random/{rng.integers(2**63):016x}")


def _distinct_scenes(name: str, size: int, seed: int, n_objects: tuple[int, int] = (2, 8)) -> list[Scene]:
    """`size` scenes, no two of which hold the same objects: each caption has one right image."""
    rng, scenes = np.random.default_rng(seed), {}
    while len(scenes) < size:
        scene = random_scene(rng, int(rng.integers(n_objects[0], n_objects[1] + 1)))
        scenes.setdefault(tuple(sorted(thing.phrase for thing in scene.objects)), scene)
    return [
        Scene(f"{NAME}/{name}/{i:04d}", s.caption, s.objects, s.draw, s.relations)
        for i, s in enumerate(scenes.values())
    ]


def evaluation_scenes(size: int = 1000) -> list[Scene]:
    """1,000 scenes of two to eight objects, as many as the paper's CLEVR-HOPE subset."""
    return _distinct_scenes("evaluation", size, seed=1000)


def validation_scenes(size: int = 500) -> list[Scene]:
    """500 other scenes, for every choice that must not look at the evaluation set."""
    return _distinct_scenes("validation", size, seed=500)
