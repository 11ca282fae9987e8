"""Queries of appendix F.1 over real annotations: which nouns a contrast can be asked about.

`steering.grounded_cases` does the same for rendered worlds, where an object has one word in a slot. Here an
object may be called both "big" and "large", and a picture may hold a big car and a large one: it is one
picture of that pole, and counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from geoclip_lite.datasets.official.vocabulary import CONTRASTS
from geoclip_lite.scenes import Scene
from geoclip_lite.steering import Case, Pole


def cases(
    scenes: Sequence[Scene],
    contrasts: Mapping[str, tuple[Pole, Pole]] = CONTRASTS,
    minimum: int = 10,
) -> list[Case]:
    """Both directions of every noun and contrast with enough pictures of either pole.

    `steering.answers` says which pictures answer them: those where the noun has any synonym of the target.

    Args:
        contrasts: slot -> its two poles.
        minimum: pictures of the noun with a word of the pole (the paper: 10).
    """
    side = {(slot, w): i for slot, poles in contrasts.items() for i, pole in enumerate(poles) for w in pole}
    pictures: dict[tuple[str, str, int], set[str]] = {}
    for scene in scenes:
        for thing in scene.objects:
            for pair in thing.attributes:
                if pair in side:
                    pictures.setdefault((thing.noun, pair[0], side[pair]), set()).add(scene.image_id)
    enough = Counter(key[:2] for key, images in pictures.items() if len(images) >= minimum)
    found = []
    for (noun, slot), poles_shown in enough.items():
        if poles_shown == 2:
            found += [Case(noun, slot, *contrasts[slot]), Case(noun, slot, *reversed(contrasts[slot]))]
    return found
