"""Optimal transport between small sets, by the hundred thousand.

problems    Squares, PointSets, Problems, Solution: ragged data, without padding
objective   the objective of fused Gromov-Wasserstein, written out
solvers     solve (auto, exact, frank-wolfe, pot) and assign
shortlists  solve_shortlist: every query's set against the sets of its candidates
pot         entropic and partial transport, one problem at a time

`exact` looks at all vertices, `frank_wolfe` descends by compiled `kernels`, and `vertices` makes the tables.
"""

from geoclip_lite.transport.objective import objective
from geoclip_lite.transport.pot import entropic, partial
from geoclip_lite.transport.problems import PointSets, Problems, Solution, Squares
from geoclip_lite.transport.shortlists import solve_shortlist
from geoclip_lite.transport.solvers import assign, solve

__all__ = [
    "PointSets",
    "Problems",
    "Solution",
    "Squares",
    "assign",
    "entropic",
    "objective",
    "partial",
    "solve",
    "solve_shortlist",
]
