"""The lowest objective of all, by looking at every vertex: one matrix product for thousands of problems.

Why a vertex is enough. Along a direction D between two balanced plans the objective's second derivative is
-4 alpha <C1 D C2, D>. With the same sign of C1 and C2 on such directions (two distances, or two
similarities; see `Squares.signs`) that is never positive: the objective is concave, and a concave function
on a polytope is lowest at a vertex.

Semi-relaxed plans do not have that, but another property does: moving one row's mass from column j to l has
the second derivative -4 alpha C2_jl^2 where C1 and C2 have zero diagonals. So from any plan, rows can be
moved one at a time to a single column each without the objective rising: some map is optimal.

At a vertex T the objective is linear in the entries of M and in the products C1_ik C2_jl. A table of the
coefficients of all vertices, times these entries, is the objective at every vertex.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geoclip_lite.transport import vertices
from geoclip_lite.transport.problems import MIXED, Problems, Solution, Squares

AT_ONCE = 4096  # problems in one matrix product


def is_concave(problems: Problems, alpha: float, relaxed: bool) -> Bool[Tensor, " problems"]:
    """For each problem, whether an optimal plan is sure to be a vertex."""
    if relaxed or alpha == 0:
        hollow = problems.left.is_hollow and problems.right.is_hollow and problems.is_symmetric
        return torch.full_like(problems.rows, alpha == 0 or hollow, dtype=torch.bool)
    left, right = problems.left.signs[problems.left_of], problems.right.signs[problems.right_of]
    return (left * right >= 0) & (left != MIXED) & (right != MIXED)


def solve(
    problems: Problems,
    ids: Int[Tensor, " some"],
    solution: Solution,
    alpha: float,
    relaxed: bool,
    limit: int,
) -> None:
    """Looks at every vertex of some problems, in the dtype of their features and on their device.

    The caller has seen to it that their tables exist and hold an optimum.
    """
    hollow = problems.left.is_hollow and problems.right.is_hollow
    for n, m, same in problems.by_size(ids):
        linear, quadratic = _coefficients(n, m, relaxed, limit, hollow)
        linear = ((1 - alpha) * linear).to(solution.values)
        quadratic = (alpha * quadratic).to(solution.values)
        for some in same.split(AT_ONCE):
            costs, pairs = _unknowns(problems, n, m, some, relaxed, hollow)
            best = torch.addmm(costs @ linear, pairs, quadratic).min(dim=1)
            constant = problems.left.mean_squares[problems.left_of[some]]
            if not relaxed:
                constant = constant + problems.right.mean_squares[problems.right_of[some]]
            solution.values[some] = best.values + alpha * constant
            if solution.plans is not None:
                table = vertices.plans(n, m, relaxed, limit).mT.flatten(1).to(solution.plans)
                solution.plans[_feature_entries(problems, n, m, some)] = table[best.indices]
    solution.is_optimal[ids] = True


def _feature_entries(
    problems: Problems, n: int, m: int, some: Int[Tensor, " some"]
) -> Int[Tensor, "some nm"]:
    """Where the features of some problems of one size stand."""
    return problems.starts[some, None] + torch.arange(n * m, device=some.device)


def _unknowns(
    problems: Problems, n: int, m: int, some: Int[Tensor, " some"], relaxed: bool, hollow: bool
) -> tuple[Float[Tensor, "some features"], Float[Tensor, "some products"]]:
    """What the objective is linear in: the entries of M, and the products of entries of C1 and C2."""
    left = _entries(problems.left, problems.left_of[some], _pairs(n, hollow))
    right = _entries(problems.right, problems.right_of[some], _pairs(m, hollow))
    products = (left[:, :, None] * right[:, None, :]).flatten(1)
    costs = problems.features[_feature_entries(problems, n, m, some)]
    return costs, torch.cat([products, right.square()], 1) if relaxed else products


def _entries(
    squares: Squares, which: Int[Tensor, " some"], pairs: Int[Tensor, "2 pairs"]
) -> Float[Tensor, "some pairs"]:
    row, column = pairs.to(which.device)
    sizes = squares.sizes[which, None]
    return squares.entries[squares.starts[which, None] + row * sizes + column]


def _pairs(n: int, hollow: bool) -> Int[Tensor, "2 pairs"]:
    """Rows and columns of the entries on and above the diagonal, or above it where the diagonal is zero."""
    return torch.triu_indices(n, n, offset=1 if hollow else 0)


@lru_cache(maxsize=256)
def _coefficients(
    n: int, m: int, relaxed: bool, limit: int, hollow: bool
) -> tuple[Float[Tensor, "features vertices"], Float[Tensor, "products vertices"]]:
    """What each entry of M, and each product of entries of C1 and C2, adds at each vertex."""
    table = vertices.plans(n, m, relaxed, limit)
    linear = table.mT.flatten(1).T.contiguous()  # column by column, as the features are
    weights = _folded(torch.einsum("vij,vkl->ikjlv", table, table), hollow)
    weights = _folded(weights.movedim((1, 2), (0, 1)), hollow).transpose(0, 1)
    products = -2 * weights.flatten(0, 1)
    if not relaxed:
        return linear, products
    taken = table.sum(1)
    return linear, torch.cat([products, _folded(torch.einsum("vj,vl->jlv", taken, taken), hollow)])


def _folded(weights: Float[Tensor, "n n *rest"], hollow: bool) -> Float[Tensor, "pairs *rest"]:
    """Weights of (i, k) and (k, i), which meet the same entry of a symmetric matrix, added up."""
    row, column = _pairs(len(weights), hollow)
    twice = (row != column).to(weights).view(-1, *[1] * (weights.ndim - 2))
    return weights[row, column] + twice * weights[column, row]
