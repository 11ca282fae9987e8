"""Compiled for the CPU: the cheapest transport plan of one problem, and Frank-Wolfe over a row of problems.

All of it is plain loops over tiny matrices. A kernel lets go of Python's lock, so threads run side by side;
it starts no threads of its own and calls no BLAS, so it may run inside any thread and any forked process.
The compiled functions call each other and so share one file: numba notices a change in it, and in no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

MAX_STEPS = 10_000  # POT's numbers, here and below
TOLERANCE = 1e-9
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}


def compiled(function: Callable) -> Callable:
    """Machine code on the first call (ten seconds), kept on disk for later ones where that works."""
    try:
        return numba.njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # neither the package's folder nor the home folder can be written
        return numba.njit(function, **OPTIONS)


def inlined(function: Callable) -> Callable:
    """For a step of an inner loop: copied into its caller before compilation, which saves a third."""
    return numba.njit(function, inline="always", **OPTIONS)


class Flat(NamedTuple):
    """Problems as the kernels read them; see `Problems`.

    features of problem p start at features[feature_starts[p]], column by column; its inner distances stand
    row by row from left[left_starts[p]] and right[right_starts[p]] on.
    """

    rows: np.ndarray
    columns: np.ndarray
    features: np.ndarray
    feature_starts: np.ndarray
    left: np.ndarray
    left_starts: np.ndarray
    right: np.ndarray
    right_starts: np.ndarray


class Problem(NamedTuple):
    """One problem while it is solved. Matrices are flat, row by row; left_t and right_t are transposed."""

    n: int
    m: int
    alpha: float
    left: np.ndarray
    right: np.ndarray
    left_t: np.ndarray
    right_t: np.ndarray
    relaxed: bool
    symmetric: bool


class Desk(NamedTuple):
    """Scratch paper of a descent: matrices of n rows and m columns, in the corner of larger ones."""

    costs: np.ndarray  # (1 - alpha) M
    gradient: np.ndarray
    vertex: np.ndarray
    bent: np.ndarray  # B of the plan
    bent_vertex: np.ndarray
    half: np.ndarray  # on the way to a B


class Search(NamedTuple):
    """Scratch paper of one shortest-path search over rows and columns."""

    row_price: np.ndarray
    column_price: np.ndarray
    left_over: np.ndarray  # what a column can still take
    distance: np.ndarray  # of each column from the row that the search started at
    entry: np.ndarray  # the distance at which a row was entered
    from_row: np.ndarray  # by which row a column was reached
    from_column: np.ndarray  # by which column a row was entered
    is_settled: np.ndarray  # columns whose distance is final
    is_entered: np.ndarray  # rows


# --- the cheapest plan ----------------------------------------------------------------------------


@compiled
def new_desk(size):
    shape = (size, size)
    return Desk(
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
        np.empty(shape),
    )


@compiled
def new_search(rows, columns):
    return Search(
        np.zeros(rows),
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(rows),
        np.zeros(columns, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(columns, np.bool_),
        np.zeros(rows, np.bool_),
    )


@compiled
def cheapest_plan(costs, n, m, supply, demand, plan, search):
    """The plan of least cost in which each row sends `supply` and each column takes at most `demand`.

    Successive shortest paths (the Hungarian method, widened from units to whole numbers): rows send their
    supply one after the other, each along the cheapest path, which may send some of what earlier rows sent
    elsewhere. Prices keep every step of a path non-negative.

    `search.column_price` is where the prices start. Any prices do if columns are filled in the end; if some
    may stay open, all must start equal.
    """
    for j in range(m):
        search.left_over[j] = demand
    for i in range(n):
        search.row_price[i] = 0.0
        for j in range(m):
            plan[i, j] = 0.0
    for i in range(n):
        to_send = supply
        while to_send > 0:
            to_send = _send(i, to_send, costs, n, m, plan, search)


@inlined
def _send(i, to_send, costs, n, m, plan, search):
    """Sends from row i along shortest paths until all is sent or a path is used up; returns what is left."""
    nearest, j = np.inf, -1
    for column in range(m):
        search.is_settled[column] = False
        search.from_row[column] = i
        distance = costs[i, column] - search.row_price[i] - search.column_price[column]
        search.distance[column] = distance
        if distance < nearest:
            nearest, j = distance, column
    for k in range(n):
        search.is_entered[k] = False
    search.is_entered[i] = True
    search.entry[i] = 0.0
    reached, path_is_whole = 0.0, True
    while to_send > 0 and path_is_whole:
        while search.left_over[j] == 0:
            _settle(j, costs, n, m, plan, search)
            j = _nearest(m, search)
        reached = search.distance[j]
        sent, path_is_whole = _push(j, i, to_send, plan, search)
        to_send -= sent
    for k in range(n):
        if search.is_entered[k]:
            search.row_price[k] += reached - search.entry[k]
    for j in range(m):
        if search.is_settled[j]:
            search.column_price[j] -= reached - search.distance[j]
    return to_send


@inlined
def _nearest(m, search):
    """The nearest column that is not settled."""
    best, nearest = np.inf, -1
    for j in range(m):
        if search.distance[j] < best and not search.is_settled[j]:
            best, nearest = search.distance[j], j
    return nearest


@inlined
def _settle(j, costs, n, m, plan, search):
    """Column j is full: go on from the rows that fill it, which could send elsewhere."""
    search.is_settled[j] = True
    here = search.distance[j]
    for k in range(n):
        if plan[k, j] > 0 and not search.is_entered[k]:
            search.is_entered[k] = True
            search.entry[k] = here
            search.from_column[k] = j
            base = here - search.row_price[k]
            for other in range(m):
                distance = base + costs[k, other] - search.column_price[other]
                if distance < search.distance[other] and not search.is_settled[other]:
                    search.distance[other] = distance
                    search.from_row[other] = k


@inlined
def _push(end, start, to_send, plan, search):
    """Sends as much as the path allows; whether every edge of it can still carry more or be undone."""
    amount = min(to_send, search.left_over[end])
    k = search.from_row[end]
    while k != start:
        j = search.from_column[k]
        amount = min(amount, plan[k, j])
        k = search.from_row[j]
    search.left_over[end] -= amount
    k = search.from_row[end]
    plan[k, end] += amount
    is_whole = True
    while k != start:
        j = search.from_column[k]
        plan[k, j] -= amount
        is_whole = is_whole and plan[k, j] > 0
        k = search.from_row[j]
        plan[k, j] += amount
    return amount, is_whole


# --- Frank-Wolfe ----------------------------------------------------------------------------------


@compiled
def frank_wolfe(problems, ids, alpha, relaxed, symmetric, starts, seed, values, plans):
    """Writes the objectives of some problems to `values`, and their plans to `plans` unless it is empty."""
    most = max(problems.rows[ids].max(), problems.columns[ids].max())
    desk, search = new_desk(most), new_search(most, most)
    plan, best_plan = np.empty((most, most)), np.empty((most, most))
    for p in ids:
        n, m = problems.rows[p], problems.columns[p]
        first, step_i, step_j = problems.feature_starts[p], 1, n  # along features and plans: column by column
        left = problems.left[problems.left_starts[p] :]
        right = problems.right[problems.right_starts[p] :]
        if n < m and not relaxed:  # the search for the cheapest plan is faster with more rows than columns
            n, m, left, right, step_i, step_j = m, n, right, left, n, 1
        left_t = left if symmetric else _transposed(left, n)
        right_t = right if symmetric else _transposed(right, m)
        problem = Problem(n, m, alpha, left, right, left_t, right_t, relaxed, symmetric)
        for i in range(n):
            for j in range(m):
                desk.costs[i, j] = (1 - alpha) * problems.features[first + i * step_i + j * step_j]
        best = np.inf
        for start in range(starts):
            _begin(start, seed + p, problem, plan, desk, search)
            value = _descend(problem, plan, desk, search)
            if value < best:
                best = value
                best_plan, plan = plan, best_plan
        values[p] = best
        if len(plans):
            for i in range(n):
                for j in range(m):
                    plans[first + i * step_i + j * step_j] = best_plan[i, j]


@inlined
def _descend(problem, plan, desk, search):
    """Moves the plan, whose B is `desk.bent`, to where no linear step goes down; returns the objective.

    Write the objective as f(T) = <M, T> + constant - alpha <B(T), T>, with the factor 1 - alpha inside M and
    B linear and self-adjoint (`_bend`). Then its gradient is M - 2 alpha B(T), and along a direction D

        f(T + s D) = f(T) + s <gradient, D> - s^2 alpha <B(D), D>,

    a parabola whose best step is known. A step needs one linear problem and one B.
    """
    n, m, alpha = problem.n, problem.m, problem.alpha
    costs, gradient, vertex = desk.costs, desk.gradient, desk.vertex
    bent, bent_vertex = desk.bent, desk.bent_vertex
    value = alpha * _mean_square(problem.left, n)
    if not problem.relaxed:
        value += alpha * _mean_square(problem.right, m)
    for i in range(n):
        for j in range(m):
            value += (costs[i, j] - alpha * bent[i, j]) * plan[i, j]
    for steps in range(MAX_STEPS):
        for i in range(n):
            for j in range(m):
                gradient[i, j] = costs[i, j] - 2 * alpha * bent[i, j]
        _linear_step(gradient, n, m, problem.relaxed, steps == 0, vertex, search)
        _bend(vertex, problem, desk.half, bent_vertex)
        slope, curvature = 0.0, 0.0
        for i in range(n):
            for j in range(m):
                direction = vertex[i, j] - plan[i, j]
                slope += gradient[i, j] * direction
                curvature -= alpha * (bent_vertex[i, j] - bent[i, j]) * direction
        step = _best_step(slope, curvature)
        if step == 0:
            break
        change = step * (slope + step * curvature)
        value += change
        for i in range(n):
            for j in range(m):
                plan[i, j] += step * (vertex[i, j] - plan[i, j])
                bent[i, j] += step * (bent_vertex[i, j] - bent[i, j])
        if abs(change) < TOLERANCE or abs(change) < TOLERANCE * abs(value):
            break
    return value


@inlined
def _best_step(slope, curvature):
    """The s in 0..1 where slope s + curvature s^2 is least: inside only if the parabola opens upwards."""
    if curvature > 0:
        return min(1.0, max(0.0, -slope / (2 * curvature)))
    return 1.0 if slope + curvature < 0 else 0.0


@inlined
def _linear_step(gradient, n, m, relaxed, is_first, vertex, search):
    """The vertex at which <gradient, T> is least. Later steps begin at the prices of the step before."""
    if relaxed:
        for i in range(n):
            nearest = 0
            for j in range(m):
                vertex[i, j] = 0.0
                if gradient[i, j] < gradient[i, nearest]:
                    nearest = j
            vertex[i, nearest] = 1.0 / n
    else:
        if is_first:
            for j in range(m):
                search.column_price[j] = gradient[0, j]
                for i in range(1, n):
                    search.column_price[j] = min(search.column_price[j], gradient[i, j])
        common = _greatest_common_divisor(n, m)
        cheapest_plan(gradient, n, m, m // common, n // common, vertex, search)
        unit = common / (n * m)  # from whole numbers to shares of the mass
        for i in range(n):
            for j in range(m):
                vertex[i, j] *= unit


@inlined
def _bend(plan, problem, half, bent):
    """B(T) of a plan T with column sums q; squares are entry by entry.

    balanced        B(T) = C1 T C2' + C1' T C2
    semi-relaxed    B(T) = C1 T C2' + C1' T C2 - 1 ((C2^2 + C2^2') q)' / 2
    """
    n, m, right = problem.n, problem.m, problem.right
    for i in range(n):
        for j in range(m):
            bent[i, j] = 0.0
    if problem.symmetric:
        _add_sandwich(2.0, problem.left, plan, right, n, m, half, bent)
    else:
        _add_sandwich(1.0, problem.left_t, plan, right, n, m, half, bent)
        _add_sandwich(1.0, problem.left, plan, problem.right_t, n, m, half, bent)
    if problem.relaxed:
        for j in range(m):
            pull = 0.0
            for k in range(m):
                mass = 0.0
                for i in range(n):
                    mass += plan[i, k]
                pull += mass * (right[j * m + k] ** 2 + right[k * m + j] ** 2) / 2
            for i in range(n):
                bent[i, j] -= pull


@compiled
def _add_sandwich(weight, left_t, plan, right, n, m, half, total):
    """total += weight C1 T C2', given C1' and C2. Most of a plan is zero at a vertex, and skipped."""
    for i in range(n):
        for j in range(m):
            half[i, j] = 0.0
    for k in range(n):
        for j in range(m):
            if plan[k, j] > 0:
                for i in range(n):
                    half[i, j] += left_t[k * n + i] * plan[k, j]
    for i in range(n):
        for j in range(m):
            entry = 0.0
            for k in range(m):
                entry += half[i, k] * right[j * m + k]
            total[i, j] += weight * entry


@compiled
def _transposed(matrix, n):
    """Of the n x n matrix that starts here, flat."""
    other = np.empty(n * n)
    for i in range(n):
        for k in range(n):
            other[k * n + i] = matrix[i * n + k]
    return other


@inlined
def _begin(start, seed, problem, plan, desk, search):
    """The plan to descend from, and its B: the product of the marginals first, then random vertices."""
    n, m = problem.n, problem.m
    if start == 0:
        for i in range(n):
            for j in range(m):
                plan[i, j] = 1.0 / (n * m)
    else:
        if start == 1:  # numba keeps one generator per thread, and this makes it the problem's own
            np.random.seed(seed)
        for i in range(n):
            for j in range(m):
                desk.gradient[i, j] = np.random.random()
        _linear_step(desk.gradient, n, m, problem.relaxed, True, plan, search)
    if start == 0 and problem.symmetric and not problem.relaxed:
        _bend_product(problem, desk.bent, search)
    else:
        _bend(plan, problem, desk.half, desk.bent)


@inlined
def _bend_product(problem, bent, search):
    """B of the product plan, which has rank one."""
    n, m, left, right = problem.n, problem.m, problem.left, problem.right
    for i in range(n):
        search.row_price[i] = 0.0
        for k in range(n):
            search.row_price[i] += left[i * n + k] / n
    for j in range(m):
        mean = 0.0
        for k in range(m):
            mean += right[j * m + k] / m
        for i in range(n):
            bent[i, j] = 2 * mean * search.row_price[i]


@compiled
def _mean_square(matrix, n):
    total = 0.0
    for entry in range(n * n):
        total += matrix[entry] ** 2
    return total / (n * n)


@compiled
def _greatest_common_divisor(a, b):
    while b:
        a, b = b, a % b
    return a


# --- assignment -----------------------------------------------------------------------------------


@compiled
def assignment(problems, ids, values, plans):
    """Mean feature cost of the best one-to-one matching of min(n, m) pairs, for each problem."""
    size = max(problems.rows[ids].max(), problems.columns[ids].max())
    costs, plan, search = np.empty((size, size)), np.empty((size, size)), new_search(size, size)
    for p in ids:
        n, m = problems.rows[p], problems.columns[p]
        few, many = min(n, m), max(n, m)
        start = problems.feature_starts[p]
        for i in range(n):
            for j in range(m):
                cost = problems.features[start + j * n + i]
                if n <= m:
                    costs[i, j] = cost
                else:
                    costs[j, i] = cost
        search.column_price[:many] = 0.0
        cheapest_plan(costs, few, many, 1, 1, plan, search)
        total = 0.0
        for i in range(few):
            for j in range(many):
                total += costs[i, j] * plan[i, j]
        values[p] = total / few
        if len(plans):
            for i in range(n):
                for j in range(m):
                    plans[start + j * n + i] = (plan[i, j] if n <= m else plan[j, i]) / few
