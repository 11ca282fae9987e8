"""Checks of chapter 06, fused Gromov-Wasserstein."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations, product

import torch

from geoclip_lite.checks.feedback import check, expect, number, same
from geoclip_lite.transport import objective


def _problem(n: int, m: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """M, C1 and C2 of two sets of random points."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(size, 3, generator=generator, dtype=torch.float64) for size in (n, m))
    return torch.cdist(x, y), torch.cdist(x, x), torch.cdist(y, y)


@check
def gw_by_products(function: Callable) -> str:
    """`function(C1, C2, T)`: the Gromov-Wasserstein objective of a plan."""
    costs, left, right = _problem(3, 4, seed=0)
    plan = torch.rand(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plan /= plan.sum()
    uniform = torch.full((3, 4), 1 / 12, dtype=torch.float64)
    answer = number(function(left.clone(), right.clone(), uniform.clone()))
    cross = 2 * float(((left @ uniform @ right) * uniform).sum())
    squares = float((left**2).mean() + (right**2).mean())
    expect(not same(answer, -cross), "That is the mixed term alone. The two squares are missing.")
    expect(not same(answer, squares), "Those are the two squares. The mixed term is missing.")
    expect(not same(answer, squares - cross / 2), "Multiply out (a - b)^2 once more: the mixed term has a 2.")
    expect(not same(answer, squares + cross), "The mixed term of (a - b)^2 has a minus sign.")
    matrix_squares = float((left @ left).mean() + (right @ right).mean())
    expect(not same(answer, matrix_squares - cross), "Square the entries (C**2), not the matrix (C @ C).")
    right_answer = float(objective(costs, left, right, uniform, alpha=1))
    expect(same(answer, right_answer), f"For a uniform plan: expected {right_answer:.4f}, got {answer:.4f}.")
    wanted = float(objective(costs, left, right, plan, alpha=1))
    answer = number(function(left.clone(), right.clone(), plan.clone()))
    expect(
        same(answer, wanted),
        f"Right for the uniform plan, but for one with other row and column sums expected {wanted:.4f}, got "
        f"{answer:.4f}. Weigh the squares with the plan's own sums.",
    )
    return "Right. From n²m² terms to three matrix products."


@check
def best_step(function: Callable) -> str:
    """`function(a, b)`: where a s^2 + b s is lowest for s in 0..1."""
    cases = {
        (1.0, -1.0): (0.5, "The parabola opens upwards and its lowest point -b / 2a lies inside."),
        (1.0, -4.0): (1.0, "The lowest point lies beyond 1: a plan may be left only as far as the vertex."),
        (1.0, 1.0): (0.0, "The lowest point lies below 0: stay."),
        (-1.0, 0.5): (1.0, "It opens downwards, so compare the two ends. At s = 1 it is a + b = -0.5."),
        (-1.0, 2.0): (0.0, "It opens downwards, and the value at s = 1 is above that at s = 0."),
        (0.0, -1.0): (1.0, "With a = 0 it is a line that falls: go all the way. (And nothing to divide by.)"),
        (0.0, 0.0): (0.0, "All steps are equally good: take the smallest."),
    }
    for (a, b), (wanted, why) in cases.items():
        answer = number(function(a, b))
        expect(same(answer, wanted), f"a = {a:g}, b = {b:g}: expected {wanted:g}, got {answer:g}. {why}")
    return "Right. With cosine distances on both sides only the case a <= 0 occurs."


def _lowest(problem: tuple[torch.Tensor, ...], alpha: float, choices: Iterable, mass: float) -> float:
    """The least objective of plans in which row i sends `mass` to column choice[i]."""
    eye = torch.eye(problem[0].shape[1], dtype=torch.float64)
    return min(float(objective(*problem, mass * eye[list(choice)], alpha)) for choice in choices)


@check
def semi_relaxed(function: Callable) -> str:
    """`function(M, C1, C2, alpha)`: the lowest objective over all maps."""
    cases = ((2, 4, 0.5, 1), (3, 3, 0.3, 1), (1, 3, 0.3, 1), (3, 3, 0.7, 0), (3, 4, 0.9, 2), (3, 2, 0.5, 1))
    for n, m, alpha, seed in cases:
        problem = _problem(n, m, seed)
        every = list(product(range(m), repeat=n))
        wanted = _lowest(problem, alpha, every, mass=1 / n)
        answer = number(function(*(matrix.clone() for matrix in problem), alpha))
        expect(
            n == 1 or not same(answer, _lowest(problem, alpha, every, mass=1)),
            "Every row sends 1 / n, not 1: divide the plan by n.",
        )
        nearest = _lowest(problem, alpha, [problem[0].argmin(1).tolist()], mass=1 / n)
        expect(
            same(nearest, wanted) or not same(answer, nearest),
            "You send each object to its nearest one. The structure term may prefer another.",
        )
        apart = _lowest(problem, alpha, permutations(range(m), n), mass=1 / n) if n <= m else wanted
        expect(
            same(apart, wanted) or not same(answer, apart),
            "You try only maps that send no two objects to the same one. Here they may share.",
        )
        expect(
            same(answer, wanted),
            f"{n} and {m} objects, alpha = {alpha}: expected {wanted:.4f}, got {answer:.4f}.",
        )
    return "Right. m to the power of n maps: small sets only, but exact."
