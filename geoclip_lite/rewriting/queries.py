"""Queries that are not phrased like a retriever's captions, each with the one picture that answers it.

    clean         the caption itself: a rewriter must not harm what works
    long          an English letter with fillers, synonyms, and asides that name what is not there
    multilingual  French, German, Spanish or Chinese (see `languages`)
    composed      a reference picture in words, and what is different about the wanted one

A reference picture is given by its caption, as a captioner without error would: the rewriter here reads no
pictures. Test queries ask for other pictures than training queries and use sentences of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

from geoclip_lite.datasets import shapes
from geoclip_lite.rewriting import sentences
from geoclip_lite.rewriting.languages import LANGUAGES, check_language, phrase
from geoclip_lite.rewriting.sentences import article, plural, some
from geoclip_lite.scenes import Scene, SceneObject

Shift = Literal["clean", "long", "multilingual", "composed"]
SHIFTS: tuple[Shift, ...] = get_args(Shift)
TEST_SIZES = {"clean": 300, "long": 300, "multilingual": 600, "composed": 300}
NEAR_MISSES = 6  # pictures beside the reference that differ from the wanted one by a word
SYNONYM_SHARE = 0.3
Objects = tuple[SceneObject, ...]


@dataclass(frozen=True)
class Query:
    """A query and what it asks for.

    Args:
        text: as it was typed.
        shift: see the module.
        language: "en" but for multilingual queries.
        scene: the right picture.
        named: the wanted objects in the query's order. A composed query has those of its reference in their
            places, changed.
        near: for composed queries the reference, then near misses.
    """

    text: str
    shift: Shift
    language: str
    scene: Scene
    named: Objects
    near: tuple[Scene, ...] = ()

    @property
    def caption(self) -> str:
        """What the retriever was trained to read: an oracle's rewrite."""
        return self.scene.caption


@dataclass(frozen=True)
class QuerySet:
    """Queries over a gallery that holds their pictures and, for composed ones, the near misses."""

    queries: tuple[Query, ...]
    gallery: tuple[Scene, ...]

    def __post_init__(self):
        known = {scene.image_id for scene in self.gallery}
        wanted = {s.image_id for query in self.queries for s in (query.scene, *query.near)}
        if missing := sorted(wanted - known):
            raise ValueError(
                f"gallery must hold every picture that is asked for, {missing[0]!r} is not in it"
            )

    @property
    def texts(self) -> list[str]:
        """The queries as they were typed."""
        return [query.text for query in self.queries]

    @property
    def captions(self) -> list[str]:
        """What an oracle would make of them."""
        return [query.caption for query in self.queries]


# --- sets -----------------------------------------------------------------------------------------


def training_set(n: int, seed: int, shifts: Sequence[Shift] = SHIFTS) -> QuerySet:
    """n queries, as many of each shift, over pictures that no test asks for or shows.

    Args:
        seed: of everything.
        shifts: which to draw from, one after the other.

    Raises:
        ValueError: n below 1, no shifts, or an unknown one.
    """
    if n < 1 or not shifts:
        raise ValueError(f"n must be 1 or more, of one shift or more, got {n} of {tuple(shifts)}")
    rng = np.random.default_rng([seed, 11])
    chosen = rng.choice(len(training_scenes()), n, replace=n > len(training_scenes()))
    queries = [
        draw(training_scenes()[i], shifts[number % len(shifts)], rng) for number, i in enumerate(chosen)
    ]
    return QuerySet(tuple(queries), pictures_of(queries))


@cache
def held_out_set(shift: Shift, part: Literal["evaluation", "validation"] = "evaluation") -> QuerySet:
    """Held-out queries over the whole evaluation set of Shapes (2,430 pictures), the same ones in every call.

    Composed queries search a larger gallery, which also holds their references and near misses.

    Args:
        part: the validation queries, for choices, are half as many, over the 1,000 validation pictures.
    """
    scenes = shapes.evaluation_scenes() if part == "evaluation" else shapes.validation_scenes()
    n = TEST_SIZES[shift] // (1 if part == "evaluation" else 2)
    rng = np.random.default_rng([SHIFTS.index(shift), 12])
    queries = [
        draw(scene, shift, rng, LANGUAGES[i % len(LANGUAGES)], held_out=True)
        for i, scene in enumerate(scenes[:n])
    ]
    return QuerySet(tuple(queries), pictures_of(queries, scenes))


@cache
def training_scenes() -> tuple[Scene, ...]:
    """The compositions that are in neither the evaluation nor the validation set."""
    held_out = held_out_captions()
    return tuple(scene for scene in shapes.compositions() if scene.caption not in held_out)


@cache
def held_out_captions() -> frozenset[str]:
    """The captions of the evaluation and validation sets."""
    return frozenset(scene.caption for part in shapes.split() for scene in part)


def pictures_of(queries: Iterable[Query], scenes: Sequence[Scene] = ()) -> tuple[Scene, ...]:
    """These scenes, and whatever else the queries ask for or could be mistaken for; each picture once."""
    wanted = (scene for query in queries for scene in (query.scene, *query.near))
    return tuple({scene.image_id: scene for scene in (*scenes, *wanted)}.values())


# --- queries --------------------------------------------------------------------------------------


def draw(
    scene: Scene, shift: Shift, rng: np.random.Generator, language: str | None = None, held_out: bool = False
) -> Query:
    """A random query of this kind for a picture.

    Args:
        language: of a multilingual query; None: any.
        held_out: whether to use the sentences that are kept for tests, and any picture as a near miss;
            otherwise near misses are never pictures of the evaluation or validation set.

    Raises:
        ValueError: an unknown shift.
        UnknownLanguageError: an unknown language.
    """
    if shift == "clean":
        return Query(scene.caption, shift, "en", scene, scene.objects)
    if shift == "long":
        return _long(scene, rng, held_out)
    if shift == "multilingual":
        return _multilingual(scene, rng, language or str(rng.choice(LANGUAGES)), held_out)
    if shift == "composed":
        return _composed(scene, rng, held_out)
    raise ValueError(f"shift must be one of {', '.join(SHIFTS)}, got {shift!r}")


def _shuffled(scene: Scene, rng: np.random.Generator) -> Objects:
    """The objects in any order, equal ones side by side."""
    kinds = list(Counter(scene.objects).items())
    return tuple(thing for i in rng.permutation(len(kinds)) for thing in [kinds[i][0]] * kinds[i][1])


def _pick(choices: Sequence, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _multilingual(scene: Scene, rng: np.random.Generator, language: str, held_out: bool) -> Query:
    check_language(language)
    named = _shuffled(scene, rng)
    frame, case = _pick(some(sentences.FRAMES[language], held_out), rng)
    return Query(frame.format(phrase(named, language, case)), "multilingual", language, scene, named)


def _long(scene: Scene, rng: np.random.Generator, held_out: bool) -> Query:
    """An opening with all objects, then an aside or a remark or both, then thanks."""
    named = _shuffled(scene, rng)
    parts = [spoken(thing, n, rng) for thing, n in Counter(named).items()]
    listed = parts[0] + "".join(f" {_pick(some(sentences.LINKS, held_out), rng)} {p}" for p in parts[1:])
    absent = [thing for thing in shapes.PRIMITIVES if thing not in scene.objects]
    aside = _pick(some(sentences.ASIDES, held_out), rng)
    other = _pick(absent, rng).phrase
    said = [
        _pick(some(sentences.OPENINGS, held_out), rng).format(listed),
        aside.format(other if "no {}" in aside else f"{article(other)} {other}"),
        _pick(some(sentences.REMARKS, held_out), rng),
        _pick(some(sentences.CLOSINGS, held_out), rng),
    ]
    kept = [said[0], *(text for text in said[1:3] if rng.random() < 0.7), said[3]]
    return Query(". ".join(kept), "long", "en", scene, named)


def spoken(thing: SceneObject, n: int, rng: np.random.Generator) -> str:
    """An object as people speak of it: "a crimson disc", "two circles that are red"."""
    colour, noun = (
        sentences.SYNONYMS[word] if word in sentences.SYNONYMS and rng.random() < SYNONYM_SHARE else word
        for word in (dict(thing.attributes)["colour"], thing.noun)
    )
    before = bool(rng.integers(2))
    if n == 1:
        return f"{article(colour)} {colour} {noun}" if before else f"{article(noun)} {noun} that is {colour}"
    count = sentences.NUMBERS[n - 2]
    return f"{count} {colour} {plural(noun)}" if before else f"{count} {plural(noun)} that are {colour}"


# --- composed -------------------------------------------------------------------------------------


def _composed(scene: Scene, rng: np.random.Generator, held_out: bool) -> Query:
    """Goes back from the wanted picture to a reference: one object with another colour or another shape."""
    wanted, before, slot, reference = _change(scene, rng, held_out)
    named = list(reference.objects)
    named[[thing.phrase for thing in named].index(before.phrase)] = wanted
    like = _pick(some(sentences.REFERENCES, held_out), rng).format(reference.caption)
    text = f"{like}, {_said(before, wanted, slot, rng, held_out)}"
    near = _near_misses(_but_one(scene.objects, wanted), wanted, before, slot)
    near = [s for s in near if held_out or _may_be_trained_on(s)]
    chosen = [near[i] for i in rng.permutation(len(near))[:NEAR_MISSES]]
    return Query(text, "composed", "en", scene, tuple(named), (reference, *chosen))


def _change(
    scene: Scene, rng: np.random.Generator, held_out: bool
) -> tuple[SceneObject, SceneObject, str, Scene]:
    """An object, what it was before, the slot that changed, and the reference picture.

    In the reference no other object is like the one that changes.
    """
    while True:
        wanted, slot = _pick(scene.objects, rng), _pick(("colour", "noun"), rng)
        before = _pick(alternatives(wanted, slot), rng)
        reference = shapes.composition([*_but_one(scene.objects, wanted), before])
        if before not in scene.objects and (held_out or _may_be_trained_on(reference)):
            return wanted, before, slot, reference


def _near_misses(
    others: Sequence[SceneObject], wanted: SceneObject, before: SceneObject, slot: str
) -> list[Scene]:
    """The right object changed into something else, or another object changed instead."""
    wrong = [[*others, other] for other in alternatives(wanted, slot) if other != before]
    for thing in others:
        wrong += [[*_but_one(others, thing), before, other] for other in alternatives(thing, slot)]
    right = shapes.describe([*others, wanted])
    found = {scene.caption: scene for scene in map(shapes.composition, wrong)}
    return [scene for caption, scene in found.items() if caption != right]


def _may_be_trained_on(scene: Scene) -> bool:
    return scene.caption not in held_out_captions()


def alternatives(thing: SceneObject, slot: str) -> list[SceneObject]:
    """The primitives that differ from this one in this slot only."""
    same = "noun" if slot == "colour" else "colour"
    return [other for other in shapes.PRIMITIVES if other != thing and other.slots[same] == thing.slots[same]]


def _but_one(objects: Sequence[SceneObject], thing: SceneObject) -> list[SceneObject]:
    left = list(objects)
    left.remove(thing)
    return left


def _said(
    before: SceneObject, wanted: SceneObject, slot: str, rng: np.random.Generator, held_out: bool
) -> str:
    """The change in words."""
    if slot == "colour":
        colours = before.slots["colour"], wanted.slots["colour"]
        said = _pick(some(sentences.RECOLOUR, held_out), rng).format(colours[0], before.noun, colours[1])
    else:
        said = _pick(some(sentences.REPLACE, held_out), rng).format(before.phrase, wanted.phrase)
    return said.replace(" a orange", " an orange")
