"""Checks of chapter 13, real benchmarks: how far a judge can be trusted, and what its figures rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from geoclip_lite.checks.feedback import check, expect, number, same


@check
def cohen_kappa(function: Callable) -> str:
    """`function(a, b)`: agreement of two lists of labels beyond chance."""
    cases = [
        ([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 2]),
        ([1] * 18 + [0, 0], [1] * 17 + [0, 1, 0]),
        ([4, 3, 0, 0, 1, 0, 2], [3, 3, 0, 1, 1, 0, 0]),
        ([0] * 9 + [1], [0] * 10),
        ([0, 1] * 4, [1, 0] * 4),
    ]
    for a, b in cases:
        answer = number(function(list(a), list(b)))
        n, first, second = len(a), Counter(a), Counter(b)
        labels = first | second
        agreed = sum(x == y for x, y in zip(a, b, strict=True)) / n
        own = sum(first[label] * second[label] for label in labels) / n**2
        pooled = sum((first[label] + second[label]) ** 2 for label in labels) / (2 * n) ** 2
        wanted, case = (agreed - own) / (1 - own), f"a = {a}, b = {b}"
        wrong = {
            agreed: "that is plain agreement. Two who always say the most frequent label agree often too.",
            agreed
            - own: "chance is taken off. Divide by what there was to gain over it, so that 1 is the most.",
            _beyond(agreed, 1 / len(labels)): "your chance treats all labels alike. A judge who hardly ever "
            "says a label will hardly ever agree on it by chance.",
            _beyond(
                agreed, pooled
            ): "you pool the labels of both (that is Scott's pi). For Cohen's kappa each "
            "deals out labels at the own rate.",
        }
        for value, words in wrong.items():
            expect(same(value, wanted) or not same(answer, value), f"{case}: {words}")
        expect(same(answer, wanted), f"{case}: expected {wanted:.3f}, got {answer:.3f}.")
    return "Right. Nine in ten alike can be worth nothing, and now you can see it."


def _beyond(agreed: float, chance: float) -> float:
    return (agreed - chance) / (1 - chance)


@check
def judged_ndcg(function: Callable) -> str:
    """`function(ranked, pool, k)`: nDCG@k, normalised by the best of all judged pictures.

    `ranked` are the grades of the ranked pictures, best place first; `pool` those of all that were judged for
    the query, in no order.
    """
    cases = [
        ([1, 2, 0, 3], [1, 2, 0, 3], 4),
        ([0, 1, 0, 2, 4], [4, 0, 1, 0, 4, 2, 3], 3),
        ([2, 2], [0, 2, 4, 2, 4], 1),
        ([3, 0, 1], [3, 1, 0, 2], 2),
        ([0, 0, 0], [0, 0, 0], 3),
    ]
    for ranked, pool, k in cases:
        answer = number(function(list(ranked), list(pool), k))
        best, case = sorted(pool, reverse=True), f"ranked = {ranked}, pool = {pool}, k = {k}"
        wanted = _ratio(ranked[:k], best[:k])
        expect(any(pool) or not answer, f"{case}: nothing relevant was judged. Let such a query score 0.")
        wrong = {
            _ratio(ranked[:k], sorted(ranked[:k], reverse=True)): "the ideal is made of the ranked pictures "
            "alone, so a list that found little can score 1. Use the pool.",
            _ratio(ranked[:k], sorted(ranked, reverse=True)[:k]): "the ideal is made of the ranked pictures "
            "alone, so a list that found little can score 1. Use the pool.",
            _ratio(ranked[:k], best): "the ideal has only k places too.",
            _ratio(ranked, best[:k]): f"only the first {k} of the ranking count.",
            _ratio(ranked[:k], pool[:k]): "the pool is in no order. A perfect ranking would sort it.",
            _ratio(ranked[:k], best[:k], linear=True): "the gain of a grade is 2 to its power, less 1.",
            _ratio(ranked[:k], best[:k], first=3): "the first place is divided by log2(2) = 1.",
        }
        for value, words in wrong.items():
            expect(same(value, wanted) or not same(answer, value), f"{case}: {words}")
        expect(same(answer, wanted), f"{case}: expected {wanted:.3f}, got {answer:.3f}.")
    return "Right. Now two methods can be compared, if the pictures of both were judged."


def _ratio(ranked: Sequence[int], ideal: Sequence[int], linear: bool = False, first: int = 2) -> float:
    """DCG / ideal DCG. `first`: under whose logarithm the first place is."""
    dcg = [
        sum((g if linear else 2.0**g - 1) / np.log2(i) for i, g in enumerate(grades, first))
        for grades in (ranked, ideal)
    ]
    return dcg[0] / dcg[1] if dcg[1] else 0.0


@check
def true_share(function: Callable) -> str:
    """`function(share, hits, alarms)`: how many pictures show it, from how often a judge says so.

    `hits` is how often the judge says yes where it is shown, `alarms` where it is not.
    """
    cases = [
        (0.5, 0.9, 0.1),
        (0.12, 0.9, 0.1),
        (0.3, 0.8, 0.0),
        (0.6, 1.0, 0.2),
        (0.05, 0.95, 0.1),
        (0.97, 0.9, 0.2),
    ]
    for share, hits, alarms in cases:
        answer = number(function(share, hits, alarms))
        raw = (share - alarms) / (hits - alarms)
        wanted, case = min(1.0, max(0.0, raw)), f"share {share}, hits {hits}, alarms {alarms}"
        expect(
            0 <= answer <= 1, f"{case}: you return {answer:.3f}. No share is below 0 or above 1: stop there."
        )
        wrong = {
            share: "that is what the judge says, errors and all.",
            min(1.0, share / hits): "false alarms are in the share too: take them off.",
            max(
                0.0, share - alarms
            ): "the judge also misses some: divide by what a picture that shows it adds.",
            hits * share + alarms * (1 - share): "the other way round: that is what the judge would say if "
            "this were the truth.",
            share * hits: "the judge misses some, so the truth is more than it says of them, not less.",
        }
        for value, words in wrong.items():
            expect(same(value, wanted) or not same(answer, value), f"{case}: {words}")
        expect(same(answer, wanted), f"{case}: expected {wanted:.3f}, got {answer:.3f}.")
    return "Right. Where something is rare, most of a judge's yes may be false alarms."
