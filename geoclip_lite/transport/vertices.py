"""All vertices of a small transport polytope, as a table.

The plans between n and m points with uniform masses form a polytope. Its vertices are the plans whose
support, drawn as edges between rows and columns, has no cycle. Between equally many points these are the n!
permutations; where each row may choose its column freely (semi-relaxed) they are the m^n maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, permutations, product
from math import gcd

import torch
from jaxtyping import Float
from torch import Tensor

LIMIT = 720  # vertices; from here on Frank-Wolfe is much faster (6 x 6: 720, 4 x 5: 3,000)
MAX_DIMENSION = 12  # of the polytope of unequal sets, (n - 1)(m - 1): beyond it, there are thousands at least


@lru_cache(maxsize=1024)
def plans(n: int, m: int, relaxed: bool = False, limit: int = LIMIT) -> Float[Tensor, "vertices n m"] | None:
    """Every vertex plan between n and m points, in double precision; None if there are more than `limit`.

    Args:
        relaxed: the column sums are free (semi-relaxed).
    """
    if relaxed:
        found = maps(n, m)
    elif min(n, m) == 1:
        found = [[[1] * min(n, m)] * max(n, m)]
    elif n == m:
        found = (_matrix(order) for order in permutations(range(n)))
    elif (n - 1) * (m - 1) <= MAX_DIMENSION:  # with more rows than columns, fewer beginnings are vain
        found = unequal(max(n, m), min(n, m))
    else:
        return None
    found = list(islice(found, limit + 1))
    if len(found) > limit:
        return None
    table = torch.tensor(found, dtype=torch.float64)
    table = table / table[0].sum()
    return table if relaxed or n >= m else table.mT.contiguous()


def maps(n: int, m: int) -> Iterator[list[list[int]]]:
    """Each row sends all it has to one column."""
    for choice in product(range(m), repeat=n):
        yield _matrix(choice, m)


def unequal(n: int, m: int) -> Iterator[list[list[int]]]:
    """Every row sends m / g and every column takes n / g, with g the greatest common divisor.

    Vertices have whole numbers then. Rows are filled one by one; `tree` tells which columns are connected by
    rows so far, and a row that used two columns of one tree would close a cycle.
    """
    common = gcd(n, m)

    def fill(
        done: list[list[int]], room: tuple[int, ...], tree: tuple[int, ...]
    ) -> Iterator[list[list[int]]]:
        if len(done) == n:
            yield done
            return
        for row in _rows(m // common, room, tree):
            used = {t for t, amount in zip(tree, row, strict=True) if amount}
            joined = tuple(min(used) if t in used else t for t in tree)
            left = tuple(space - amount for space, amount in zip(room, row, strict=True))
            yield from fill([*done, row], left, joined)

    return fill([], (n // common,) * m, tuple(range(m)))


def _rows(supply: int, room: tuple[int, ...], tree: tuple[int, ...]) -> Iterator[list[int]]:
    """The ways to spread `supply` over columns that can take `room`, at most one column of each tree."""
    if not room:
        if not supply:
            yield []
        return
    yield from ([0, *rest] for rest in _rows(supply, room[1:], tree[1:]))
    without = tuple(0 if t == tree[0] else o for o, t in zip(room[1:], tree[1:], strict=True))
    for amount in range(1, min(supply, room[0]) + 1):
        yield from ([amount, *rest] for rest in _rows(supply - amount, without, tree[1:]))


def _matrix(choice: Sequence[int], m: int | None = None) -> list[list[int]]:
    """The plan in which row i sends all to column choice[i]."""
    return [[int(j == chosen) for j in range(m or len(choice))] for chosen in choice]
