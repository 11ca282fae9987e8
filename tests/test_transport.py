"""The transport solvers against POT, scipy, a fourfold loop and every basic solution of the constraints."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, permutations, product
from math import factorial, lcm
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch.testing import assert_close
from torch.utils.data import DataLoader

import geoclip_lite
from geoclip_lite.transport import (
    PointSets,
    Problems,
    Squares,
    assign,
    entropic,
    exact,
    frank_wolfe,
    objective,
    partial,
    shortlists,
    solve,
    solve_shortlist,
    vertices,
)
from geoclip_lite.transport.shortlists import pair_up

many = settings(max_examples=60, deadline=None)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SIZES = [(1, 1), (1, 5), (4, 1), (2, 2), (2, 5), (3, 3), (5, 3), (6, 4), (3, 8), (7, 7), (8, 6)]
SMALL = [(1, 3), (2, 2), (2, 3), (3, 2), (3, 3), (3, 4), (4, 2), (2, 5), (4, 4)]
ALPHAS = [0.0, 0.1, 0.5, 0.9, 1.0]
MARGINALS = ["balanced", "semi-relaxed"]
WHOLE = 5000  # vertices: enough for every size up to 5 x 5, balanced and semi-relaxed


# --- problems to solve ----------------------------------------------------------------------------


def cosine_distances(a, b):
    return torch.from_numpy(cdist(a, b, "cosine"))


def hollow_cosine_distances(points):
    return cosine_distances(points, points).fill_diagonal_(0)


def cosine_similarities(points):
    return 1 - cosine_distances(points, points)


def asymmetric(points):
    """No distance at all: nothing is zero, nothing is mirrored."""
    return cosine_distances(points, points.roll(1, 1))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def point_pairs(sizes, seed=0, dim=6):
    generator = seeded(seed)
    for n, m in sizes:
        yield (
            torch.randn(n, dim, generator=generator, dtype=torch.float64),
            torch.randn(m, dim, generator=generator, dtype=torch.float64),
        )


def matrices_of(a, b, left=hollow_cosine_distances, right=hollow_cosine_distances):
    """M, C1 and C2."""
    return cosine_distances(a, b), left(a), right(b)


def random_matrices(sizes, seed=0, left=hollow_cosine_distances, right=hollow_cosine_distances):
    """One M, C1 and C2 for each size; random real numbers, so nothing ties."""
    return [matrices_of(a, b, left, right) for a, b in point_pairs(sizes, seed)]


def packed(matrices):
    return Problems.of(*(list(each) for each in zip(*matrices, strict=True)))


def random_problems(sizes, seed=0, **kinds):
    return packed(random_matrices(sizes, seed, **kinds))


def corners(codes):
    """Unit vectors (+-.5, +-.5, +-.5, +-.5): distances are exact, most of them tie, twins are 0 apart."""
    bits = torch.tensor(codes)[:, None] >> torch.arange(4) & 1
    return bits.double() - 0.5


# --- and other ways to solve them -----------------------------------------------------------------


def fourfold_loop(costs, left, right, plan, alpha):
    """The objective as it is printed."""
    (n, m), total = costs.shape, 0.0
    for i, j in product(range(n), range(m)):
        total += (1 - alpha) * costs[i, j] * plan[i, j]
        for p, q in product(range(n), range(m)):
            total += alpha * (left[i, p] - right[j, q]) ** 2 * plan[i, j] * plan[p, q]
    return float(total)


def pots_value(matrices, alpha, marginals="balanced", start=None):
    costs, left, right = (np.ascontiguousarray(matrix) for matrix in matrices)
    if marginals == "semi-relaxed":
        solver, name = ot.gromov.semirelaxed_fused_gromov_wasserstein, "srfgw_dist"
    else:
        solver, name = ot.gromov.fused_gromov_wasserstein, "fgw_dist"
    return float(solver(costs, left, right, alpha=alpha, G0=start, log=True)[1][name])


def pots_values(matrices, alpha, marginals="balanced"):
    return torch.tensor([pots_value(each, alpha, marginals) for each in matrices], dtype=torch.float64)


def basic_plans(n, m):
    """Every basic feasible plan: for each choice of n + m - 1 entries, the constraints solved for them."""
    constraints = np.zeros((n + m, n * m))
    for i, j in product(range(n), range(m)):
        constraints[[i, n + j], i * m + j] = 1
    constraints, sums = constraints[:-1], np.repeat([1 / n, 1 / m], [n, m])[:-1]  # the last follows
    bases = np.array(list(combinations(range(n * m), n + m - 1)))
    squares = constraints[:, bases].transpose(1, 0, 2)
    regular = np.abs(np.linalg.det(squares)) > 0.5  # determinants are -1, 0 or 1
    bases = bases[regular]
    entries = np.linalg.solve(squares[regular], np.broadcast_to(sums[:, None], (len(bases), len(sums), 1)))
    plans = np.zeros((len(bases), n * m))
    np.put_along_axis(plans, bases, entries[..., 0], axis=1)
    units = np.abs(plans[plans.min(1) > -1e-9] * lcm(n, m)).round()  # whole numbers, as the sums are
    return np.unique(units, axis=0).reshape(-1, n, m) / lcm(n, m)


def permutation_plans(n):
    return np.stack([np.eye(n)[list(order)] / n for order in permutations(range(n))])


def map_plans(n, m):
    return np.stack([np.eye(m)[list(choice)] / n for choice in product(range(m), repeat=n)])


def lowest(plans, matrices, alpha):
    """The least objective of the given plans, each plan's worked out on its own."""
    costs, left, right = (np.asarray(matrix) for matrix in matrices)
    gap = (left[:, None, :, None] - right[None, :, None, :]) ** 2
    structure = np.einsum("ijkl,vij,vkl->v", gap, plans, plans, optimize=True)
    return float(((1 - alpha) * np.einsum("ij,vij->v", costs, plans) + alpha * structure).min())


def assert_is_plan(plan, marginals="balanced"):
    n, m = plan.shape
    assert plan.min() >= 0
    assert_close(plan.sum(1), torch.full((n,), 1 / n, dtype=torch.float64), rtol=0, atol=1e-12)
    if marginals == "balanced":
        assert_close(plan.sum(0), torch.full((m,), 1 / m, dtype=torch.float64), rtol=0, atol=1e-12)


def assert_same(one, other):
    """One solution, but for rounding: a product of matrices is rounded by its shape and by the processor."""
    assert_close(one.values, other.values, rtol=0, atol=1e-9)
    assert torch.equal(one.is_optimal, other.is_optimal)
    assert_close(one.plans, other.plans, rtol=0, atol=1e-9)


# --- the objective --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [hollow_cosine_distances, asymmetric])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_objective_is_the_fourfold_sum(alpha, kind):
    for matrices in random_matrices([(1, 1), (2, 3), (4, 3)], left=kind, right=kind):
        plan = torch.rand(matrices[0].shape, generator=seeded(1), dtype=torch.float64)
        expected = fourfold_loop(*matrices, plan, alpha)
        assert float(objective(*matrices, plan, alpha)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_objective_of_pots_plan_is_pots_value(alpha):
    for matrices in random_matrices(SIZES):
        plan, log = ot.gromov.fused_gromov_wasserstein(*(m.numpy() for m in matrices), alpha=alpha, log=True)
        assert float(objective(*matrices, torch.from_numpy(plan), alpha)) == pytest.approx(
            log["fgw_dist"], abs=1e-12
        )


# --- frank-wolfe ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [hollow_cosine_distances, asymmetric])
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_frank_wolfe_is_pots(alpha, marginals, kind):
    """Distances alone tie at the uniform start where a set has two points, with equal row sums: left out."""
    sizes = [size for size in SIZES if alpha < 1 or kind is asymmetric or 2 not in size] * 3
    matrices = random_matrices(sizes, seed=1, left=kind, right=kind)
    found = solve(packed(matrices), alpha=alpha, marginals=marginals, solver="frank-wolfe").values
    assert_close(found, pots_values(matrices, alpha, marginals), rtol=0, atol=1e-9)


@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_frank_wolfe_is_pots_where_the_optimum_lies_inside(alpha, marginals):
    """A distance against a similarity: thousands of steps, until one gains under 1e-9, short of the optimum.

    A step to the lowest point of a line on which one row moves between two columns makes these two tie. What
    breaks such a tie is rounding, so the two descents may part, and their ends agree to many such gains only.
    """
    matrices = random_matrices(SIZES, seed=2, right=cosine_similarities)
    found = solve(packed(matrices), alpha=alpha, marginals=marginals, solver="frank-wolfe").values
    assert_close(found, pots_values(matrices, alpha, marginals), rtol=0, atol=1e-6)


@pytest.mark.parametrize("marginals", MARGINALS)
def test_the_pot_solver_is_pots(marginals):
    matrices = random_matrices(SIZES)
    solution = solve(packed(matrices), alpha=0.7, marginals=marginals, solver="pot", plans=True)
    assert_close(solution.values, pots_values(matrices, 0.7, marginals), rtol=0, atol=1e-9)
    for i, each in enumerate(matrices):
        assert float(objective(*each, solution.plan(i), 0.7)) == pytest.approx(float(solution.values[i]))


def test_without_structure_frank_wolfe_is_the_linear_program_and_knows_it():
    matrices = random_matrices([*SIZES, (9, 12), (20, 15)], seed=3)
    solution = solve(packed(matrices), alpha=0, solver="frank-wolfe")
    expected = [ot.emd2([], [], costs.contiguous().numpy()) for costs, _, _ in matrices]
    assert_close(solution.values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert solution.is_optimal.all()
    assert not solve(packed(matrices), alpha=0.1, solver="frank-wolfe").is_optimal.any()


@pytest.mark.parametrize("marginals", MARGINALS)
def test_more_starts_are_never_worse_and_find_the_optimum_of_small_problems(marginals):
    problems = random_problems([(3, 3), (2, 3), (4, 4), (4, 3)] * 10, seed=4)
    options = {"alpha": 0.9, "marginals": marginals}
    one, some, a_lot = (solve(problems, **options, solver="frank-wolfe", starts=k) for k in (1, 5, 300))
    assert (some.values <= one.values + 1e-12).all()
    assert (a_lot.values <= some.values + 1e-12).all()
    best = solve(problems, **options, solver="exact").values
    assert (best < one.values - 1e-6).any()  # one start does miss some
    assert_close(a_lot.values, best, rtol=0, atol=1e-9)


def test_the_seed_of_the_starts_is_all_their_chance():
    problems = random_problems([(7, 9), (8, 8)] * 20)
    first, again, other = (
        solve(problems, alpha=1, solver="frank-wolfe", starts=3, seed=seed, plans=True) for seed in (5, 5, 6)
    )
    assert_same(first, again)
    assert not torch.equal(first.values, other.values)


# --- vertices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "count"),
    [(2, 3, 6), (3, 4, 96), (3, 5, 360), (4, 5, 3000), (1, 7, 1), (6, 1, 1)]
    + [(n, n, factorial(n)) for n in range(1, 7)],
)
def test_tables_have_the_known_numbers_of_vertices(n, m, count):
    table = vertices.plans(n, m, limit=count)
    assert table.shape == (count, n, m)
    assert vertices.plans(m, n, limit=count).shape == (count, m, n)
    assert vertices.plans(n, m, limit=count - 1) is None


@pytest.mark.parametrize(("n", "m"), [(2, 3), (3, 4), (4, 3), (2, 5), (4, 2), (6, 3), (5, 3), (3, 3), (4, 4)])
def test_tables_are_all_basic_solutions(n, m):
    table = vertices.plans(n, m).numpy().reshape(-1, n * m)
    units = np.unique((table * lcm(n, m)).round(), axis=0)
    assert np.array_equal(units, (basic_plans(n, m) * lcm(n, m)).round().reshape(-1, n * m))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (4, 3), (3, 6), (5, 5), (4, 5), (7, 2)])
def test_table_entries_are_distinct_plans(n, m):
    table = vertices.plans(n, m, limit=WHOLE)
    assert table.min() >= 0
    assert (table.sum(2) - 1 / n).abs().max() <= 1e-12
    assert (table.sum(1) - 1 / m).abs().max() <= 1e-12
    assert len(table.flatten(1).unique(dim=0)) == len(table)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (3, 2), (4, 4), (1, 6)])
def test_semi_relaxed_tables_are_all_maps(n, m):
    table = vertices.plans(n, m, relaxed=True).numpy()
    assert table.shape == (m**n, n, m)
    assert np.array_equal(
        np.unique(table.reshape(len(table), -1), axis=0),
        np.unique(map_plans(n, m).reshape(len(table), -1), axis=0),
    )
    assert vertices.plans(n, m, relaxed=True, limit=m**n - 1) is None


@pytest.mark.parametrize(("n", "m"), [(7, 7), (4, 5), (5, 6), (30, 2), (2, 40), (40, 50)])
def test_there_is_no_table_above_the_limit(n, m):
    assert vertices.plans(n, m) is None


# --- exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_is_the_best_permutation(alpha, device):
    matrices = random_matrices([(n, n) for n in range(1, 6)] * 3, seed=6)
    solution = solve(packed([[m.to(device) for m in each] for each in matrices]), alpha=alpha, solver="exact")
    expected = [lowest(permutation_plans(len(each[0])), each, alpha) for each in matrices]
    assert_close(solution.values.cpu(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert solution.values.device.type == device
    assert solution.is_optimal.all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_is_the_best_basic_solution(alpha, device):
    matrices = random_matrices(SMALL * 2, seed=7)
    solution = solve(packed([[m.to(device) for m in each] for each in matrices]), alpha=alpha, solver="exact")
    expected = [lowest(basic_plans(*each[0].shape), each, alpha) for each in matrices]
    assert_close(solution.values.cpu(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_semi_relaxed_exact_is_the_best_map(alpha, device):
    matrices = random_matrices([*SMALL, (5, 3), (3, 5), (6, 2)], seed=8)
    problems = packed([[m.to(device) for m in each] for each in matrices])
    solution = solve(problems, alpha=alpha, marginals="semi-relaxed", solver="exact")
    expected = [lowest(map_plans(*each[0].shape), each, alpha) for each in matrices]
    assert_close(solution.values.cpu(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_takes_two_similarities(alpha):
    kinds = {"left": cosine_similarities, "right": cosine_similarities}
    matrices = random_matrices([(n, n) for n in range(1, 6)] + SMALL, seed=9, **kinds)
    solution = solve(packed(matrices), alpha=alpha, solver="exact")
    expected = [
        lowest(basic_plans(*c.shape) if len(c) < 5 else permutation_plans(5), (c, a, b), alpha)
        for c, a, b in matrices
    ]
    assert_close(solution.values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("solver", ["exact", "auto"])
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_nothing_is_below_exact(alpha, marginals, solver):
    """Neither where descents end that begin at the product plan, nor where those from elsewhere do."""
    matrices = random_matrices(SMALL * 4, seed=10)
    problems, options = packed(matrices), {"alpha": alpha, "marginals": marginals}
    values = solve(problems, **options, solver=solver).values
    for starts in (1, 20):
        descents = solve(problems, **options, solver="frank-wolfe", starts=starts).values
        assert (values <= descents + 1e-12).all()
    assert (values <= pots_values(matrices, alpha, marginals) + 1e-12).all()
    if marginals == "balanced":
        for value, each in zip(values, matrices, strict=True):
            start = ot.emd([], [], np.random.default_rng(0).random(each[0].shape))
            assert value <= pots_value(each, alpha, start=start) + 1e-12


def test_past_the_table_exact_warns_and_auto_goes_on():
    problems = random_problems([(10, 10), (3, 3), (4, 5)], seed=11)
    descent = solve(problems, solver="frank-wolfe", plans=True)
    automatic = solve(problems, plans=True)
    with pytest.warns(UserWarning, match="2 of 3 problems have more than 720 vertices"):
        warned = solve(problems, solver="exact", plans=True)
    assert_same(automatic, warned)
    assert automatic.is_optimal.tolist() == [False, True, False]
    for number in (0, 2):
        assert_close(automatic.values[number], descent.values[number], rtol=0, atol=1e-9)
        assert_close(automatic.plan(number), descent.plan(number), rtol=0, atol=1e-9)
    assert solve(problems, solver="auto", limit=3000).is_optimal.tolist() == [False, True, True]


# --- plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("solver", ["exact", "frank-wolfe"])
@pytest.mark.parametrize("device", DEVICES)
def test_plans_keep_their_marginals_and_have_the_value_that_is_told(device, solver, marginals, dtype):
    for alpha in ALPHAS:
        matrices = random_matrices(SMALL * 2, seed=12)
        problems = packed([[m.to(device, dtype) for m in each] for each in matrices])
        solution = solve(problems, alpha=alpha, marginals=marginals, solver=solver, plans=True)
        assert (solution.values.dtype, solution.plans.dtype) == (dtype, torch.float64)
        assert solution.values.device.type == solution.plans.device.type == device
        for i in range(len(problems)):
            plan = solution.plan(i).cpu()
            assert_is_plan(plan, marginals)
            costs, left, right = (m.double().cpu() for m in problems.matrices(i))
            told = float(objective(costs, left, right, plan, alpha))
            assert float(solution.values[i]) == pytest.approx(
                told, abs=1e-12 if dtype == torch.float64 else 1e-6
            )


def test_inner_plans_keep_their_marginals_and_have_the_value_that_is_told():
    matrices = random_matrices(SIZES, seed=13, right=cosine_similarities)
    for marginals in MARGINALS:
        solution = solve(packed(matrices), marginals=marginals, solver="frank-wolfe", plans=True, starts=3)
        for i, each in enumerate(matrices):
            assert_is_plan(solution.plan(i), marginals)
            assert float(objective(*each, solution.plan(i))) == pytest.approx(
                float(solution.values[i]), abs=1e-12
            )


@pytest.mark.parametrize("solver", ["exact", "frank-wolfe", "pot"])
@pytest.mark.parametrize("marginals", MARGINALS)
def test_one_object_on_each_side_costs_what_the_pair_costs(marginals, solver):
    problems = random_problems([(1, 1)] * 5, seed=14)
    solution = solve(problems, alpha=0.3, marginals=marginals, solver=solver, plans=True)
    assert_close(solution.values, 0.7 * problems.features, rtol=0, atol=1e-12)
    assert torch.equal(solution.plans, torch.ones(5, dtype=torch.float64))


# --- ties, twins and nothing to tell apart --------------------------------------------------------

alphas = st.one_of(st.sampled_from(ALPHAS), st.floats(0, 1))
codes = st.lists(st.integers(0, 15), min_size=1, max_size=5)


def tied_matrices(a, b, featureless):
    """Cosine distances of corners of a cube; M = 0 where nothing but structure is to be seen."""
    costs = 1 - corners(a) @ corners(b).T
    inner = (1 - corners(each) @ corners(each).T for each in (a, b))
    return torch.zeros_like(costs) if featureless else costs, *inner


@many
@given(a=codes, b=codes, featureless=st.booleans(), alpha=alphas, marginals=st.sampled_from(MARGINALS))
def test_whatever_ties_plans_are_plans_and_exact_is_lowest(a, b, featureless, alpha, marginals):
    matrices = tied_matrices(a, b, featureless)
    values = {}
    for solver in ("exact", "frank-wolfe", "pot"):
        solution = solve(
            packed([matrices]), alpha=alpha, marginals=marginals, solver=solver, plans=True, limit=WHOLE
        )
        values[solver] = float(solution.values)
        if solver != "pot":
            assert_is_plan(solution.plan(0), marginals)
        assert float(objective(*matrices, solution.plan(0), alpha)) == pytest.approx(
            values[solver], abs=1e-12
        )
    assert min(values.values()) >= values["exact"] - 1e-9 >= -2e-9


@many
@given(a=codes, alpha=alphas, marginals=st.sampled_from(MARGINALS), solver=st.sampled_from(["exact", "auto"]))
def test_a_set_is_at_no_distance_from_itself(a, alpha, marginals, solver):
    problems = packed([tied_matrices(a, a, featureless=False)])
    solution = solve(problems, alpha=alpha, marginals=marginals, solver=solver, limit=WHOLE)
    assert float(solution.values) == pytest.approx(0, abs=1e-12)


@many
@given(
    a=codes,
    b=codes,
    featureless=st.booleans(),
    alpha=alphas,
    marginals=st.sampled_from(MARGINALS),
    random=st.randoms(use_true_random=False),
)
def test_the_order_of_points_does_not_matter(a, b, featureless, alpha, marginals, random):
    shuffled = [random.sample(each, len(each)) for each in (a, b)]
    problems = packed([tied_matrices(a, b, featureless), tied_matrices(*shuffled, featureless)])
    one, other = solve(problems, alpha=alpha, marginals=marginals, solver="exact", limit=WHOLE).values
    assert float(one) == pytest.approx(float(other), abs=1e-12)


@many
@given(a=codes, b=codes, featureless=st.booleans(), alpha=alphas)
def test_the_sides_may_be_swapped(a, b, featureless, alpha):
    costs, left, right = tied_matrices(a, b, featureless)
    there, back = packed([(costs, left, right)]), packed([(costs.T, right, left)])
    values = [float(solve(each, alpha=alpha, solver="exact", limit=WHOLE).values) for each in (there, back)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_the_order_and_the_sides_of_untied_points_do_not_matter():
    for a, b in point_pairs(SMALL, seed=15):
        others = [matrices_of(a.flip(0), b.roll(1, 0)), matrices_of(b, a)]
        values = solve(packed([matrices_of(a, b), *others]), solver="exact").values
        assert_close(values, values[:1].expand(3), rtol=0, atol=1e-12)


# --- curvature ------------------------------------------------------------------------------------


def angles(points):
    return cosine_similarities(points).clamp(-1, 1).arccos().fill_diagonal_(0)


def by_scipy(metric):
    def distances(points):
        return torch.from_numpy(cdist(points, points, metric))

    distances.__name__ = metric
    return distances


def gram(points):
    return points @ points.T


DISTANCES = [hollow_cosine_distances, angles, *map(by_scipy, ["euclidean", "sqeuclidean", "cityblock"])]
SIMILARITIES = [cosine_similarities, gram]
LONELY_OPPOSITES = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, -1, 0]]).double()


def random_points(sizes, seed=16, dim=3):
    generator = seeded(seed)
    return [torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in sizes]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("kinds", "sign"), [(DISTANCES, -1), (SIMILARITIES, 1)], ids=["distances", "similarities"]
)
def test_distances_fall_and_similarities_rise(kinds, sign, dtype):
    for kind in kinds:
        squares = Squares.of([kind(points).to(dtype) for points in random_points([2, 3, 4, 5, 6, 10] * 5)])
        assert (squares.signs == sign).all(), kind


def test_one_point_and_what_is_constant_have_no_sign():
    squares = Squares.of([torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(3, 3), torch.full((2, 2), 0.7)])
    assert squares.signs.tolist() == [0, 0, 0, 0]


def test_equal_points_have_no_sign_though_rounding_leaves_something():
    """1 - cosine of equal vectors is a few roundings off 0, which must not count as a similarity."""
    almost = torch.tensor([[0.0, -2.2e-16], [-2.2e-16, 0.0]], dtype=torch.float64)
    assert Squares.of([almost]).signs.tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_exact_takes_sets_of_equal_points(dtype):
    """Between them and any other set, all plans cost the same."""
    equal = PointSets.of([points.to(dtype).repeat(3, 1) for points in random_points([1] * 20, dim=16)])
    others = PointSets.of([points.to(dtype) for points in random_points([2, 3, 4] * 5, dim=16)])
    solution = solve_shortlist(equal, others, torch.arange(15).repeat(20, 1), solver="exact")
    for value, (i, j) in zip(solution.values, product(range(20), range(15)), strict=True):
        costs = 1 - equal[i] @ others[j].T
        plan = torch.full_like(costs, 1 / costs.numel())
        expected = objective(costs, equal.inner[i], others.inner[j], plan)
        assert float(value) == pytest.approx(float(expected), abs=1e-6 if dtype == torch.float32 else 1e-12)


def test_a_matrix_that_falls_and_rises_or_is_lopsided_is_mixed():
    noise = torch.randn(20, 6, 6, generator=seeded(17), dtype=torch.float64)
    mixed = [LONELY_OPPOSITES, *(each + each.T for each in noise), *noise]
    assert Squares.of(mixed).signs.tolist() == [2] * 41
    apart = torch.eye(4, dtype=torch.float64)
    for direction, sign in ((apart[0] - apart[1], -1), (apart[2] - apart[3], 1)):
        assert direction @ LONELY_OPPOSITES @ direction == 2 * sign


@pytest.mark.parametrize(
    ("left", "right", "curved"),
    [
        (hollow_cosine_distances, angles, -1),
        (by_scipy("cityblock"), by_scipy("euclidean"), -1),
        (cosine_similarities, gram, -1),
        (hollow_cosine_distances, cosine_similarities, 1),
    ],
    ids=["distances", "other distances", "similarities", "one of each"],
)
def test_the_objective_bends_between_plans_as_the_signs_say(left, right, curved):
    draw = np.random.default_rng(18)
    for a, b in point_pairs([(2, 2), (3, 4), (5, 5), (6, 4)] * 5, seed=18, dim=3):
        matrices = matrices_of(a, b, left, right)
        signs = [int(Squares.of([matrix]).signs) for matrix in matrices[1:]]
        assert signs[0] * signs[1] == -curved
        ends = [torch.from_numpy(ot.emd([], [], draw.random(matrices[0].shape))) for _ in range(4)]
        ends = [ends[0] + float(draw.random()) * (ends[1] - ends[0]), (ends[2] + ends[3]) / 2]
        share = float(draw.random())
        between = objective(*matrices, share * ends[0] + (1 - share) * ends[1], 0.8)
        chord = share * objective(*matrices, ends[0], 0.8) + (1 - share) * objective(*matrices, ends[1], 0.8)
        assert curved * (chord - between) >= -1e-12


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (hollow_cosine_distances, gram, "the left matrix is a distance, the right one is a similarity"),
        (cosine_similarities, angles, "the left matrix is a similarity, the right one is a distance"),
        (asymmetric, angles, "neither a distance nor a similarity, the right one is a distance"),
    ],
    ids=["distance, similarity", "similarity, distance", "lopsided, distance"],
)
def test_exact_refuses_what_may_have_its_optimum_inside_and_auto_descends(left, right, message):
    easy = random_matrices([(2, 3), (3, 3)], seed=19)
    problems = packed(easy + random_matrices([(3, 4), (4, 4)], seed=19, left=left, right=right))
    with pytest.raises(ValueError, match=f"cannot take 2 of 4 problems.*In problem 2 .*{message}"):
        solve(problems, solver="exact")
    solution = solve(problems)
    assert solution.is_optimal.tolist() == [True, True, False, False]
    descent = solve(problems, solver="frank-wolfe")
    assert_close(solution.values[2:], descent.values[2:], rtol=0, atol=1e-9)
    assert_close(solution.values[:2], solve(packed(easy), solver="exact").values, rtol=0, atol=1e-12)
    assert solve(problems, alpha=0, solver="exact").is_optimal.all()


def test_the_refused_optimum_does_lie_inside():
    """A distance against a similarity: the objective is convex, and lower between vertices than at any."""
    matrices = random_matrices([(4, 4)], seed=20, right=cosine_similarities)[0]
    found = float(solve(packed([matrices]), alpha=1, solver="frank-wolfe").values)
    assert found < lowest(permutation_plans(4), matrices, 1) - 1e-3


def test_semi_relaxed_exact_wants_zeros_on_the_diagonal():
    for kinds in ({"right": cosine_similarities}, {"left": asymmetric}):
        problems = random_problems([(3, 4)], **kinds)
        with pytest.raises(ValueError, match="symmetric inner distances with zeros on the diagonal"):
            solve(problems, marginals="semi-relaxed", solver="exact")
        assert not solve(problems, marginals="semi-relaxed").is_optimal.any()
        assert solve(problems, alpha=0, marginals="semi-relaxed", solver="exact").is_optimal.all()


def test_without_structure_exact_is_the_linear_program_whatever_the_inner_matrices():
    matrices = random_matrices(SMALL, seed=21, left=asymmetric, right=cosine_similarities)
    values = solve(packed(matrices), alpha=0, solver="exact").values
    expected = [ot.emd2([], [], costs.contiguous().numpy()) for costs, _, _ in matrices]
    assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


# --- assignment -----------------------------------------------------------------------------------


def integers(n, m, seed):
    return torch.randint(-1, 3, (n, m), generator=seeded(seed)).double()


def normal(n, m, seed):
    return torch.randn(n, m, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", [integers, normal], ids=["with ties", "without ties"])
def test_assign_is_scipys(kind):
    sizes = [*SIZES, *SMALL, (12, 20), (20, 12), (15, 15)] * 3
    features = [kind(*size, seed) for seed, size in enumerate(sizes)]
    inner = [[torch.zeros(size[side], size[side]).double() for size in sizes] for side in (0, 1)]
    solution = assign(Problems.of(features, *inner), plans=True)
    assert solution.is_optimal.all()
    for i, costs in enumerate(features):
        expected = costs[linear_sum_assignment(costs)].mean()
        assert_close(solution.values[i], expected, rtol=0, atol=1e-12)
        plan, pairs = solution.plan(i), min(costs.shape)
        assert sorted(plan[plan != 0].tolist()) == [1 / pairs] * pairs
        assert max(plan.count_nonzero(0).max(), plan.count_nonzero(1).max()) == 1
        assert_close((costs * plan).sum(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["exact", "frank-wolfe", "pot"])
def test_between_equally_many_points_assign_is_wasserstein(solver):
    problems = random_problems([(n, n) for n in range(1, 7)] * 3, seed=22)
    assert_close(assign(problems).values, solve(problems, alpha=0, solver=solver).values, rtol=0, atol=1e-12)


# --- POT's variants -------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.5])
def test_entropic_is_pots_and_above_exact(alpha):
    matrices = random_matrices(SMALL, seed=23)
    solution = entropic(packed(matrices), alpha=alpha, epsilon=0.2, plans=True)
    best = solve(packed(matrices), alpha=alpha, solver="exact").values
    assert (solution.values >= best - 1e-6).all()
    assert not solution.is_optimal.any()
    for i, each in enumerate(matrices):
        plan, log = ot.gromov.entropic_fused_gromov_wasserstein(
            *(m.numpy() for m in each), epsilon=0.2, alpha=alpha, log=True
        )
        assert_close(solution.plan(i), torch.from_numpy(plan), rtol=0, atol=1e-6)
        assert float(solution.values[i]) == pytest.approx(log["fgw_dist"], abs=1e-6)
        assert float(objective(*each, solution.plan(i), alpha)) == pytest.approx(
            float(solution.values[i]), abs=1e-9
        )


def solved_or_why(problem, epsilon):
    try:
        return entropic(problem, epsilon=epsilon, plans=True)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("epsilon", [1e-300, 1e-9, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 1e6, float("inf")])
def test_entropic_plans_have_all_masses_or_are_refused(epsilon):
    """Whatever epsilon: a plan of zeros would be a perfect match of anything with anything."""
    matrices = random_matrices([(1, 1), (3, 3), (2, 5), (6, 6)], seed=26)
    for each in matrices:
        problem = packed([each])
        solution = solved_or_why(problem, epsilon)
        if isinstance(solution, str):
            assert "epsilon" in solution
            assert epsilon < 0.05
            continue
        plan, (n, m) = solution.plan(0), each[0].shape
        assert (plan >= 0).all()
        assert_close(plan.sum(1), torch.full((n,), 1 / n, dtype=plan.dtype), rtol=0, atol=1e-9)
        assert_close(plan.sum(0), torch.full((m,), 1 / m, dtype=plan.dtype), rtol=0, atol=1e-9)
        assert solution.values[0] >= solve(problem, solver="exact").values[0] - 1e-6


@pytest.mark.parametrize("mass", [0.3, 0.7, 1.0])
def test_partial_is_pots_and_moves_that_much(mass):
    matrices = random_matrices(SMALL, seed=24)
    solution = partial(packed(matrices), mass, alpha=0.5, plans=True)
    for i, each in enumerate(matrices):
        plan, log = ot.gromov.partial_fused_gromov_wasserstein(
            *(m.numpy() for m in each), m=mass, alpha=0.5, log=True, warn=False
        )
        assert_close(solution.plan(i), torch.from_numpy(plan), rtol=0, atol=1e-9)
        assert float(solution.values[i]) == pytest.approx(log["partial_fgw_dist"], abs=1e-9)
        assert float(plan.sum()) == pytest.approx(mass, abs=1e-9)
        assert float(objective(*each, solution.plan(i))) == pytest.approx(log["partial_fgw_dist"], abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(12, 15), (10, 6), (49, 3)])
def test_all_mass_may_be_moved_whatever_its_sum_is_by_rounding(n, m):
    assert_close(partial(random_problems([(n, m)]), 1.0, plans=True).plan(0).sum().item(), 1.0)


def test_moving_all_mass_is_never_below_exact():
    problems = random_problems(SMALL * 3, seed=25)
    assert (partial(problems, 1.0).values >= solve(problems, solver="exact").values - 1e-9).all()


@pytest.mark.parametrize("epsilon", [0.0, -0.1, float("nan")])
def test_entropic_wants_an_entropy(epsilon):
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        entropic(random_problems([(2, 2)]), epsilon=epsilon)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_every_solver_wants_a_weight_of_the_structure(alpha):
    for solver in (solve, entropic, lambda problems, alpha: partial(problems, 0.5, alpha)):
        with pytest.raises(ValueError, match="alpha"):
            solver(random_problems([(2, 2)]), alpha=alpha)


@pytest.mark.parametrize("mass", [0.0, -0.5, 1.01, float("nan")])
def test_partial_wants_a_share_of_the_mass(mass):
    with pytest.raises(ValueError, match="mass must be above 0 and at most 1"):
        partial(random_problems([(2, 2)]), mass)


# --- ragged data ----------------------------------------------------------------------------------


def random_sets(sizes, seed=0, dim=8):
    generator = seeded(seed)
    return [torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in sizes]


def test_what_goes_in_comes_out():
    matrices = random_matrices(SIZES, left=asymmetric)
    problems = packed(matrices)
    assert len(problems) == len(SIZES)
    assert list(zip(problems.rows.tolist(), problems.columns.tolist(), strict=True)) == SIZES
    for i, each in enumerate(matrices):
        for found, given_one in zip(problems.matrices(i), each, strict=True):
            assert torch.equal(found, given_one)


def test_point_sets_are_unit_vectors_with_the_cosine_distances_in_each_set():
    sets = random_sets([3, 1, 5, 3, 2])
    packed_sets = PointSets.of(sets)
    assert packed_sets.sizes.tolist() == [3, 1, 5, 3, 2]
    for i, points in enumerate(sets):
        assert_close(packed_sets[i], points / points.norm(dim=1, keepdim=True))
        assert_close(packed_sets.inner[i], cosine_distances(points, points), rtol=0, atol=1e-12)
    assert not torch.cat([packed_sets.inner[i].diagonal() for i in range(5)]).any()


def test_point_sets_take_ones_own_inner_distances():
    sets, inner = random_sets([3, 2]), [by_scipy("euclidean")(p) for p in random_points([3, 2])]
    packed_sets = PointSets.of(sets, inner)
    assert all(torch.equal(packed_sets.inner[i], inner[i]) for i in (0, 1))


CANDIDATES = torch.tensor([[0, 1, 2, 3], [5, 5, 0, 5], [7, 6, 7, 1]])


def shortlist_sides(dtype=torch.float64):
    """Three queries and eight galleries; some problems fit a table, others do not."""
    return (
        PointSets.of([points.to(dtype) for points in random_sets([2, 7, 4], seed=1)]),
        PointSets.of([points.to(dtype) for points in random_sets([3, 1, 6, 2, 4, 7, 5, 8], seed=2)]),
    )


def alone(queries, gallery, query, candidate):
    features = 1 - queries[query] @ gallery[candidate].T
    return Problems.of([features], [queries.inner[query]], [gallery.inner[candidate]])


def test_pairs_are_what_each_would_be_alone():
    queries, gallery = shortlist_sides()
    problems = pair_up(queries, gallery, torch.arange(3), CANDIDATES)
    for i, (query, candidate) in enumerate((q, c) for q in range(3) for c in CANDIDATES[q].tolist()):
        expected = alone(queries, gallery, query, candidate).matrices(0)
        for found, one in zip(problems.matrices(i), expected, strict=True):
            assert_close(found, one, rtol=0, atol=1e-14)


@pytest.mark.parametrize("solver", ["auto", "frank-wolfe", "pot"])
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_a_shortlist_is_each_pair_alone(alpha, marginals, solver):
    queries, gallery = shortlist_sides()
    options = {"alpha": alpha, "marginals": marginals, "solver": solver, "plans": True}
    solution = solve_shortlist(queries, gallery, CANDIDATES, **options)
    assert torch.equal(solution.rows, queries.sizes.repeat_interleave(4))
    assert torch.equal(solution.columns, gallery.sizes[CANDIDATES.flatten()])
    for i, (query, candidate) in enumerate((q, c) for q in range(3) for c in CANDIDATES[q].tolist()):
        expected = solve(alone(queries, gallery, query, candidate), **options)
        assert_close(solution.values[i], expected.values[0], rtol=0, atol=1e-9)
        assert solution.is_optimal[i] == expected.is_optimal[0]
        assert_close(solution.plan(i), expected.plan(0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_single_precision_and_other_devices_find_the_same(device):
    queries, gallery = (sets.to(device) for sets in shortlist_sides(torch.float32))
    assert queries.vectors.dtype == torch.float32
    for alpha, marginals in product([0.0, 0.5], MARGINALS):
        options = {"alpha": alpha, "marginals": marginals}
        found = solve_shortlist(queries, gallery, CANDIDATES.to(device), **options, plans=True)
        expected = solve_shortlist(*shortlist_sides(), CANDIDATES, **options)
        assert found.values.device.type == found.plans.device.type == device
        assert_close(found.values.cpu().double(), expected.values, rtol=0, atol=1e-5)
        assert torch.equal(found.is_optimal.cpu(), expected.is_optimal)
        for i in range(CANDIDATES.numel()):
            assert_is_plan(found.plan(i).cpu(), marginals)


@pytest.mark.parametrize("solver", ["auto", "frank-wolfe"])
@pytest.mark.parametrize("marginals", MARGINALS)
def test_how_many_are_solved_at_once_does_not_matter(monkeypatch, marginals, solver):
    queries, gallery = shortlist_sides()
    candidates = torch.randint(8, (3, 40), generator=seeded(3))
    options = {"marginals": marginals, "solver": solver, "plans": True}
    expected = solve_shortlist(queries, gallery, candidates, **options)
    for module, name in (
        (shortlists, "PROBLEMS_AT_ONCE"),
        (exact, "AT_ONCE"),
        (frank_wolfe, "AT_ONCE"),
    ):
        monkeypatch.setattr(module, name, 7)
        assert_same(solve_shortlist(queries, gallery, candidates, **options), expected)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("options", [{}, {"solver": "frank-wolfe"}, {"solver": "frank-wolfe", "starts": 4}])
@pytest.mark.parametrize("marginals", MARGINALS)
def test_the_number_of_threads_does_not_matter(threads, monkeypatch, marginals, options):
    monkeypatch.setattr(frank_wolfe, "AT_ONCE", 16)
    problems = random_problems(SIZES * 20, seed=26)
    solutions = []
    for number in (1, 4):
        threads(number)
        solutions.append(solve(problems, marginals=marginals, plans=True, **options))
    assert_same(*solutions)


# --- compiled code --------------------------------------------------------------------------------


def test_callers_in_four_threads_get_what_one_gets():
    different = [random_problems(SIZES * 30, seed=30 + i) for i in range(4)]

    def work(problems):
        return solve(problems, solver="frank-wolfe", starts=3, plans=True)

    expected = [work(problems) for problems in different]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(work, different * 3), expected * 3, strict=True):
            assert_same(found, one)


@pytest.mark.parametrize("solver", ["frank-wolfe", "auto"])
def test_a_forked_worker_finds_the_same(solver):
    problems = [random_problems(SIZES, seed=40 + i) for i in range(3)]

    def values_of(number):
        return solve(problems[number], solver=solver).values.tolist()

    expected = [values_of(number) for number in range(3)]
    loader = DataLoader(
        range(3),
        batch_size=None,
        collate_fn=values_of,  # a worker's to call
        num_workers=1,
        multiprocessing_context="fork",
        timeout=60,
    )
    assert [*loader] == [pytest.approx(values, abs=1e-9) for values in expected]


def test_where_nothing_can_be_written_the_kernels_are_compiled_all_the_same(tmp_path):
    """Files stand where numba's two folders would be, which stops even those who may write everywhere."""
    package, home = tmp_path / "geoclip_lite", tmp_path / "home"
    source, skip = Path(geoclip_lite.__file__).parent, shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(source, package, ignore=skip)
    (package / "transport" / "__pycache__").touch()
    home.touch()
    before = sorted(tmp_path.rglob("*"))
    code = """
import torch
from geoclip_lite.transport import Problems, kernels, solve

line = torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]])
problems = Problems.of([torch.eye(3)], [line], [line])
print(kernels.__file__)
print(float(solve(problems, solver="frank-wolfe").values))
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tmp_path), "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path, value = done.stdout.split()
    assert Path(path).is_relative_to(package)
    line = torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]])
    here = solve(Problems.of([torch.eye(3)], [line], [line]), solver="frank-wolfe").values
    assert float(value) == pytest.approx(float(here), abs=1e-9)
    assert sorted(tmp_path.rglob("*")) == before


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "inner", "message"),
    [
        ([], None, "sets must hold at least one"),
        ([torch.ones(2, 3), torch.ones(0, 3)], None, "for set 1"),
        ([torch.ones(2, 3), torch.ones(2, 4)], None, "for set 1"),
        ([torch.ones(3)], None, "for set 0"),
        ([torch.tensor([[1.0, 0.0], [0.0, 0.0]])], None, "row 1"),
        ([torch.tensor([[1.0, torch.nan]])], None, "NaN"),
        ([torch.ones(2, 3)], [torch.zeros(3, 3)], "inner must hold one square matrix per set"),
        ([torch.ones(2, 3)], [torch.zeros(2, 3)], "inner must be square"),
        ([torch.ones(2, 3)], [torch.full((2, 2), torch.inf)], "inner must be finite"),
    ],
)
def test_point_sets_say_what_is_wrong(sets, inner, message):
    with pytest.raises(ValueError, match=message):
        PointSets.of(sets, inner)


@pytest.mark.parametrize(
    ("features", "left", "right", "message"),
    [
        ([], [], [], "at least one"),
        ([torch.ones(2, 3)], [torch.zeros(2, 2)], [], "one matrix per problem, got 1, 1 and 0"),
        (
            [torch.ones(2, 3)],
            [torch.zeros(2, 2)],
            [torch.zeros(2, 2)],
            r"must be 2 x 2, .* got shape \(2, 3\)",
        ),
        ([torch.ones(2, 3)], [torch.zeros(2, 2)], [torch.zeros(3, 2)], "right must be square"),
        ([torch.ones(0, 0)], [torch.zeros(0, 0)], [torch.zeros(0, 0)], "left must be square and not empty"),
        (
            [torch.full((1, 1), torch.nan)],
            [torch.zeros(1, 1)],
            [torch.zeros(1, 1)],
            "features must be finite",
        ),
        ([torch.ones(1, 1)], [torch.full((1, 1), torch.inf)], [torch.zeros(1, 1)], "left must be finite"),
        ([torch.ones(1, 1).long()], [torch.zeros(1, 1)], [torch.zeros(1, 1)], "features must be floating"),
        ([torch.ones(1, 1)], [torch.full((1, 1), 1e20)], [torch.zeros(1, 1)], "left must be finite"),
        (
            [torch.full((1, 1), 1e308, dtype=torch.float64)],
            *[[torch.zeros(1, 1).double()]] * 2,
            "features must be finite",
        ),
        ([torch.ones(1, 1)], [torch.zeros(1, 1).double()], [torch.zeros(1, 1)], "one dtype"),
    ],
)
def test_problems_say_what_is_wrong(features, left, right, message):
    with pytest.raises(ValueError, match=message):
        Problems.of(features, left, right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "alpha must be 0"),
        ({"alpha": 1.1}, "alpha must be 0"),
        ({"alpha": float("nan")}, "alpha must be 0"),
        ({"solver": "sinkhorn"}, "solver must be one of auto, exact, frank-wolfe, pot"),
        ({"marginals": "unbalanced"}, "marginals must be one of balanced, semi-relaxed"),
        ({"starts": 0}, "starts must be at least 1"),
    ],
)
def test_solve_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        solve(random_problems([(2, 3)]), **options)


def test_plans_must_be_asked_for():
    with pytest.raises(ValueError, match="plans=True"):
        solve(random_problems([(2, 3)])).plan(0)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (torch.zeros(3, dtype=torch.long), "one non-empty row per query"),
        (torch.zeros(2, 4, dtype=torch.long), "one non-empty row per query"),
        (torch.zeros(3, 0, dtype=torch.long), "one non-empty row per query"),
        (torch.zeros(3, 4), "whole numbers from 0 to 7"),
        (torch.full((3, 1), 8), "whole numbers from 0 to 7"),
        (torch.full((3, 1), -1), "whole numbers from 0 to 7"),
    ],
)
def test_shortlists_say_what_is_wrong(candidates, message):
    with pytest.raises(ValueError, match=message):
        solve_shortlist(*shortlist_sides(), candidates)


def test_shortlists_want_one_space():
    queries = PointSets.of(random_sets([2], dim=5))
    with pytest.raises(ValueError, match="length 5 against 8"):
        solve_shortlist(queries, shortlist_sides()[1], torch.zeros(1, 2, dtype=torch.long))
