"""The compiled kernels, run over any number of problems in as many threads as torch may use.

A descent ends where no linear step goes further down, which need not be the lowest point. More `starts` look
at more such points. Threads share nothing and every problem has its own seed, so their number changes no bit
of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from geoclip_lite.transport import kernels
from geoclip_lite.transport.problems import Problems, Solution

AT_ONCE = 1024  # problems a thread takes at a time


def solve(
    problems: Problems,
    ids: Int[Tensor, " some"],
    solution: Solution,
    alpha: float,
    relaxed: bool,
    starts: int,
    seed: int,
) -> None:
    """Conditional gradient with exact steps (Vayer et al., 2019), in double precision on the CPU."""
    symmetric = problems.is_symmetric

    def work(flat: kernels.Flat, some: np.ndarray, values: np.ndarray, plans: np.ndarray) -> None:
        kernels.frank_wolfe(flat, some, alpha, relaxed, symmetric, starts, seed, values, plans)

    _run(work, problems, ids, solution)
    solution.is_optimal[ids] = alpha == 0  # a linear problem has no other kind of optimum


def assign(problems: Problems, solution: Solution) -> None:
    """The best one-to-one matching of every problem."""
    _run(kernels.assignment, problems, torch.arange(len(problems)), solution)
    solution.is_optimal[:] = True


def _run(
    work: Callable[..., None], problems: Problems, ids: Int[Tensor, " some"], solution: Solution
) -> None:
    """Runs a kernel over some problems, in threads, and puts what it finds into the solution."""
    flat, numbers = _flat(problems), _whole(ids)
    values = np.zeros(len(problems))
    plans = np.zeros(0 if solution.plans is None else len(solution.plans))
    parts = np.split(numbers, range(AT_ONCE, len(numbers), AT_ONCE))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda part: work(flat, part, values, plans), parts))
    solution.values[ids] = torch.from_numpy(values).to(solution.values)[ids]
    if solution.plans is not None:
        solution.plans.add_(torch.from_numpy(plans).to(solution.plans))


def _flat(problems: Problems) -> kernels.Flat:
    """The problems as numpy arrays; what every problem needs of its two sets is looked up here once."""
    left, right = problems.left, problems.right
    return kernels.Flat(
        rows=_whole(problems.rows),
        columns=_whole(problems.columns),
        features=problems.features.detach().cpu().double().contiguous().numpy(),
        feature_starts=_whole(problems.starts),
        left=left.double,
        left_starts=_whole(left.starts[problems.left_of]),
        right=right.double,
        right_starts=_whole(right.starts[problems.right_of]),
    )


def _whole(numbers: Tensor) -> np.ndarray:
    return numbers.cpu().long().contiguous().numpy()
