"""One call for every problem, whoever solves it.

auto          the vertex table where it is small and sure to hold the optimum, Frank-Wolfe elsewhere
exact         the vertex table; refuses problems whose optimum may lie between vertices
frank-wolfe   compiled conditional gradient: a local optimum, fast at every size
pot           POT, one problem at a time: the reference
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from geoclip_lite.transport import exact, frank_wolfe, pot, vertices
from geoclip_lite.transport.objective import check_alpha
from geoclip_lite.transport.problems import MIXED, Problems, Solution

Solver = Literal["auto", "exact", "frank-wolfe", "pot"]
Marginals = Literal["balanced", "semi-relaxed"]


def solve(
    problems: Problems,
    *,
    alpha: float = 0.5,
    marginals: Marginals = "balanced",
    solver: Solver = "auto",
    plans: bool = False,
    starts: int = 1,
    seed: int = 0,
    limit: int = vertices.LIMIT,
) -> Solution:
    """Fused Gromov-Wasserstein of every problem: min over plans T of

        (1 - alpha) <M, T> + alpha sum_ijkl (C1_ik - C2_jl)^2 T_ij T_kl,

    squared loss, uniform masses, POT's convention for alpha (Vayer et al., 2019). alpha = 0 is the
    Wasserstein cost of the features, alpha = 1 Gromov-Wasserstein.

    Args:
        marginals: "balanced", all mass of both sides is used; "semi-relaxed", all of the first side's only,
            and the second side takes what it is given.
        solver: see above. `Solution.is_optimal` says for each problem whether the optimum is certain.
        plans: whether to keep the plans.
        starts: of Frank-Wolfe: the product plan, then random vertices. The best end counts.
        seed: for these vertices.
        limit: how many vertices a table may have.

    Raises:
        ValueError: alpha outside 0..1, unknown names, starts below 1; from "exact", problems whose optimum
            may lie between vertices, with the reason.

    Warns:
        UserWarning: where "exact" was asked for and a problem is too large for a table, so that it goes to
            Frank-Wolfe.
    """
    check_options(alpha, marginals, solver, starts)
    relaxed = marginals == "semi-relaxed"
    solution = Solution.blank(problems, plans)
    if solver == "pot":
        pot.solve(problems, solution, alpha, relaxed)
        return solution
    by_table = _by_table(problems, solver, alpha, relaxed, limit)
    small, large = (which.nonzero()[:, 0] for which in (by_table, ~by_table))
    if len(small):
        exact.solve(problems, small, solution, alpha, relaxed, limit)
    if len(large):
        frank_wolfe.solve(problems, large, solution, alpha, relaxed, starts, seed)
    return solution


def assign(problems: Problems, *, plans: bool = False) -> Solution:
    """The linear assignment problem: the cheapest one-to-one matching of min(n, m) pairs (Kuhn, 1955).

    The objective is the mean feature cost of the matched pairs, so for n = m it equals the Wasserstein cost.
    Points of the larger side that are left over cost nothing. Inner distances play no part.
    """
    solution = Solution.blank(problems, plans)
    frank_wolfe.assign(problems, solution)
    return solution


def check_options(alpha: float, marginals: str, solver: str, starts: int = 1) -> None:
    """Raises ValueError for what `solve` cannot take."""
    check_alpha(alpha)
    for name, value, known in (("marginals", marginals, Marginals), ("solver", solver, Solver)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
    if starts < 1:
        raise ValueError(f"starts must be at least 1, got {starts}")


def _by_table(
    problems: Problems, solver: Solver, alpha: float, relaxed: bool, limit: int
) -> Bool[Tensor, " problems"]:
    """Which problems the vertex table takes; the others go to Frank-Wolfe."""
    if solver == "frank-wolfe":
        return torch.zeros_like(problems.rows, dtype=torch.bool)
    fits, concave = _fits(problems, relaxed, limit), exact.is_concave(problems, alpha, relaxed)
    if solver == "exact" and not concave.all():
        number = int((~concave).nonzero()[0])
        raise ValueError(
            f"solver: exact cannot take {int((~concave).sum()):,} of {len(problems):,} problems, whose "
            f"optimum may lie between vertices. {_why_not(problems, number, relaxed)}. Use frank-wolfe, or "
            "make both sides symmetric distances"
        )
    if solver == "exact" and not fits.all():
        warnings.warn(
            f"{int((~fits).sum()):,} of {len(problems):,} problems have more than {limit:,} vertices and go "
            "to frank-wolfe, which may miss their optimum (is_optimal is False there)",
            stacklevel=3,
        )
    return fits & concave


def _fits(problems: Problems, relaxed: bool, limit: int) -> Bool[Tensor, " problems"]:
    """Which problems have few enough vertices."""
    fits = torch.empty_like(problems.rows, dtype=torch.bool)
    for n, m, ids in problems.by_size(torch.arange(len(problems), device=fits.device)):
        fits[ids] = vertices.plans(n, m, relaxed, limit) is not None
    return fits


def _why_not(problems: Problems, number: int, relaxed: bool) -> str:
    if relaxed:
        return "Semi-relaxed, both sides must have symmetric inner distances with zeros on the diagonal"
    kinds = {-1: "a distance", 1: "a similarity", 0: "constant", MIXED: "neither a distance nor a similarity"}
    left = kinds[int(problems.left.signs[problems.left_of[number]])]
    right = kinds[int(problems.right.signs[problems.right_of[number]])]
    return f"In problem {number} the left matrix is {left}, the right one is {right}"
