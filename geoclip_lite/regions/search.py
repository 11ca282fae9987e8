"""Phrases against regions: reranking a shortlist, or searching a whole gallery by late interaction.

rerank        a shortlist, reordered by how well the regions of each picture match the phrases of the query
mix           the same, blended with the score of the first stage
RegionIndex   late interaction (Khattab and Zaharia, 2020): every picture of a gallery is matched

Nothing here reads an annotation: `Ranking.oracle` stays False, and a deployed system could have every number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geoclip_lite import transport
from geoclip_lite.regions.tokens import Regions
from geoclip_lite.retrieval import Ranking, unit_rows
from geoclip_lite.transport import PointSets, Problems, Squares

Matcher = Literal["assignment", "max-sim"]
COSINES_AT_ONCE = 20_000_000  # of phrases with regions, in memory: 80 MB
PAIRS_AT_ONCE = 16_384  # of a query with a picture
ROUNDING = 1e-6  # by which a bound, computed in another order, may be too low
FIRST_LOOK = 32  # pictures per query that the exact search matches first

Pairs = Int[Tensor, "queries k"]
Cosines = Float[Tensor, "queries items"]


def rerank(first: Ranking, queries: PointSets, gallery: Regions, matcher: Matcher = "assignment") -> Ranking:
    """The shortlist, reordered by the mean cosine of phrases with their regions.

    max-sim       every phrase takes its best region, and several may take the same
    assignment    no region is taken twice; phrases without a region (more phrases than regions) count 0

    Args:
        queries: the phrases of each query, see `phrase_sets`.
        gallery: regions of the pictures that the shortlist was drawn from.

    Raises:
        ValueError: an unknown matcher, or numbers of queries, pictures or dimensions that do not fit.
    """
    _check(queries, gallery.vectors, matcher)
    if first.gallery_size != len(gallery) or len(first.indices) != len(queries):
        sizes = f"{len(queries)} queries and {len(gallery)} pictures"
        wanted = f"{len(first.indices)} and {first.gallery_size}"
        raise ValueError(f"queries and gallery must be those of the shortlist, {wanted}, got {sizes}")
    scores = _match(queries, gallery.vectors, torch.arange(len(queries)), first.indices, matcher)
    return first.rescored(scores, method=f"regions, {matcher}")


def mix(reranked: Ranking, first: Ranking, weight: float) -> Ranking:
    """(1 - weight) x the reranker's score + weight x the first stage's.

    Args:
        reranked: made from `first`, or from a ranking of the same candidates.
        weight: 0 keeps the reranker's order, 1 restores the first stage's. Choose it on other queries.

    Raises:
        ValueError: a weight outside 0..1, or two rankings of different candidates.
    """
    _check_weight(weight)
    ours, order = reranked.indices.sort(dim=1)
    theirs, other = first.indices.sort(dim=1)
    if ours.shape != theirs.shape or (ours != theirs).any():
        raise ValueError("reranked and first must rank the same candidates of the same queries")
    aligned = torch.empty_like(first.scores).scatter(1, order, first.scores.gather(1, other))
    parts = ((1 - weight, reranked.scores), (weight, aligned))
    blend = sum(share * scores for share, scores in parts if share > 0)  # 0 x -inf is not 0
    flags = {"oracle": first.oracle, "transductive": first.transductive}
    return reranked.rescored(blend, f"{reranked.method} + cosine", **flags)


# --- a whole gallery ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegionIndex:
    """The regions of a gallery in half precision, and its pictures' own vectors.

    Search is exact. The max-sim score of a picture is a bound to its one-to-one score (if there are regions
    enough), and cheap: the best region of each phrase is found once for all queries that hold the phrase. So
    pictures are matched one to one in the order of the bound, and only until no other can reach the best k.
    Memory: the index, a number per picture and different phrase, and blocks of bounded size.

    Args:
        regions: one row of vectors per picture.
        pictures: one vector per picture, for the blend with the plain cosine.
    """

    regions: Float[Tensor, "images regions dim"]
    pictures: Float[Tensor, "images dim"]

    @classmethod
    def of(cls, regions: Regions, pictures: Float[Tensor, "images dim"]) -> RegionIndex:
        """Raises ValueError if the two are not of the same pictures."""
        if regions.vectors.shape[::2] != pictures.shape:
            shapes = f"{tuple(regions.vectors.shape)} and {tuple(pictures.shape)}"
            raise ValueError(f"regions and pictures must be of the same pictures and space, got {shapes}")
        return cls(regions.vectors.half(), unit_rows(pictures, "pictures"))

    def __len__(self) -> int:
        return len(self.regions)

    def search(
        self,
        queries: PointSets,
        captions: Float[Tensor, "queries dim"],
        k: int,
        *,
        matcher: Matcher = "assignment",
        weight: float = 0.0,
    ) -> Ranking:
        """The k best pictures of the whole gallery for every query.

        Args:
            queries: the phrases of each query.
            captions: the vector of each query as a whole.
            weight: of the plain cosine, see `mix`.

        Raises:
            ValueError: k larger than the gallery, an unknown matcher, a weight outside 0..1, or numbers or
                dimensions that do not fit.
        """
        _check(queries, self.regions, matcher)
        _check_weight(weight)
        if captions.shape != (len(queries), self.pictures.shape[1]):
            raise ValueError(f"captions must be one vector per query, got shape {tuple(captions.shape)}")
        if not 1 <= k <= len(self):
            raise ValueError(f"k must be 1 to {len(self)}, the size of the gallery, got {k}")
        best = self._best_regions(queries)
        found = []
        for ids in torch.arange(len(queries)).split(max(1, COSINES_AT_ONCE // len(self))):
            cosines = unit_rows(captions[ids], "captions") @ self.pictures.T
            if matcher == "assignment":
                bound = (1 - weight) * best.means(ids, room=self.regions.shape[1]) + weight * cosines
                found.append(self._exact_best(queries, ids, bound, weight * cosines, 1 - weight, k))
            else:
                found.append(((1 - weight) * best.means(ids) + weight * cosines).topk(k))
        scores, indices = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Ranking(indices, scores, len(self), method=f"late interaction, {matcher}")

    def _best_regions(self, queries: PointSets) -> _BestRegions:
        """For every different phrase, the cosine of its best region in each picture."""
        phrases, which = queries.vectors.unique(dim=0, return_inverse=True)
        wide = self.regions.shape[1] * max(phrases.shape)  # numbers per picture, before or after the product
        step = max(1, COSINES_AT_ONCE // wide)
        chunks = [
            torch.einsum("ird,pd->pir", chunk.to(phrases), phrases).amax(2)
            for chunk in self.regions.split(step)
        ]
        return _BestRegions(torch.cat(chunks, dim=1), which, queries)

    def _exact_best(
        self, queries: PointSets, ids: Tensor, bound: Cosines, rest: Cosines, share: float, k: int
    ) -> tuple[Float[Tensor, "queries k"], Pairs]:
        """Exact best k: pictures in the order of their bound, twice as many each time, until none is left."""
        look = min(max(FIRST_LOOK, 2 * k), len(self))
        scores, indices = bound.new_empty(len(ids), k), torch.empty(len(ids), k, dtype=torch.int64)
        open_ = torch.arange(len(ids))
        while len(open_):
            bounds, seen = bound[open_].topk(min(look + 1, len(self)))
            seen = seen[:, :look]
            matched = share * _match(queries, self.regions, ids[open_], seen, "assignment")
            matched = matched + rest[open_].gather(1, seen)
            top = matched.topk(k)
            scores[open_], indices[open_] = top.values, seen.gather(1, top.indices)
            if look == len(self):
                break
            open_ = open_[top.values[:, -1] < bounds[:, -1] + ROUNDING]
            look = min(2 * look, len(self))
        return scores, indices


@dataclass(frozen=True)
class _BestRegions:
    """What each phrase finds in each picture, and which phrases a query holds."""

    cosines: Float[Tensor, "phrases images"]
    which: Int[Tensor, " all_phrases"]
    queries: PointSets

    def means(self, ids: Int[Tensor, " some"], room: float = math.inf) -> Float[Tensor, "some images"]:
        """The highest score that some queries can have with every picture.

        That is max-sim. Only where a query has more phrases than there is `room` for, some stay alone and
        count 0, and so no phrase of it is sure to count less.
        """
        starts, sizes = self.queries.starts[ids].tolist(), self.queries.sizes[ids].tolist()
        scores = []
        for start, size in zip(starts, sizes, strict=True):
            cosines = self.cosines[self.which[start : start + size]]
            scores.append((cosines.clamp(min=0) if size > room else cosines).mean(0))
        return torch.stack(scores)


# --- matching -------------------------------------------------------------------------------------


def _match(
    queries: PointSets,
    regions: Float[Tensor, "images regions dim"],
    ids: Int[Tensor, " some"],
    candidates: Int[Tensor, "some k"],
    matcher: Matcher,
) -> Float[Tensor, "some k"]:
    """Mean cosine of the matched phrases of some queries with each of their candidates."""
    step = max(1, PAIRS_AT_ONCE // candidates.shape[1])
    scores = []
    for some, seen in zip(ids.split(step), candidates.split(step), strict=True):
        cosines = [
            regions[c].to(queries.vectors) @ queries[int(i)].T for i, c in zip(some, seen, strict=True)
        ]
        if matcher == "max-sim":
            scores += [of_query.amax(1).mean(1) for of_query in cosines]
        else:
            scores.append(_one_to_one(cosines, queries.sizes[some]))
    return torch.cat(scores).view(candidates.shape)


def _one_to_one(
    cosines: list[Float[Tensor, "k regions phrases"]], phrases: Int[Tensor, " queries"]
) -> Float[Tensor, " pairs"]:
    """Mean cosine when no region is taken twice; a phrase that is left over counts 0."""
    k, regions, _ = cosines[0].shape
    nothing = cosines[0].new_empty(0)  # inner distances, which an assignment does not look at
    problems = Problems(
        features=torch.cat([1 - of_query.flatten() for of_query in cosines]),
        left=Squares(phrases, nothing),
        right=Squares(torch.tensor([regions]), nothing),
        left_of=torch.arange(len(phrases)).repeat_interleave(k),
        right_of=torch.zeros(k * len(phrases), dtype=torch.int64),
    )
    matched = problems.rows.clamp(max=regions)
    return (1 - transport.assign(problems).values) * matched / problems.rows


# --- what is refused ------------------------------------------------------------------------------


def _check(queries: PointSets, regions: Float[Tensor, "images regions dim"], matcher: str) -> None:
    if matcher not in get_args(Matcher):
        raise ValueError(f"matcher must be one of {', '.join(get_args(Matcher))}, got {matcher!r}")
    if queries.vectors.shape[1] != regions.shape[2]:
        lengths = f"{queries.vectors.shape[1]} against {regions.shape[2]}"
        raise ValueError(f"phrases and regions must come from one space, got vectors of length {lengths}")


def _check_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be 0 (regions only) to 1 (plain cosine only), got {weight}")
