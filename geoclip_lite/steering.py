"""Steering: moving a query along a concept direction (section 6.3, appendices F.1, I and J).

directions  `difference` of two groups of vectors, from texts (`concept_direction`), from the nearest texts
            around each query (`neighbourhood_directions`), or from images
steps       `steer` a query, `steer_object` one object of several; `gated`: only where a query needs it
controls    `random_directions` of the same length, `orthogonal_to` what should not change
cases       which nouns a contrast can be asked about, and which images answer (appendix F.1)
sweep       one row per query, strength and metric

A step is q + s v, divided by its length: q the query and v the direction, both of length 1, so a strength of
1 moves a query by as much as it is long. Directions can come from any encoder or map: wherever texts are
encoded, `encode` is a function from texts to rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite import relevance
from geoclip_lite.encoders.tokenizer import TextWarning
from geoclip_lite.inputs import check_frames, check_texts
from geoclip_lite.retrieval import Gallery, Ranking, shortlist, unit_rows
from geoclip_lite.scenes import Scene

Encode = Callable[[list[str]], Float[Tensor, "texts dim"]]
Direction = Float[Tensor, " dim"]
Pole = Sequence[str]  # the synonyms of one side of a contrast
TINY = 1e-5  # of two unit vectors: a difference below it is rounding
AT_ONCE = 12  # strengths of a sweep that share their contenders


# --- directions -----------------------------------------------------------------------------------


def difference(source: Float[Tensor, "sources dim"], target: Float[Tensor, "targets dim"]) -> Direction:
    """The unit vector from the mean of one group to the mean of another.

    Of texts, it is the direction of appendix F.1; of images, its image-side counterpart.

    Raises:
        ValueError: an empty group, or two with the same mean.
    """
    source, target = unit_rows(source, "source"), unit_rows(target, "target")
    step = target.mean(0) - source.mean(0)
    if step.norm() < TINY:
        raise ValueError("source and target have the same mean: between equal poles there is no direction")
    return F.normalize(step, dim=0)


def concept_direction(
    encode: Encode, source: Pole, target: Pole, frames: Sequence[str] = ("{}",)
) -> Direction:
    """From one pole to the other, as the texts have it: the mean over synonyms and over frames.

    Args:
        encode: texts -> unit rows, e.g. `partial(encode_with_templates, encoder)`.
        source: words of the pole to leave, e.g. ("closed", "shut").
        target: words of the pole to reach.
        frames: what the words stand in, each with one "{}": ("{} box", "{} door") averages over two nouns,
            and ("red {}", "blue {}") over two colours of a noun that changes.

    Raises:
        TypeError: what is no list of strings.
        ValueError: an empty pole, a word in both, a frame without exactly one "{}", or a word or noun that
            the encoder never saw.
    """
    source, target = check_texts(source, "source"), check_texts(target, "target")
    frames = check_frames(frames, "frames")
    if not (source and target):
        raise ValueError(f"{'target' if source else 'source'} must not be empty")
    if both := sorted(set(source) & set(target)):
        raise ValueError(f"source and target share the word {both[0]!r}: between equal poles is no direction")
    sides = ([frame.replace("{}", word) for word in pole for frame in frames] for pole in (source, target))
    return difference(*(_known(encode, texts) for texts in sides))


def neighbourhood_directions(
    queries: Float[Tensor, "queries dim"],
    source: Float[Tensor, "sources dim"],
    target: Float[Tensor, "targets dim"],
    k: int = 10,
) -> Float[Tensor, "queries dim"]:
    """A direction for each query: from its k nearest texts of one pole to its k nearest of the other.

    Our reading of "directions derived from contrastive neighborhoods around the query" (abstract); our copy
    gives no formula. With k as large as both groups it is `difference`, for every query.

    Raises:
        ValueError: k below 1 or above the smaller group.
    """
    most = min(len(source), len(target))
    if not 1 <= k <= most:
        raise ValueError(f"k must be 1 to {most}, the size of the smaller pole, got {k}")
    queries, source, target = (
        unit_rows(v, n) for v, n in ((queries, "queries"), (source, "source"), (target, "target"))
    )
    means = [pole[(queries @ pole.T).topk(k).indices].mean(1) for pole in (source, target)]
    return unit_rows(means[1] - means[0], "the difference of the neighbourhoods")


def random_directions(dim: int, n: int, seed: int = 0) -> Float[Tensor, "n dim"]:
    """Directions that mean nothing, uniform on the sphere: a control of the same length."""
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def orthogonal_to(direction: Direction, others: Float[Tensor, "others dim"]) -> Direction:
    """What is left of a direction without the directions that should not change.

    Raises:
        ValueError: nothing is left: it lies in their span.
    """
    basis, strength, _ = torch.linalg.svd(unit_rows(others, "others").T, full_matrices=False)
    basis = basis[:, strength > TINY * strength[0]]
    left = direction - basis @ (basis.T @ direction)
    if not left.norm() > TINY * direction.norm():  # a direction of length 0 or NaN too
        raise ValueError("direction is none, or lies in the span of others: without them, nothing is left")
    return F.normalize(left, dim=0)


def _known(encode: Encode, texts: list[str]) -> Float[Tensor, "texts dim"]:
    """The texts' vectors; a word that the encoder would have to guess at is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", TextWarning)
        try:
            return encode(texts)
        except TextWarning as problem:
            raise ValueError(f"source, target, frames: {problem}; take words of its vocabulary") from problem


# --- steps ----------------------------------------------------------------------------------------


def steer(
    queries: Float[Tensor, "queries dim"],
    directions: Direction | Float[Tensor, "queries dim"],
    strength: float | Float[Tensor, " queries"],
) -> Float[Tensor, "queries dim"]:
    """(q + s v) / |q + s v|, for each query.

    Args:
        queries: unit rows.
        directions: one for all, or one each.
        strength: s, one for all or one each; below 0 leads away from the target.

    Raises:
        ValueError: a strength that is not finite, or a step that ends in the origin.
    """
    strength = torch.as_tensor(strength, dtype=queries.dtype)
    if not strength.isfinite().all():
        raise ValueError(f"strength must be finite, got {strength[~strength.isfinite()].flatten()[0]}")
    return unit_rows(queries + strength[..., None] * directions, "the steered queries")


def steer_object(
    objects: Float[Tensor, "objects dim"], which: int, direction: Direction, strength: float
) -> Float[Tensor, "objects dim"]:
    """The vectors of a query's objects, one of them steered.

    Raises:
        ValueError: there is no such object, or the strength is not finite.
    """
    if not 0 <= which < len(objects):
        raise ValueError(f"which must be 0 to {len(objects) - 1}, an object of the query, got {which}")
    moved = objects.clone()
    moved[which] = steer(objects[which : which + 1], direction, strength)[0]
    return moved


# --- the gate -------------------------------------------------------------------------------------


def confusion(
    queries: Float[Tensor, "queries dim"], gallery: Gallery, direction: Direction, middle: float, k: int = 10
) -> Float[Tensor, " queries"]:
    """Share of the k nearest images that lie on the source side: 0 where a query already gets its target.

    It reads no annotation: an image's side is that of its own vector along the direction.

    Args:
        middle: where the sides meet, a value of `gallery.vectors @ direction`; e.g. half way between the
            means of some images known to show one pole or the other.

    Raises:
        ValueError: k below 1 or above the size of the gallery; NaN or infinity anywhere.
    """
    past = gallery.vectors @ direction - middle
    if not past.isfinite().all():
        raise ValueError("direction and middle must be finite, got NaN or infinity")
    return (past[shortlist(queries, gallery.vectors, k).indices] < 0).double().mean(1)


def gated(
    strength: float, confused: Float[Tensor, " queries"], threshold: float
) -> Float[Tensor, " queries"]:
    """The strength where a query is more confused than the threshold, 0 elsewhere; NaN is refused."""
    if bool(confused.isnan().any()) or threshold != threshold:
        raise ValueError("confused and threshold must hold no NaN: a gate would stay shut without a word")
    return strength * (confused > threshold).to(torch.float32)


# --- cases (appendix F.1) -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A noun that is shown in both states of a contrast, and which of them is wanted."""

    noun: str
    slot: str
    source: Pole
    target: Pole

    def prompts(self) -> tuple[str, str]:
        """What to type for source and target."""
        return f"{self.source[0]} {self.noun}", f"{self.target[0]} {self.noun}"


def grounded_cases(
    items: Sequence[Scene],
    contrasts: Mapping[str, tuple[Pole, Pole]],
    minimum: int = 10,
    nouns: Collection[str] | None = None,
) -> list[Case]:
    """Every noun that shows both poles of a contrast in enough pictures, both directions of each.

    Args:
        contrasts: slot -> its two poles.
        minimum: pictures of a noun with either pole (the paper: 10).
        nouns: only these; None: every noun that qualifies.

    Raises:
        ValueError: a named noun that is in no picture, or too few of them for any contrast.
    """
    shown = _pictures_of(items)
    cases = []
    for noun in dict.fromkeys(noun for noun, _, _ in shown) if nouns is None else nouns:
        for slot, poles in contrasts.items():
            enough = [sum(shown.get((noun, slot, word), 0) for word in pole) >= minimum for pole in poles]
            if all(enough):
                cases += [Case(noun, slot, *poles), Case(noun, slot, *reversed(poles))]
    if missing := sorted(set(nouns or ()) - {case.noun for case in cases}):
        raise ValueError(
            f"nouns: no contrast of {missing[0]!r} has {minimum} pictures of either pole: "
            "take another noun, more pictures or a lower minimum"
        )
    return cases


def answers(cases: Sequence[Case], items: Sequence[Scene]) -> UInt8[Tensor, "cases items"]:
    """1 where the picture shows the case's noun in its target state, by any synonym (appendix F.1)."""
    wanted = [[relevance.Target(case.slot, word, case.noun) for word in case.target] for case in cases]
    per_word = relevance.attribute([target for targets in wanted for target in targets], items)
    return torch.stack([rows.amax(0) for rows in per_word.split([len(targets) for targets in wanted])])


def _pictures_of(items: Sequence[Scene]) -> dict[tuple[str, str, str], int]:
    """(noun, slot, word) -> the number of pictures that show it."""
    counts: dict[tuple[str, str, str], int] = {}
    for scene in items:
        for key in {(thing.noun, *pair) for thing in scene.objects for pair in thing.attributes}:
            counts[key] = counts.get(key, 0) + 1
    return counts


# --- the sweep ------------------------------------------------------------------------------------

Measure = Callable[[Ranking], Float[Tensor, " queries"]]


def sweep(
    queries: Float[Tensor, "queries dim"],
    directions: Direction | Float[Tensor, "queries dim"],
    gallery: Gallery,
    strengths: Sequence[float],
    measures: Mapping[str, Measure],
    k: int = 10,
) -> pd.DataFrame:
    """What a steered query finds at every strength.

    Args:
        measures: name -> a function of a Ranking of k items, e.g. `partial(metrics.hit_at, ...)`.

    Returns:
        columns query, strength, metric, value; one row for each.

    Raises:
        ValueError: no strengths or one that is not finite, k out of range.
    """
    parts = []
    for strength, ranking in steered_rankings(queries, directions, gallery, strengths, k):
        for metric, measure in measures.items():
            values = measure(ranking).cpu().numpy()
            rows = {"query": np.arange(len(values)), "strength": strength, "metric": metric, "value": values}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def steered_rankings(
    queries: Float[Tensor, "queries dim"],
    directions: Direction | Float[Tensor, "queries dim"],
    gallery: Gallery,
    strengths: Sequence[float],
    k: int = 10,
) -> Iterator[tuple[float, Ranking]]:
    """`shortlist(steer(queries, directions, s), gallery, k)` for every strength s, several times faster.

    Dividing by a length does not change the order, so a query ranks by q·x + s v·x, a straight line in s for
    every image x. Both products are computed once. And between two strengths a line is nowhere below its
    lower end and nowhere above its higher one, so an image whose higher end lies under the lower ends of k
    others cannot come into the top k anywhere between: what is left is few, and exact.

    Of equal images that the cut at k divides, it may return others than the shortlist.
    """
    if not len(strengths):
        raise ValueError("strengths must not be empty")
    if not 1 <= k <= len(gallery.vectors):
        raise ValueError(f"k must be 1 to {len(gallery.vectors)}, the size of the gallery, got {k}")
    start = queries @ gallery.vectors.T
    slope = (directions @ gallery.vectors.T).expand(len(queries), -1)
    for first in range(0, len(strengths), AT_ONCE):
        block = strengths[first : first + AT_ONCE]
        moved = [steer(queries, directions, strength) for strength in block]  # refuses what is not finite
        few = _contenders(start, slope, min(block), max(block), k)
        for strength, steered in zip(block, moved, strict=True):
            scores = start.gather(1, few) + strength * slope.gather(1, few)
            near = few.gather(1, scores.topk(k).indices).sort(dim=1).values
            cosines = (gallery.vectors[near] * steered[:, None]).sum(
                -1
            )  # equal images: equal to the last bit
            ordered, order = cosines.sort(dim=1, descending=True, stable=True)
            found = Ranking(
                near.gather(1, order), ordered, len(gallery.vectors), method=f"steered {strength:g}"
            )
            yield float(strength), found


def _contenders(
    start: Float[Tensor, "queries items"],
    slope: Float[Tensor, "queries items"],
    low: float,
    high: float,
    k: int,
) -> Int[Tensor, "queries width"]:
    """For each query all images that can be in its top k somewhere between two strengths, none twice.

    Rows are filled up to the longest one with the query's next best images.
    """
    ends = start + low * slope, start + high * slope
    bar = torch.minimum(*ends).topk(k).values[:, -1:] - TINY
    highest = torch.maximum(*ends)
    width = int((highest >= bar).sum(1).max())
    return highest.topk(width, sorted=False).indices
