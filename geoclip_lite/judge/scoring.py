"""From judgements to figures: which pictures were judged, and what a metric that knows only those may claim.

align       queries and pictures -> grades, the paper's query alignment scores
attribute   concepts and pictures -> confidences, whose mean over the top k are its concept attribution scores
rerank      a shortlist, reordered by what a judge says
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geoclip_lite import metrics
from geoclip_lite.judge.questions import Asked, Concept, Judge
from geoclip_lite.judge.symbolic import SymbolicJudge
from geoclip_lite.metrics import PerQuery
from geoclip_lite.retrieval import Ranking
from geoclip_lite.scenes import Scene

Ideal = Literal["corpus", "judged"] | None


@dataclass(frozen=True)
class JudgedMetric:
    """A metric under a judge, and what it rests on.

    Args:
        values: one a query.
        name: with its k.
        judge: whose judgements.
        ideal: of nDCG, what a perfect ranking could have shown: "corpus" if the whole gallery was judged,
            "judged" if the best of the judged pictures; None for other metrics.
        unjudged: share of the top k that has no judgement and counts 0.
    """

    values: PerQuery
    name: str
    judge: str
    ideal: Ideal
    unjudged: float

    def __str__(self) -> str:
        ideal = {"corpus": "", "judged": ", ideal: the judged pictures", None: ""}[self.ideal]
        gaps = f", {self.unjudged:.1%} unjudged" if self.unjudged else ""
        return f"{self.name} by {self.judge}{ideal}{gaps}"


@dataclass(frozen=True)
class Judged:
    """What a judge said of some pictures for every query.

    Args:
        scores: 0 where nothing is known.
        known: where there is a judgement.
        judge: its name.
    """

    scores: Float[Tensor, "queries items"]
    known: Bool[Tensor, "queries items"]
    judge: str

    def ndcg_at(self, ranking: Ranking, k: int) -> JudgedMetric:
        """nDCG@k, normalised by the best k of the judged pictures.

        Where only the ranking's own top k were judged, that is appendix H's, which cannot tell a list that
        found little from one that found all. Methods can be compared where they share one `Judged`.
        """
        values = metrics.ndcg_at(ranking.top(k), self.scores, k, ideal="corpus")
        return self._metric(f"nDCG@{k}", values, ranking, k, "corpus" if self.known.all() else "judged")

    def mean_at(self, ranking: Ranking, k: int) -> JudgedMetric:
        """Mean score of the top k: CAS@k after `attribute`, the mean query alignment after `align`."""
        values = metrics.attribution_at(ranking.top(k), self.scores, k)
        return self._metric(f"mean@{k}", values, ranking, k, None)

    def _metric(self, name: str, values: PerQuery, ranking: Ranking, k: int, ideal: Ideal) -> JudgedMetric:
        known = self.known.gather(1, ranking.top(k).indices)
        return JudgedMetric(values, name, self.judge, ideal, float(1 - known.double().mean()))


def align(
    queries: Sequence[Scene],
    items: Sequence[Scene],
    *rankings: Ranking,
    k: int = 10,
    judge: Judge | None = None,
) -> Judged:
    """How well pictures match whole queries, 0 to 4.

    Args:
        rankings: the top k of each are judged, together (TREC calls that a pool); none: the whole gallery.
        k: a tie that the k-th place divides is cut where the ranking has it.
        judge: None: the annotations.

    Raises:
        ValueError: a ranking of other queries or items, or k out of range.
    """
    return _judged([[query] for query in queries], items, rankings, k, judge)


def attribute(
    concepts: Sequence[Sequence[Concept]],
    items: Sequence[Scene],
    *rankings: Ranking,
    k: int = 10,
    judge: Judge | None = None,
) -> Judged:
    """How surely pictures show what each query is about, 0 to 1.

    Args:
        concepts: of each query, whose confidences are averaged: `objects_of(query)` for CAS-noun,
            `words_of(query)` for CAS-gen, the target alone for a steered query.
        rankings, k, judge: see `align`.

    Raises:
        ValueError: as `align`, or a query without concepts.
    """
    if not all(concepts):
        raise ValueError("concepts must be at least one a query, got a query without")
    return _judged(concepts, items, rankings, k, judge)


def rerank(first: Ranking, queries: Sequence[Scene], items: Sequence[Scene], judge: Judge) -> Ranking:
    """The shortlist, reordered by a judge's scores; pictures without a judgement come last.

    Whole grades tie. `regions.mix` with a small weight of the first stage orders equal ones.

    Args:
        queries, items: those of the ranking.
        judge: any, for instance a `MatchingJudge`.

    Raises:
        ValueError: as `align`.
    """
    judged = align(queries, items, first, k=first.k, judge=judge)
    scores = judged.scores.masked_fill(~judged.known, -torch.inf).gather(1, first.indices)
    return first.rescored(scores, method=judge.name, oracle=judge.oracle)


def _judged(
    asked: Sequence[Sequence[Asked]],
    items: Sequence[Scene],
    rankings: Sequence[Ranking],
    k: int,
    judge: Judge | None,
) -> Judged:
    judge = judge or SymbolicJudge()
    pool = _pool(rankings, (len(asked), len(items)), k)
    cells = pool.nonzero().tolist()
    sizes = [len(asked[q]) for q, _ in cells]
    answers = judge([(one, items[i]) for q, i in cells for one in asked[q]])
    scores = torch.tensor([torch.nan if answer is None else answer.score for answer in answers])
    means = torch.stack([part.mean() for part in scores.split(sizes)]) if cells else scores
    table = torch.zeros(pool.shape).masked_scatter(pool, means)
    return Judged(table.nan_to_num(0), pool & ~table.isnan(), judge.name)


def _pool(rankings: Sequence[Ranking], shape: tuple[int, int], k: int) -> Bool[Tensor, "queries items"]:
    """Which pictures are to be judged."""
    pool = torch.full(shape, not rankings)
    for ranking in rankings:
        if (len(ranking.indices), ranking.gallery_size) != shape:
            sizes = f"{len(ranking.indices)} x {ranking.gallery_size}, got {shape[0]} x {shape[1]}"
            raise ValueError(f"queries and items must be those of the ranking, {sizes}")
        pool.scatter_(1, ranking.top(k).indices, True)
    return pool
