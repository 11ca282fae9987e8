"""One slot of one object: where an answer has it wrong, and which way it could be steered (appendix J).

A slot is an attribute of an object, or its noun. The paper's formulas are lost in our copy; what stands here
is our reading of its words.

mispaired_slots  the right value, on the wrong object
slot_directions  for every type of object and attribute, the direction that insists on it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.optimize import linear_sum_assignment

from geoclip_lite.scenes import Scene, SceneObject
from geoclip_lite.steering import Direction, Encode, difference


def mispaired_slots(query: Scene, image: Scene) -> list[tuple[int, int, str]]:
    """Where an image has the query's words on the wrong objects: (query object, image object, slot).

    Objects are paired one to one so that as few slots as possible differ. A slot of a pair is mispaired where
    the values differ although the image shows the wanted value as often as the query asks for it: it is
    there, on another object. A value that the image shows less often is missing, not mispaired.
    """
    costs = [[len(differing_slots(wanted, shown)) for shown in image.objects] for wanted in query.objects]
    asked, there = (_values(scene) for scene in (query, image))
    return [
        (int(i), int(j), slot)
        for i, j in zip(*linear_sum_assignment(costs), strict=True)
        for slot in differing_slots(query.objects[i], image.objects[j])
        if there[slot, query.objects[i].slots[slot]] >= asked[slot, query.objects[i].slots[slot]]
    ]


def differing_slots(a: SceneObject, b: SceneObject) -> list[str]:
    """The slots of the first object in which the second has another value."""
    return [slot for slot, value in a.slots.items() if b.slots.get(slot) != value]


def _values(scene: Scene) -> Counter[tuple[str, str]]:
    return Counter(pair for thing in scene.objects for pair in thing.slots.items())


def slot_directions(encode: Encode, types: Sequence[SceneObject]) -> dict[tuple[SceneObject, str], Direction]:
    """For each type of object and attribute: from the same object with any other value to this one.

    The direction that insists on "red" in "large red rubber sphere" leads to it from the large rubber spheres
    of the other colours. The noun gets none, as in the paper.

    Args:
        encode: phrases -> unit rows.
        types: every type of object once; two types that differ in one slot alone are each other's rivals.

    Raises:
        ValueError: a type without a rival in one of its attributes.
    """
    vectors = encode([thing.phrase for thing in types])
    found = {}
    for row, thing in enumerate(types):
        for slot, _ in thing.attributes:
            rivals = [i for i, other in enumerate(types) if differing_slots(thing, other) == [slot]]
            if not rivals:
                raise ValueError(f"types: nothing differs from {thing.phrase!r} in its {slot} alone")
            found[thing, slot] = difference(vectors[rivals], vectors[row][None])
    return found
