"""What a general language model would make of a query: right most of the time, and in a style of its own.

The policy is warmed up on such rewrites before any reward is seen. They follow the query's order, call a
circle a disc, lose a colour or an object, forget the change of a composed query, or say something that fits
every picture. Three priors differ in how often; habits are what a greedy rewrite then shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders.diets import ALT_TEXTS
from geoclip_lite.rewriting.queries import Query
from geoclip_lite.rewriting.sentences import SYNONYMS, article
from geoclip_lite.scenes import SceneObject


@dataclass(frozen=True)
class Prior:
    """How often a rewrite goes wrong.

    Args:
        generic: of rewrites, that say something that fits every picture.
        forgotten: of rewrites of composed queries, that describe the reference.
        dropped: of objects, that are not named.
        wrong: of objects, that get another colour.
        pale: of objects, that get no colour.
        synonym: of words that have one which the retriever never saw.
        habits: words whose synonym is what this prior nearly always says, see `HABIT`.
    """

    generic: float
    forgotten: float
    dropped: float
    wrong: float
    pale: float
    synonym: float
    habits: tuple[str, ...] = ()

    def __post_init__(self):
        for name, share in vars(self).items():
            if name != "habits" and not 0 <= share <= 1:
                raise ValueError(f"{name} must be a share, 0 to 1, got {share}")
        if unknown := sorted(set(self.habits) - SYNONYMS.keys()):
            raise ValueError(f"habits: {unknown[0]!r} has no synonym; there are {', '.join(SYNONYMS)}")


HABIT = 0.75  # share of synonyms where they are a habit: the likeliest word, but not the only one
SOME = ("purple", "circle")
PRIORS = {
    "good": Prior(0.05, 0.2, 0.03, 0.05, 0.03, 0.1, habits=SOME),
    "middling": Prior(0.2, 0.6, 0.1, 0.1, 0.1, 0.1, habits=(*SOME, "red", "square")),
    "weak": Prior(0.4, 0.8, 0.2, 0.2, 0.2, 0.1, habits=tuple(SYNONYMS)),
}


def rewrite(query: Query, prior: Prior, rng: np.random.Generator) -> str:
    """One rewrite of a query, as this prior would have it."""
    if rng.random() < prior.generic:
        return str(rng.choice(ALT_TEXTS))
    forgets = query.shift == "composed" and rng.random() < prior.forgotten
    named = query.near[0].objects if forgets else query.named
    kept = [thing for thing in named if rng.random() >= prior.dropped] or [named[0]]
    return styled([_worded(thing, prior, rng) for thing in kept], rng)


def styled(phrases: Sequence[str], rng: np.random.Generator) -> str:
    """Phrases in one of three manners of listing them; captions use the first."""
    manner = rng.choice(3, p=(0.6, 0.2, 0.2))
    if manner == 0:
        return ", ".join(phrases)
    listed = [f"{article(phrase)} {phrase}" for phrase in phrases]
    return " and ".join(listed) if manner == 1 else "a photo of " + ", ".join(listed)


def _worded(thing: SceneObject, prior: Prior, rng: np.random.Generator) -> str:
    colour = dict(thing.attributes)["colour"]
    if rng.random() < prior.wrong:
        colour = str(rng.choice([other for other in shapes.COLOURS if other != colour]))
    said = [_called(word, prior, rng) for word in (colour, thing.noun)]
    return said[1] if rng.random() < prior.pale else " ".join(said)


def _called(word: str, prior: Prior, rng: np.random.Generator) -> str:
    """The word, or its synonym."""
    share = HABIT if word in prior.habits else prior.synonym
    return SYNONYMS.get(word, word) if rng.random() < share else word
