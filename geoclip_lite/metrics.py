"""How good is a ranking? Per query, with ties by expected value; then over queries, with an interval.

Queries that share a picture are no independent draws: what makes the picture hard makes all of them hard.
Their `groups` (the picture of each query) are resampled whole, or the interval would be too narrow.

A metric takes a `Ranking` and a matrix of grades (see `relevance`) and returns one number per query. An item
is relevant if its grade is above 0.

Items with equal scores have no order of their own. Here a metric is its expected value over all orders of
tied items, in closed form, so a figure cannot depend on the order of the files:

    linear metrics   precision, recall, DCG, attribution are sums over positions of weight x value: each
                     weight is averaged over the positions tied with it (McSherry and Najork, ECIR 2008)
    hit, rank, 1/rank  the first relevant item lies in one tied group; where in it, is a draw without
                     replacement from its t items, r of them relevant

A ranking that was cut to k items (a shortlist) has lost the ties across its own end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Real
from scipy.stats import binom
from torch import Tensor

from geoclip_lite.retrieval import Ranking

Grades = Real[Tensor, "queries items"]
PerQuery = Float[Tensor, " queries"]
Groups = Sequence[Hashable] | None  # what each query is about, a picture mostly; None: all differ


def grades_of(ranking: Ranking, relevance: Grades) -> Real[Tensor, "queries k"]:
    """The grades of the ranked items, in the ranking's order.

    Raises:
        TypeError, ValueError: see `_checked_grades`.
    """
    return _checked_grades(ranking, relevance).gather(1, ranking.indices)


def _checked_grades(ranking: Ranking, relevance: Grades) -> Grades:
    """The matrix on the ranking's device, True as 1.

    Raises:
        TypeError: if it is no tensor of real numbers.
        ValueError: if the matrix does not fit the ranking, or a grade is negative, infinite or NaN.
    """
    if not isinstance(relevance, Tensor) or relevance.is_complex():
        raise TypeError(
            f"relevance must be a tensor of grades, got {type(relevance).__name__}: use torch.as_tensor"
        )
    expected = (len(ranking.indices), ranking.gallery_size)
    if tuple(relevance.shape) != expected:
        raise ValueError(f"relevance must be queries x gallery, {expected}, got {tuple(relevance.shape)}")
    relevance = relevance.detach().to(ranking.indices.device)
    relevance = relevance.byte() if relevance.dtype == torch.bool else relevance
    lowest, highest = relevance.aminmax()
    if not (lowest >= 0 and highest < torch.inf):
        raise ValueError(
            "relevance must hold finite grades of 0 or above, got a negative one, infinity or NaN"
        )
    return relevance


# --- is there a relevant item, and where ----------------------------------------------------------


def hit_at(ranking: Ranking, relevance: Grades, k: int) -> PerQuery:
    """Probability that a relevant item is in the top k: 0 or 1 without ties. The paper calls it Recall@K.

    With the first relevant item in a tied group of t, r of them relevant, and s places of the group within
    the top k: 1 - C(t - r, s) / C(t, s).
    """
    first = _first_relevant(_reach(ranking, k), relevance)
    places = torch.minimum((k - first.before).clamp(min=0), first.tied)
    return 1 - _miss_probability(first, draws=k).gather(1, places.clamp(max=k)[:, None])[:, 0]


def first_rank(ranking: Ranking, relevance: Grades) -> PerQuery:
    """Expected rank of the first relevant item, from 1; infinite where the ranking holds none.

    b items before a tied group of t, r of them relevant: b + (t + 1) / (r + 1).
    """
    first = _first_relevant(ranking, relevance)
    rank = first.before + (first.tied + 1) / (first.relevant + 1).double()
    return rank.masked_fill(first.relevant == 0, torch.inf)


def reciprocal_rank(ranking: Ranking, relevance: Grades) -> PerQuery:
    """Expected 1 / rank of the first relevant item; 0 where the ranking holds none. Its mean is the MRR.

    Sum over j of P(the first relevant is the j-th of its tied group) / (b + j), b items before it.
    """
    first = _first_relevant(ranking, relevance)
    draws = int((first.tied - first.relevant).max()) + 1
    found_at = -_miss_probability(first, draws).diff(dim=1)
    positions = first.before[:, None] + torch.arange(1, draws + 1, device=found_at.device)
    return (found_at / positions).sum(1)


# --- sums over positions --------------------------------------------------------------------------


def precision_at(ranking: Ranking, relevance: Grades, k: int) -> PerQuery:
    """Share of the top k that is relevant."""
    head = _reach(ranking, k)
    return _expected_sum(grades_of(head, relevance) > 0, head.scores, torch.ones(k)) / k


def recall_at(ranking: Ranking, relevance: Grades, k: int) -> PerQuery:
    """Share of all relevant items of the gallery that is in the top k; 0 where there is none.

    What the paper calls Recall@K is `hit_at`. The two agree where a query has one relevant item.
    """
    total = (_checked_grades(ranking, relevance) > 0).sum(1)
    return precision_at(ranking, relevance, k) * k / total.clamp(min=1)


def attribution_at(ranking: Ranking, coverage: Grades, k: int) -> PerQuery:
    """Mean coverage of the top k: the concept attribution scores (CAS) of section 5 and appendix J.

    Args:
        coverage: `relevance.attribute_coverage` for CAS-gen, `relevance.object_coverage` for CAS-noun.
    """
    head = _reach(ranking, k)
    return _expected_sum(grades_of(head, coverage), head.scores, torch.ones(k)) / k


def ndcg_at(
    ranking: Ranking,
    relevance: Grades,
    k: int,
    ideal: Literal["corpus", "retrieved"] = "corpus",
    gain: Literal["exponential", "linear"] = "exponential",
) -> PerQuery:
    """DCG@k / ideal DCG@k, 0 to 1, with DCG@k = sum over i <= k of gain(grade_i) / log2(i + 1).

    A query whose ideal is 0 (nothing relevant to be had) scores 0.

    Args:
        ideal: what a perfect ranking could have shown: the best k of the gallery ("corpus"), or the same
            retrieved items in their best order ("retrieved", appendix H; so nDCG@1 is 0 or 1, and a list that
            found little can still score 1). Where a tie crosses the k-th place, all of it may be retrieved
            and counts towards the latter.
        gain: 2^grade - 1 ("exponential") or the grade itself ("linear").
    """
    head, gain_of = _reach(ranking, k), _gain(gain)
    relevance = _checked_grades(ranking, relevance)
    grades = relevance.gather(1, head.indices)
    discounts = 1 / torch.arange(2, k + 2, device=grades.device).double().log2()
    dcg = _expected_sum(gain_of(grades), head.scores, discounts)
    best = _best_grades(head, grades, relevance, k, ideal)
    ideal_dcg = (gain_of(best) * discounts).sum(1)
    if not ideal_dcg.isfinite().all():
        raise ValueError(f"relevance has grades up to {best.max():g}, too high for 2^grade: take linear gain")
    return torch.where(ideal_dcg > 0, dcg / ideal_dcg, 0.0)


def _best_grades(
    head: Ranking, grades: Grades, relevance: Grades, k: int, ideal: str
) -> Real[Tensor, "queries k"]:
    if ideal == "corpus":
        return relevance.topk(k).values
    if ideal == "retrieved":
        may_be_retrieved = head.scores >= head.scores[:, k - 1 : k]
        return (grades * may_be_retrieved).topk(k).values
    raise ValueError(f'ideal must be "corpus" or "retrieved", got {ideal!r}')


def _gain(name: str) -> Callable[[Tensor], Tensor]:
    gains = {"exponential": lambda grades: 2 ** grades.double() - 1, "linear": Tensor.double}
    if name not in gains:
        raise ValueError(f'gain must be "exponential" or "linear", got {name!r}')
    return gains[name]


# --- ties -----------------------------------------------------------------------------------------


def _reach(ranking: Ranking, k: int) -> Ranking:
    """The ranking down to the last item that can stand in the top k: the first k and the ties of the k-th.

    All rows get the width that the longest tie needs, rounded up; positions past k weigh nothing.
    """
    if not 1 <= k <= ranking.k:
        raise ValueError(f"k must be 1 to {ranking.k}, the length of the ranking, got {k}")
    width = k
    while width < ranking.k and (ranking.scores[:, width] == ranking.scores[:, k - 1]).any():
        width = min(2 * width, ranking.k)
    return ranking if width == ranking.k else ranking.top(width)


def _expected_sum(
    values: Real[Tensor, "queries width"],
    scores: Float[Tensor, "queries width"],
    weights: Float[Tensor, " k"],
) -> PerQuery:
    """Sum of weight x value over positions, each weight averaged over its tied group; 0 past the k-th."""
    by_position = torch.zeros(scores.shape, dtype=torch.float64, device=scores.device)
    by_position[:, : len(weights)] = weights
    starts = torch.ones_like(scores, dtype=torch.int64)
    starts[:, 1:] = scores[:, 1:] != scores[:, :-1]
    group = starts.cumsum(1) - 1
    totals = torch.zeros_like(by_position).scatter_add_(1, group, by_position)
    sizes = torch.zeros_like(by_position).scatter_add_(1, group, torch.ones_like(by_position))
    return (values * (totals / sizes.clamp(min=1)).gather(1, group)).sum(1)


class _FirstRelevant(NamedTuple):
    """The tied group that holds the first relevant item; relevant is 0 where there is none."""

    before: Int[Tensor, " queries"]  # items ranked above the group
    tied: Int[Tensor, " queries"]  # items in it
    relevant: Int[Tensor, " queries"]  # relevant items in it


def _first_relevant(ranking: Ranking, relevance: Grades) -> _FirstRelevant:
    relevant, scores = grades_of(ranking, relevance) > 0, ranking.scores
    position = relevant.to(torch.uint8).argmax(dim=1, keepdim=True)  # 0 where there is none
    score = scores.gather(1, position)
    group = scores == score
    return _FirstRelevant((scores > score).sum(1), group.sum(1), (group & relevant).sum(1))


def _miss_probability(first: _FirstRelevant, draws: int) -> Float[Tensor, "queries draws+1"]:
    """P(s items drawn from the group are all irrelevant), for s = 0 ... draws.

    C(t - r, s) / C(t, s) = prod over i < s of (t - r - i) / (t - i); 1 where r = 0, for any s.
    """
    i = torch.arange(draws, device=first.tied.device)
    others = (first.tied - first.relevant)[:, None] - i
    steps = others.clamp(min=0) / (first.tied[:, None] - i).clamp(min=1).double()
    steps = steps.masked_fill(first.relevant[:, None] == 0, 1.0)
    return torch.nn.functional.pad(steps, (1, 0), value=1.0).cumprod(dim=1)


# --- over queries ---------------------------------------------------------------------------------


def evaluate(ranking: Ranking, relevance: Grades, ks: Sequence[int] = (1, 5, 10)) -> pd.DataFrame:
    """The usual metrics, one row per query: R@k (that is `hit_at`), nDCG@k (its defaults), MRR, rank."""
    columns = {f"R@{k}": hit_at(ranking, relevance, k) for k in ks}
    columns |= {f"nDCG@{k}": ndcg_at(ranking, relevance, k) for k in ks}
    columns |= {"MRR": reciprocal_rank(ranking, relevance), "rank": first_rank(ranking, relevance)}
    return pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()})


def summarise(
    frame: pd.DataFrame,
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per metric: value, low, high and the number of queries. Ranks by median, all else by mean.

    The interval covers what other queries of the same kind would do to the figure, nothing else (not another
    gallery, nor another training run).

    Args:
        groups: as of `bootstrap_interval`.
    """
    options = {"groups": groups, "confidence": confidence, "resamples": resamples, "seed": seed}
    rows = []
    for name, values in frame.items():
        interval = bootstrap_interval(values, np.median if name == "rank" else np.mean, **options)
        metric = "median rank" if name == "rank" else name
        rows.append((metric, interval.value, interval.low, interval.high, len(values)))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "queries"])


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """A mean difference, its interval, and p: two-sided, for "there is none"."""

    p: float


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap: the middle 95 % of the statistic over resampled queries (Efron, 1979).

    One group alone says nothing about others: its interval is from -inf to inf.

    Args:
        groups: what each query is about. Whole groups are resampled (Davison and Hinkley, 1997, section 3.8).

    Raises:
        ValueError: no values, NaN among them, not as many groups, or options out of their range.
    """
    values = _checked(values, "values")
    resampled = _resample(values, statistic, groups, resamples, seed)
    return Interval(float(statistic(values)), *_middle(resampled, confidence))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Mean of a - b over the same queries, in the same order, with its interval and p.

    Queries are resampled together with both methods' results, so what makes a query hard for both cancels.
    p = 2 min(P(mean* <= 0), P(mean* >= 0)) over resampled means, one added to either count: never 0, and
    below 0.05 about where the 95 % interval leaves out 0. Of one group alone p is 1. Ranks may be infinite:
    compare reciprocal ranks.

    Args:
        groups: as of `bootstrap_interval`.
    """
    a, b = _checked(a, "a"), _checked(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must be results of the same queries, got {len(a)} and {len(b)} values")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a and b must be finite: for ranks, compare reciprocal ranks")
    means = _resample(a - b, np.mean, groups, resamples, seed)
    smaller_side = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (1 + smaller_side) / (1 + len(means)))
    return Difference(float((a - b).mean()), *_middle(means, confidence), p=float(p))


def chance_interval(
    chance: float, queries: int, *, groups: Groups = None, confidence: float = 0.95
) -> Interval:
    """Where the mean of a metric from 0 to 1 lies if nothing but luck is at work: a binomial's middle 95 %.

    The binomial has the largest variance of all such metrics. Queries of one group share their luck at worst,
    so there are as many draws as groups of equal size would have the same variance (Kish, 1965):
    (sum of sizes)^2 / sum of sizes^2.

    Args:
        chance: the expected value, e.g. k / pictures for R@k, 1/2 for one of two captions.
        groups: as of `bootstrap_interval`.
    """
    if not 0 <= chance <= 1:
        raise ValueError(f"chance must be an expected value from 0 to 1, got {chance}")
    if queries < 1:
        raise ValueError(f"queries must be at least 1, got {queries}")
    sizes = np.bincount(group_codes(groups, queries))
    draws = max(1, int(sizes.sum() ** 2 / (sizes**2).sum()))
    low, high = binom.ppf(_tails(confidence), draws, chance) / draws
    return Interval(float(chance), float(low), float(high))


def _resample(
    values: np.ndarray, statistic: Callable, groups: Groups, resamples: int, seed: int
) -> np.ndarray:
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    codes = group_codes(groups, len(values))
    if codes.max() == 0:
        return np.array([-np.inf, np.inf])
    return np.array([statistic(values[some]) for some in _rows_drawn(codes, resamples, seed)])


def _rows_drawn(codes: Int[np.ndarray, " queries"], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of as many groups as there are, drawn with replacement, all rows of a group each time."""
    rng, order, sizes = np.random.default_rng(seed), codes.argsort(kind="stable"), np.bincount(codes)
    starts = sizes.cumsum() - sizes
    for _ in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        n = sizes[drawn]
        within = np.arange(n.sum()) - np.repeat(n.cumsum() - n, n)
        yield order[np.repeat(starts[drawn], n) + within]


def group_codes(groups: Groups, queries: int) -> Int[np.ndarray, " queries"]:
    """Groups by number, in the order in which they come; without groups, every query is one.

    Raises:
        ValueError: not one for each query; None and NaN name nothing.
    """
    if groups is None:
        return np.arange(queries)
    names = np.empty(len(groups), dtype=object)  # a tuple is one name, and NaN among strings stays NaN
    names[:] = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    try:
        codes = pd.factorize(names)[0]
    except TypeError:  # a list has no hash
        codes = np.array([-1])
    if len(names) != queries or codes.min() < 0:  # the code of None and NaN
        raise ValueError(
            f"groups must name what each of {queries} queries is about, got {len(names)}: {groups!r:.100}"
        )
    return codes


def _middle(resampled: np.ndarray, confidence: float) -> tuple[float, float]:
    """Quantiles without interpolation, so that an infinite rank stays one."""
    low, high = np.quantile(resampled, _tails(confidence), method="inverted_cdf")
    return float(low), float(high)


def _tails(confidence: float) -> list[float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, e.g. 0.95, got {confidence}")
    return [(1 - confidence) / 2, (1 + confidence) / 2]


def _checked(values: Sequence[float], name: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one number per query, got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(
            f"{name} must hold no NaN, got {np.isnan(array).sum()}: drop such queries and say so"
        )
    return array
