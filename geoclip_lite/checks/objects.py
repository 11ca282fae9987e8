"""Checks of chapter 05, objects against objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import torch
from scipy.optimize import linear_sum_assignment

from geoclip_lite import course
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


def _greedy(costs: torch.Tensor, price: float) -> float:
    """What it costs to take the cheapest pair again and again; whoever has no partner then, pays."""
    costs, paid, taken = costs.clone(), 0.0, 0
    while taken < min(costs.shape) and costs.min() < price:
        i, j = divmod(int(costs.argmin()), costs.shape[1])
        paid, taken = paid + float(costs[i, j]), taken + 1
        costs[i, :] = costs[:, j] = torch.inf
    return paid + price * (len(costs) - taken)


def _late(costs: torch.Tensor, price: float) -> float:
    """What is paid if as many rows as can be are matched, and the dear pairs given up afterwards."""
    pairs = linear_sum_assignment(costs)
    return float(costs[pairs].clamp(max=price).sum()) + price * (len(costs) - len(pairs[0]))


def _refuse(answer: float, wanted: float, mistakes: Mapping[str, float]) -> None:
    """Ends the check with the words for the mistake that leads to this answer, if one does."""
    for words, wrong in mistakes.items():
        expect(same(wrong, wanted) or not same(answer, wrong), words)


def _run(function: Callable, *arguments: object, about: str) -> object:
    """What the reader's function returns; an error of its own also says what it was given."""
    try:
        return function(*arguments)
    except Exception as error:
        if str(error) != course.UNWRITTEN:
            error.args = (f"{error}. {about}",)
        raise


@check
def match_or_leave(function: Callable) -> str:
    """`function(M, price)`: lowest total cost when rows may stay alone."""
    generator = torch.Generator().manual_seed(0)
    for n, m, price in ((3, 3, 10.0), (2, 4, 10.0), (3, 3, 0.3), (4, 2, 0.4), (3, 3, 0.0)):
        costs = torch.rand(n, m, generator=generator)
        given = costs.clone()
        answer = number(_run(function, given, price, about=f"`M` had {n} rows and {m} columns"))
        expect(
            torch.equal(given, costs),
            "Your function changes the table that it is given, and its caller still needs that: work on a "
            "copy (`M.clone()`), or take `M.clamp(...)` for `M.clamp_(...)`.",
        )
        wanted = _every_way(costs, price)
        forced = _every_way(costs, price=1e6) if n <= m else wanted
        mistakes = {
            "Two rows share a column in your matching: each column may be used once.": float(
                costs.clamp(max=price).amin(1).sum()
            ),
            f"With {n} rows and {m} columns some rows get no column: they pay the price as well.": wanted
            - price * max(0, n - m),
            f"With price = {price:g} some rows had better stay alone, even if a column is free.": forced,
            "You charge columns that stay alone. They are free: the price is for rows.": wanted
            + price * max(0, m - n),
            "That is greedy: the cheapest pair first can leave dear ones to the others.": _greedy(
                costs, price
            ),
            "You match first and cap the dear pairs afterwards. A row that had better stay alone has then "
            "already kept a column from another: cap before you match.": _late(costs, price),
            "That is a mean. Return the total: the sum, not divided by the number of rows.": wanted / n,
        }
        _refuse(answer, wanted, mistakes)
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
        about = f"`indices` had shape {tuple(indices.shape)}, `right` {tuple(right.shape)}"
        answer = number(_run(function, indices.clone(), right.clone(), about=about))
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
    """`function(tied, answering)`: expected R@1 among tied candidates."""
    for tied, answering in ((6, 4), (1, 1), (4, 1), (4, 4), (5, 0)):
        answer, wanted = number(function(tied, answering)), answering / tied
        expect(
            answer <= 1 + 1e-9, f"R@1 is at most 1; for {answering} right of {tied} you return {answer:g}."
        )
        mistakes = {
            "That is the luckiest order. Ties fall either way.": float(answering > 0),
            f"1/{tied} is the chance of one particular candidate to come first. Here {answering} of {tied} "
            "would do.": 1 / tied,
            "That is the unluckiest order. Ties fall either way.": float(answering == tied),
        }
        _refuse(answer, wanted, mistakes)
        expect(
            same(answer, wanted),
            f"{answering} right of {tied}: expected {wanted:.3f}, got {answer:.3f}.",
        )
    return "Right. Neither luck nor bad luck."


WITHOUT_ANNOTATIONS = {  # ranking of the exercise -> whether a system could have it, and why
    "A": (True, "A reads the user's own words, which a program can cut into phrases, and the pixels."),
    "B": (
        False,
        "B's vectors were made early, but of what? Of phrases that somebody wrote for every picture. "
        "An annotation stays one when an encoder has read it.",
    ),
    "C": (
        True,
        "C's objects come from a detector, and that looks at the pixels. Nobody has listed anything.",
    ),
    "D": (False, "D puts the right picture into the list. To do so it must know which picture is right."),
}


@check
def deployable(function: Callable) -> str:
    """`function()`: for each ranking of the exercise, whether it can be had without annotations."""
    answer = function()
    expect(answer is not None, "Your function returns nothing: did you forget `return`?")
    names = ", ".join(WITHOUT_ANNOTATIONS)
    expect(
        isinstance(answer, dict) and set(answer) == set(WITHOUT_ANNOTATIONS),
        f"Return a dictionary with the keys {names}, one for each ranking.",
    )
    for name, (possible, why) in WITHOUT_ANNOTATIONS.items():
        expect(isinstance(answer[name], bool), f"{name}: answer True or False, not {answer[name]!r}.")
        expect(answer[name] == possible, f"Look at {name} again. {why}")
    return "Right. What counts is where a number comes from, not when, nor by which encoder."
