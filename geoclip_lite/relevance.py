"""Which images answer a query? A choice, made here in the open.

Every function compares queries with items by their annotations and returns one matrix: row = query,
column = item, entry = grade. `metrics` takes any of them, in either direction (text-to-image: the items
are images; image-to-text: the items are captions, each with the scene it describes).

    exact      the very picture (by image id)                              0 or 1
    attribute  shows a named value, anywhere or on a named noun            0 or 1
    contains   holds every object that the query names                     0 or 1
    synonym    the same, after synonyms are taken for one word             0 or 1
    same_bag   holds the same words, bound together in whatever way        0 or 1
    overlap    graded: how much of the two multisets of objects agrees     0 to 4

The paper uses at least two of them under one name: section 5 counts the relevant image, appendix H the
image that matches the target attribute. The two coverages at the end are what its concept attribution
scores (CAS-gen, CAS-noun) average.

All of them count words. A multiset of words is a row of counts over a vocabulary, and the size of the
intersection of two multisets, sum over words of min(a, b), is a sum of matrix products: see `shared`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from geoclip_lite.scenes import Scene, SceneObject

Bag = Sequence[Hashable]
Pair = tuple[str, str]  # (slot, value)


# --- grades ---------------------------------------------------------------------------------------


def exact(queries: Sequence[Scene], items: Sequence[Scene]) -> UInt8[Tensor, "queries items"]:
    """1 where query and item are the same picture.

    By image id, not by position: copies of a picture in the gallery are all relevant, and so are all
    captions of one image.
    """
    _some(queries=queries, items=items)
    numbers = {scene.image_id: number for number, scene in enumerate([*queries, *items])}
    wanted, shown = (torch.tensor([numbers[s.image_id] for s in scenes]) for scenes in (queries, items))
    return (wanted[:, None] == shown[None, :]).to(torch.uint8)


@dataclass(frozen=True)
class Target:
    """What an attribute query asks for: `Target("colour", "red", noun="circle")`, a circle that is red.

    Args:
        slot: which slot; "noun" is one too.
        value: the value it must have.
        noun: on which object; None: on any.
    """

    slot: str
    value: str
    noun: str | None = None


def attribute(targets: Sequence[Target], items: Sequence[Scene]) -> UInt8[Tensor, "queries items"]:
    """1 where the image shows an object with the target's value, one target per query (appendix H)."""
    _some(targets=targets, items=items)
    wanted = [[target] for target in targets]
    shown = [[t for thing in scene.objects for t in _targets_met(thing)] for scene in items]
    return (_shared_bags(wanted, shown) > 0).to(torch.uint8)


def contains(queries: Sequence[Scene], items: Sequence[Scene]) -> UInt8[Tensor, "queries items"]:
    """1 where the image holds every object that the query names, as often as it names it.

    Objects are compared whole (noun and all attributes); the image may hold others besides. So a query that
    names two of an image's five objects is answered by every image with those two.
    """
    wanted, shown = _object_bags(queries, items)
    return (_shared_bags(wanted, shown) == _sizes(wanted)[:, None]).to(torch.uint8)


def synonym(
    queries: Sequence[Scene], items: Sequence[Scene], poles: Sequence[Collection[str]]
) -> UInt8[Tensor, "queries items"]:
    """`contains`, where the words of one pole count as one word.

    Args:
        poles: disjoint sets of words, e.g. [{"large", "big"}, {"small", "little"}]. They apply to nouns and
            to the values of every slot; a word in no pole stands for itself.

    Raises:
        ValueError: if a word is in two poles.
    """
    canonical = _canonical_words(poles)
    return contains(*([_reworded(scene, canonical) for scene in scenes] for scenes in (queries, items)))


def same_bag(queries: Sequence[Scene], items: Sequence[Scene]) -> UInt8[Tensor, "queries items"]:
    """1 where every value of every slot occurs as often in the image as in the query, on whatever object.

    An image that is in the query's bag but is not the right one differs by binding alone.
    """
    _some(queries=queries, items=items)
    wanted, shown = ([pairs_of(scene) for scene in scenes] for scenes in (queries, items))
    common, larger = _shared_bags(wanted, shown), torch.maximum(_sizes(wanted)[:, None], _sizes(shown))
    return (common == larger).to(torch.uint8)


def overlap(queries: Sequence[Scene], items: Sequence[Scene]) -> Float[Tensor, "queries items"]:
    """4 |Q ∩ I| / max(|Q|, |I|), with Q and I the multisets of whole objects: 0 to 4, not rounded.

    Appendix H scales the overlap count to 0-4, but its formula is lost in our copy; the denominator is our
    reading. The larger of the two sizes makes 4 mean "the same objects, no more and no fewer", as the grade
    of a precise match should.
    """
    wanted, shown = _object_bags(queries, items)
    larger = torch.maximum(_sizes(wanted)[:, None], _sizes(shown)[None, :])
    return 4 * _shared_bags(wanted, shown) / larger


# --- concept attribution --------------------------------------------------------------------------


def attribute_coverage(queries: Sequence[Scene], items: Sequence[Scene]) -> Float[Tensor, "queries items"]:
    """Share of the query's distinct (slot, value) pairs that the image shows anywhere: blind to binding.

    The noun is a slot like the others. Its mean over the top k is the symbolic CAS-gen (section 5, App. J).
    """
    _some(queries=queries, items=items)
    return _coverage(*([_distinct(pairs_of(scene)) for scene in scenes] for scenes in (queries, items)))


def object_coverage(queries: Sequence[Scene], items: Sequence[Scene]) -> Float[Tensor, "queries items"]:
    """Share of the query's distinct objects that the image shows whole, all values on one object.

    Its mean over the top k is the symbolic CAS-noun (section 5, App. J). The paper speaks of sets, so an
    object named twice counts once.
    """
    return _coverage(*([_distinct(bag) for bag in bags] for bags in _object_bags(queries, items)))


# --- counting -------------------------------------------------------------------------------------


def pairs_of(scene: Scene, slots: Collection[str] | None = None) -> list[Pair]:
    """The (slot, value) pairs of all objects of a scene, nouns among them: a bag that forgets binding.

    Unlike `SceneObject.slots` it keeps two values in one slot.

    Args:
        slots: which slots; None: all.
    """
    pairs = [pair for thing in scene.objects for pair in _pairs(thing)]
    return pairs if slots is None else [pair for pair in pairs if pair[0] in slots]


def counts(bags: Sequence[Bag], columns: dict[Hashable, int]) -> Float[Tensor, "bags words"]:
    """How often each bag holds each word; words without a column are left out."""
    hits = [(row, columns[word]) for row, bag in enumerate(bags) for word in bag if word in columns]
    table = torch.zeros(len(bags), len(columns))
    if hits:
        table.index_put_(tuple(torch.tensor(hits).T), torch.ones(len(hits)), accumulate=True)
    return table


def shared(
    a: Float[Tensor, "queries words"], b: Float[Tensor, "items words"]
) -> Float[Tensor, "queries items"]:
    """Size of the intersection of every two multisets: sum over words of min(a, b).

    min(a, b) = sum over t >= 1 of [a >= t] [b >= t], and for each t the sum over words is one matrix product.
    There are as many as the smaller of the two highest counts; float32 is exact far beyond such sums.
    """
    levels = int(min(a.max(), b.max())) if a.numel() and b.numel() else 0
    total = torch.zeros(len(a), len(b))
    for level in range(1, levels + 1):
        total += (a >= level).to(a.dtype) @ (b >= level).to(b.dtype).T
    return total


def _shared_bags(wanted: Sequence[Bag], shown: Sequence[Bag]) -> Float[Tensor, "queries items"]:
    """`shared` over the words of the queries, for no other word can be in an intersection."""
    words = dict.fromkeys(word for bag in wanted for word in bag)
    columns = {word: column for column, word in enumerate(words)}
    return shared(counts(wanted, columns), counts(shown, columns))


def _coverage(wanted: Sequence[Bag], shown: Sequence[Bag]) -> Float[Tensor, "queries items"]:
    _some_words(wanted)
    return _shared_bags(wanted, shown) / _sizes(wanted)[:, None]


def _sizes(bags: Sequence[Bag]) -> Float[Tensor, " bags"]:
    return torch.tensor([float(len(bag)) for bag in bags])


def _distinct(bag: Iterable[Hashable]) -> Bag:
    return list(dict.fromkeys(bag))


# --- words of objects -----------------------------------------------------------------------------


def _pairs(thing: SceneObject) -> tuple[Pair, ...]:
    return (*thing.attributes, ("noun", thing.noun))


def _object_bags(queries: Sequence[Scene], items: Sequence[Scene]) -> tuple[list[Bag], list[Bag]]:
    """The objects of every scene. Sets of pairs: the spoken order of attributes does not matter."""
    _some(queries=queries, items=items)
    wanted, shown = (
        [[frozenset(_pairs(o)) for o in s.objects] for s in scenes] for scenes in (queries, items)
    )
    _some_words(wanted)
    return wanted, shown


def _targets_met(thing: SceneObject) -> list[Target]:
    pairs = _pairs(thing)
    return [Target(slot, value, noun) for slot, value in pairs for noun in (None, thing.noun)]


def _canonical_words(poles: Sequence[Collection[str]]) -> dict[str, str]:
    """Word -> the alphabetically first word of its pole."""
    if isinstance(poles, str) or any(isinstance(pole, str) for pole in poles):
        raise ValueError('poles must be sets of words, e.g. [{"large", "big"}], got a bare string')
    canonical: dict[str, str] = {}
    for pole in poles:
        if twice := sorted(canonical.keys() & set(pole)):
            raise ValueError(f"a word can be in one pole only, got {twice[0]!r} in two: merge them")
        canonical |= dict.fromkeys(pole, min(pole, default=""))
    return canonical


def _reworded(scene: Scene, canonical: dict[str, str]) -> Scene:
    def reworded(thing: SceneObject) -> SceneObject:
        attributes = tuple((slot, canonical.get(value, value)) for slot, value in thing.attributes)
        return replace(thing, noun=canonical.get(thing.noun, thing.noun), attributes=attributes)

    return replace(scene, objects=tuple(map(reworded, scene.objects)))


def _some(**named: Sequence) -> None:
    for name, sequence in named.items():
        if len(sequence) == 0:
            raise ValueError(f"{name} must not be empty, got none")


def _some_words(wanted: Sequence[Bag]) -> None:
    silent: Bool[Tensor, " queries"] = _sizes(wanted) == 0
    if silent.any():
        first = int(silent.nonzero()[0])
        raise ValueError(f"every query must name an object, query {first} names none: leave such queries out")
