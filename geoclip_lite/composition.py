"""How retrieval of composed scenes goes wrong: answers, single objects, and what merging them does.

answers      kind_of_answer, substitutions: what the first answer has in common with the query
twins        rebound: the same words, bound to each other differently
merging      per-object scores merged into one, by average, min, softmin or max (section 4.3)
interference slot_margins: how clearly a query vector still says each attribute of each object (appendix A)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from math import log
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.relevance import pairs_of
from geoclip_lite.retrieval import Gallery, Ranking, unit_rows
from geoclip_lite.scenes import Scene, SceneObject

RIGHT, BINDING, SUBSTITUTION, OMISSION = KINDS = ("right", "binding error", "substitution", "omission")

# --- what the first answer is ---------------------------------------------------------------------


def kind_of_answer(query: Scene, answer: Scene) -> str:
    """Which of KINDS an answer is, by how many of the query's words (attribute values, nouns) it lacks.

    None: a binding error, the right words paired differently. One: a substitution, such as a circle for a
    hexagon (the paper's appendix E). More: omission, though from the answer alone a forgotten object cannot
    be told from several mistaken words.
    """
    if query.image_id == answer.image_id:
        return RIGHT
    missing = (Counter(pairs_of(query)) - Counter(pairs_of(answer))).total()
    return (BINDING, SUBSTITUTION)[missing] if missing < 2 else OMISSION


def kinds_of_answers(ranking: Ranking, queries: list[Scene], items: list[Scene]) -> list[str]:
    """The kind of every query's first answer."""
    return [kind_of_answer(query, answer) for query, answer in _first_answers(ranking, queries, items)]


def substitutions(
    ranking: Ranking,
    queries: Sequence[Scene],
    items: Sequence[Scene],
    slot: str = "noun",
    held: str = "colour",
) -> pd.DataFrame:
    """How often an object that the query names came back with another value in one slot (appendix E).

    Objects that query and first answer share are set aside. What is left is paired by the value of `held`,
    and counted where exactly one object of that value is left on either side: with two, it would be a guess
    which stands for which.

    Returns:
        counts, wanted values as rows, shown values as columns, with zeros on the diagonal.
    """
    values = sorted({thing.slots[slot] for scene in [*queries, *items] for thing in scene.objects})
    counts = pd.DataFrame(0, index=values, columns=values)
    for query, answer in _first_answers(ranking, queries, items):
        wanted, shown = Counter(query.objects), Counter(answer.objects)
        lost, found = (_alone(bag, held) for bag in (wanted - shown, shown - wanted))
        for value in lost.keys() & found.keys():
            wanted_value, shown_value = (bag[value].slots[slot] for bag in (lost, found))
            counts.loc[wanted_value, shown_value] += wanted_value != shown_value
    return counts.rename_axis(index="wanted", columns="shown")


def unordered_shares(counts: pd.DataFrame) -> pd.Series:
    """Share of all substitutions that each pair of values has, both directions together, largest first."""
    both = counts.to_numpy() + counts.to_numpy().T
    i, j = np.triu_indices(len(counts), k=1)
    names = [f"{counts.index[a]} – {counts.index[b]}" for a, b in zip(i, j, strict=True)]
    return pd.Series(both[i, j] / max(1, counts.to_numpy().sum()), index=names).sort_values(ascending=False)


def uniform_substitutions(counts: pd.DataFrame, resamples: int = 999, seed: int = 0) -> list[pd.DataFrame]:
    """What the matrix would look like by chance: each row's total, thrown on its other values uniformly."""
    rng, n = np.random.default_rng(seed), len(counts)
    odds = (1 - np.eye(n)) / (n - 1)
    return [
        pd.DataFrame(rng.multinomial(counts.sum(axis=1), odds), counts.index, counts.columns)
        for _ in range(resamples)
    ]


def _first_answers(
    ranking: Ranking, queries: Sequence[Scene], items: Sequence[Scene]
) -> list[tuple[Scene, Scene]]:
    first = ranking.indices[:, 0].tolist()
    return [(query, items[i]) for query, i in zip(queries, first, strict=True)]


def _alone(bag: Counter[SceneObject], slot: str) -> dict[str, SceneObject]:
    """The objects that are the only one in the bag with their value of the slot, by this value."""
    values = Counter(thing.slots[slot] for thing in bag.elements())
    return {thing.slots[slot]: thing for thing in bag.elements() if values[thing.slots[slot]] == 1}


# --- the same words, bound otherwise --------------------------------------------------------------


def rebound(
    objects: Sequence[SceneObject], rng: np.random.Generator, slot: str = "colour"
) -> tuple[SceneObject, ...] | None:
    """The objects with the values of one slot exchanged among them: another scene of the same words.

    Returns:
        None where no exchange gives other objects: no two differ both in the slot and in the rest.
    """
    values = [o.slots[slot] for o in objects]
    rest = [with_value(o, slot, "") for o in objects]
    if not any(a != b and x != y for (a, x), (b, y) in combinations(zip(values, rest, strict=True), 2)):
        return None
    while True:  # ends: exchanging such two alone gives other objects
        order = rng.permutation(len(objects))
        twin = tuple(with_value(o, slot, values[i]) for o, i in zip(objects, order, strict=True))
        if Counter(twin) != Counter(objects):
            return twin


def with_value(thing: SceneObject, slot: str, value: str) -> SceneObject:
    """The object with another value in one slot ("noun" is one too)."""
    if slot == "noun":
        return replace(thing, noun=value)
    if slot not in dict(thing.attributes):
        raise ValueError(f"slot: {thing.phrase!r} has {sorted(thing.slots)}, not {slot!r}")
    return replace(thing, attributes=tuple((s, value if s == slot else v) for s, v in thing.attributes))


# --- merging per-object scores --------------------------------------------------------------------

Merge = Literal["average", "min", "softmin", "max"]
MERGES: tuple[Merge, ...] = ("average", "min", "softmin", "max")


def merge(
    scores: Float[Tensor, "objects items"], how: Merge, temperature: float = 0.05
) -> Float[Tensor, " items"]:
    """One score per item from the scores of a query's n objects.

        average  (1/n) sum_i s_i: the same ranking as the cosine of the averaged object vectors, since the
                 length of the average is one number a query
        min      min_i s_i: an image is as good as its worst object
        softmin  -T log (1/n) sum_i exp(-s_i / T): the min for T -> 0, the average for T -> infinity
        max      max_i s_i: as good as its best object

    Args:
        temperature: T, in units of the cosine.
    """
    if how == "average":
        return scores.mean(0)
    if how == "min":
        return scores.amin(0)
    if how == "max":
        return scores.amax(0)
    if how == "softmin":
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        return -temperature * (torch.logsumexp(-scores / temperature, 0) - log(len(scores)))
    raise ValueError(f"how must be one of {', '.join(MERGES)}, got {how!r}")


class ObjectVectors:
    """Vectors of object phrases, each phrase encoded once.

    Args:
        scenes: whose objects are wanted.
        encode: phrases -> unit rows, e.g. `encoder.encode_texts` or with templates around the phrase.
    """

    def __init__(self, scenes: Sequence[Scene], encode: Callable[[list[str]], Tensor]):
        phrases = dict.fromkeys(thing.phrase for scene in scenes for thing in scene.objects)
        if not phrases:
            raise ValueError("scenes must hold objects, got none: without objects there is nothing to merge")
        self._row = {phrase: row for row, phrase in enumerate(phrases)}
        self.vectors: Float[Tensor, "phrases dim"] = encode(list(phrases))

    def rows(self, scene: Scene) -> list[int]:
        """Where the scene's objects stand in `vectors`.

        Raises:
            ValueError: a scene without objects, or with one whose phrase was not encoded.
        """
        unknown = [thing.phrase for thing in scene.objects if thing.phrase not in self._row]
        if unknown or not scene.objects:
            lacking = f"holds {unknown[0]!r}, which was not encoded" if unknown else "holds no objects"
            raise ValueError(
                f"scene: {scene.image_id!r} {lacking}: pass it to ObjectVectors, or leave it out"
            )
        return [self._row[thing.phrase] for thing in scene.objects]

    def of(self, scene: Scene) -> Float[Tensor, "objects dim"]:
        """One row per object of the scene, in its order."""
        return self.vectors[self.rows(scene)]

    def averages(self, scenes: Sequence[Scene]) -> Float[Tensor, "scenes dim"]:
        """The unit vector along the mean of each scene's object vectors."""
        return torch.nn.functional.normalize(torch.stack([self.of(s).mean(0) for s in scenes]), dim=-1)

    def merged_scores(
        self,
        scenes: Sequence[Scene],
        images: Float[Tensor, "items dim"],
        how: Merge,
        temperature: float = 0.05,
    ) -> Float[Tensor, "scenes items"]:
        """Per-object cosines with every image, merged."""
        cosines = self.vectors @ images.T
        return torch.stack([merge(cosines[self.rows(s)], how, temperature) for s in scenes])


# --- interference ---------------------------------------------------------------------------------


def slot_margins(
    queries: Float[Tensor, "scenes dim"], scenes: Sequence[Scene], references: Gallery
) -> pd.DataFrame:
    """How clearly a query vector says each attribute of each object of its scene.

    The margin of value v in slot a of object o: the cosine between the query and a picture of o alone, minus
    the highest cosine with a picture of o with another value in that slot. Above 0: of all values, the query
    lies nearest to the right one.

    Args:
        queries: one vector a scene: a caption, an average of objects, anything.
        references: a picture of every type of object alone.

    Returns:
        columns query, object, slot, margin; one row per slot of each object.

    Raises:
        ValueError: a scene holds an object that no reference shows.
    """
    row_of = {scene.objects[0]: row for row, scene in enumerate(references.scenes)}
    if missing := {thing.phrase for scene in scenes for thing in scene.objects if thing not in row_of}:
        raise ValueError(f"references: no picture of {min(missing)!r} alone ({len(missing)} such objects)")
    rivals = _rivals(list(row_of))
    cosines = (queries @ references.vectors.T).numpy()
    rows = []
    for q, scene in enumerate(scenes):
        for number, thing in enumerate(scene.objects):
            own = cosines[q, row_of[thing]]
            for slot, others in rivals[thing].items():
                margin = own - cosines[q, [row_of[other] for other in others]].max()
                rows.append((q, number, slot, float(margin)))
    return pd.DataFrame(rows, columns=["query", "object", "slot", "margin"])


def _rivals(types: Sequence[SceneObject]) -> dict[SceneObject, dict[str, list[SceneObject]]]:
    """For each type and slot, the types that differ in this slot alone."""
    known = set(types)
    values = {slot: sorted({t.slots[slot] for t in types}) for slot in types[0].slots}
    found: dict[SceneObject, dict[str, list[SceneObject]]] = {}
    for thing in types:
        others = {
            slot: [with_value(thing, slot, v) for v in values[slot] if v != thing.slots[slot]]
            for slot in thing.slots
        }
        differing = {slot: [o for o in each if o in known] for slot, each in others.items()}
        found[thing] = {slot: each for slot, each in differing.items() if each}
    return found


def slot_changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Two tables of margins of the same scenes, joined: margin falls = the slot degrades.

    Returns:
        columns query, object, slot, before, after, change, degrades, improves. A slot is clear where its
        margin is above 0.
    """
    keys = ["query", "object", "slot"]
    if not before[keys].equals(after[keys]):
        raise ValueError("before and after must be slot_margins of the same scenes, in the same order")
    change = after["margin"] - before["margin"]
    margins = {"before": before["margin"], "after": after["margin"]}
    return before[keys].assign(**margins, change=change, degrades=change < 0, improves=change > 0)


def degradation(changes: pd.DataFrame) -> pd.DataFrame:
    """Per query: slots, how many degrade and improve, and whether coins would do the same.

    Returns:
        columns slots, objects, degrades, improves, any_degrades, and by_coins: the probability that at least
        one of so many fair coins says "degrades", 1 - 2^-slots.
    """
    by_query = changes.groupby("query")
    table = by_query[["degrades", "improves"]].sum()
    table = table.assign(slots=by_query.size(), objects=by_query["object"].nunique())
    return table.assign(any_degrades=table["degrades"] > 0, by_coins=1 - 0.5 ** table["slots"])


def degrades_when_improves(changes: pd.DataFrame, improving: str, degrading: str, per: list[str]) -> float:
    """Where some slot `improving` improves, how often does some slot `degrading` degrade? 0 to 1, or NaN.

    Args:
        per: ["query"] asks it of whole queries, any object with any; ["query", "object"] of single objects.
    """
    improved, degraded = (
        changes[changes["slot"] == slot].groupby(per)[column].any()
        for slot, column in ((improving, "improves"), (degrading, "degrades"))
    )
    return float(degraded[improved[improved].index].mean())


def random_shift(
    before: Float[Tensor, "queries dim"], after: Float[Tensor, "queries dim"], seed: int = 0
) -> Float[Tensor, "queries dim"]:
    """A control for a change of query vectors: as large an angle, in a random direction.

    Each result has the cosine with `before` that `after` has. The step shrinks what `before` said, whatever
    its direction: under it, more than half of all margins may fall.
    """
    before, after = unit_rows(before, "before"), unit_rows(after, "after")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(before.shape, generator=generator)
    noise -= (noise * before).sum(1, keepdim=True) * before
    noise = torch.nn.functional.normalize(noise, dim=-1)
    cosine = (before * after).sum(1, keepdim=True).clamp(-1, 1)
    return cosine * before + (1 - cosine.square()).sqrt() * noise
