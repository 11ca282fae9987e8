"""Checks of chapter 05, objects against objects."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch

from geoclip_lite.checks.feedback import check, expect, number, same


def _every_way(costs: torch.Tensor, price: float) -> float:
    """The reference: each row takes a free column or stays alone, all ways tried."""
    n, m = costs.shape
    totals = []
    for choice in product([*range(m), None], repeat=n):
        taken = [j for j in choice if j is not None]
        if len(taken) == len(set(taken)):
            pairs = sum(float(costs[i, j]) for i, j in enumerate(choice) if j is not None)
            totals.append(pairs + price * (n - len(taken)))
    return min(totals)


@check
def match_or_leave(function: Callable) -> str:
    """`function(M, price)`: lowest total cost when rows may stay alone."""
    generator = torch.Generator().manual_seed(0)
    for n, m, price in ((3, 3, 10.0), (2, 4, 10.0), (3, 3, 0.3), (4, 2, 0.4), (3, 3, 0.0)):
        costs = torch.rand(n, m, generator=generator)
        answer = number(function(costs.clone(), price))
        wanted = _every_way(costs, price)
        shared = float(costs.clamp(max=price).amin(1).sum())
        expect(
            same(shared, wanted) or not same(answer, shared),
            "Two rows share a column in your matching: each column may be used once.",
        )
        stranded = wanted - price * max(0, n - m)
        expect(
            n <= m or not same(answer, stranded),
            f"With {n} rows and {m} columns some rows get no column: they pay the price as well.",
        )
        forced = _every_way(costs, price=1e6) if n <= m else wanted
        expect(
            same(forced, wanted) or not same(answer, forced),
            f"With price = {price:g} some rows had better stay alone, even if a column is free.",
        )
        expect(
            same(answer, wanted),
            f"{n} x {m} costs, price = {price:g}: expected {wanted:.4f}, got {answer:.4f}.",
        )
    return "Right. A pair dearer than being alone is never made."


@check
def oracle_r1(function: Callable) -> str:
    """`function(indices, right)`: the share of shortlists that hold a right picture."""
    generator = torch.Generator().manual_seed(0)
    for queries, items, k in ((20, 30, 4), (8, 20, 5), (6, 9, 9)):
        indices = torch.stack([torch.randperm(items, generator=generator)[:k] for _ in range(queries)])
        right = (torch.rand(queries, items, generator=generator) < 0.3).to(torch.uint8)
        right[0], right[1] = 0, 1  # a query that nothing answers, one that everything does
        in_list = [any(right[q, i] for i in indices[q].tolist()) for q in range(queries)]
        wanted = sum(in_list) / queries
        answer = number(function(indices.clone(), right.clone()))
        first = sum(bool(right[q, indices[q, 0]]) for q in range(queries)) / queries
        expect(
            same(first, wanted) or not same(answer, first),
            "That is R@1 before reranking: look at all candidates, not at the first only.",
        )
        anywhere = float(right.amax(1).double().mean())
        expect(
            same(anywhere, wanted) or not same(answer, anywhere),
            "A right picture outside the shortlist cannot be found: use `indices`.",
        )
        several = float(right.gather(1, indices).sum(1).double().mean())
        expect(
            same(several, wanted) or not same(answer, several),
            "Several right pictures in one shortlist count once: only one can come first.",
        )
        expect(same(answer, wanted), f"{queries} queries: expected {wanted:.3f}, got {answer:.3f}.")
    return "Right. The ceiling, without a single match."


@check
def expected_hit(function: Callable) -> str:
    """`function(tied, right)`: expected R@1 among tied candidates."""
    for tied, right in ((6, 4), (1, 1), (4, 1), (4, 4), (5, 0)):
        answer = number(function(tied, right))
        expect(answer <= 1 + 1e-9, f"R@1 is at most 1; for {right} right of {tied} you return {answer:g}.")
        expect(
            not (right and same(answer, 1) and right < tied),
            "That is the luckiest order. Ties fall either way.",
        )
        expect(
            same(answer, right / tied),
            f"{right} right of {tied}: expected {right / tied:.3f}, got {answer:.3f}.",
        )
    return "Right. Neither luck nor bad luck."
