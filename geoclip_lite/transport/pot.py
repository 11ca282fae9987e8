"""POT's solvers, one problem after the other: the reference, and the variants that we do not write anew.

Slow (thousands of problems a second at best), and what everything faster here is compared with.
POT takes two seconds to import, so this is left to those who call it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from geoclip_lite.transport.objective import check_alpha
from geoclip_lite.transport.problems import Problems, Solution

ROUNDING = 1e-15
LACKING = 0.01  # how far, in relative terms, Sinkhorn's steps may leave a mass from what it must be


def solve(problems: Problems, solution: Solution, alpha: float, relaxed: bool) -> None:
    """`fused_gromov_wasserstein`, or its semi-relaxed form, from POT's own start (the product plan)."""
    from ot import gromov

    def one(costs: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
        solver = gromov.semirelaxed_fused_gromov_wasserstein if relaxed else gromov.fused_gromov_wasserstein
        plan, log = solver(costs, left, right, alpha=alpha, log=True)
        return plan, log["srfgw_dist" if relaxed else "fgw_dist"]

    _loop(problems, one, solution)


def entropic(problems: Problems, alpha: float = 0.5, epsilon: float = 0.01, plans: bool = False) -> Solution:
    """Soft plans: the objective minus epsilon times the plan's entropy is minimised, by Sinkhorn steps.

    The returned objective is without the entropy, as in POT. It lies above the exact one, and the plan
    spreads over many pairs; both fade as epsilon falls, in units of the costs. POT ends its steps when the
    masses are nearly right; the plans here have them exactly.

    Raises:
        ValueError: alpha outside 0..1; for an epsilon not above 0, or one so small that the steps underflow
            or that after POT's 1,000 of them the masses are still off.
    """
    check_alpha(alpha)
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}: without entropy, use solve")
    from ot import gromov

    def one(costs: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
        plan = gromov.entropic_fused_gromov_wasserstein(
            costs, left, right, epsilon=epsilon, alpha=alpha, warn=False
        )
        n, m = plan.shape
        if not (abs(n * plan.sum(1) - 1).max() < LACKING and abs(m * plan.sum(0) - 1).max() < LACKING):
            raise ValueError(
                f"epsilon = {epsilon} is too small for these costs: Sinkhorn's steps do not reach the masses"
            )
        plan = _with_all_mass(plan)
        parts = gromov.init_matrix(left, right, plan.sum(1), plan.sum(0))
        return plan, (1 - alpha) * (costs * plan).sum() + alpha * gromov.gwloss(*parts, plan)

    return _loop(problems, one, Solution.blank(problems, plans))


def _with_all_mass(plan: np.ndarray) -> np.ndarray:
    """The plan with row sums 1/n and column sums 1/m: cut where it has more, filled up evenly where less.

    Algorithm 2 of Altschuler, Weed and Rigollet (2017).
    """
    n, m = plan.shape
    plan = plan * np.minimum(1, 1 / (n * plan.sum(1, keepdims=True)))
    plan = plan * np.minimum(1, 1 / (m * plan.sum(0)))
    rows, columns = ((wanted - has).clip(0) for wanted, has in ((1 / n, plan.sum(1)), (1 / m, plan.sum(0))))
    return plan + np.outer(rows, columns) / rows.sum() if rows.sum() > ROUNDING else plan


def partial(problems: Problems, mass: float, alpha: float = 0.5, plans: bool = False) -> Solution:
    """Moves only a share of the mass, and chooses which: what fits nowhere may stay out.

    The objective is of the mass that is moved; it falls with `mass`, so compare equal masses only.

    Args:
        mass: above 0, at most 1.

    Raises:
        ValueError: a mass or an alpha outside that.
    """
    check_alpha(alpha)
    if not 0 < mass <= 1:
        raise ValueError(f"mass must be above 0 and at most 1, a share of all mass, got {mass}")
    from ot import gromov

    share = mass if mass < 1 else None  # None: all there is, which by rounding may be less than 1

    def one(costs: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
        plan, log = gromov.partial_fused_gromov_wasserstein(
            costs, left, right, m=share, alpha=alpha, log=True, warn=False
        )
        return plan, log["partial_fgw_dist"]

    return _loop(problems, one, Solution.blank(problems, plans))


def _loop(
    problems: Problems,
    one: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, float]],
    solution: Solution,
) -> Solution:
    """One problem after the other, in double precision on the CPU."""
    for number in range(len(problems)):
        matrices = (m.detach().cpu().double().contiguous().numpy() for m in problems.matrices(number))
        plan, solution.values[number] = one(*matrices)
        if solution.plans is not None:
            start = int(solution.starts[number])
            solution.plans[start : start + plan.size] = torch.from_numpy(plan.T.flatten())
    return solution
