"""Every query's set against the sets of its shortlist: the hot loop of reranking.

A thousand queries with a hundred candidates each are a hundred thousand problems. They are put together and
solved some queries at a time, so memory stays bounded however long the shortlist is, and time grows in
proportion to queries x candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from geoclip_lite.transport.problems import PointSets, Problems, Solution, starts_of
from geoclip_lite.transport.solvers import Marginals, Solver, check_options, solve

PROBLEMS_AT_ONCE = 65_536
PATIENCE = 10.0  # seconds of work before a progress bar appears


def solve_shortlist(
    queries: PointSets,
    gallery: PointSets,
    candidates: Int[Tensor, "queries k"],
    *,
    alpha: float = 0.5,
    marginals: Marginals = "balanced",
    solver: Solver = "auto",
    plans: bool = False,
    progress: bool = True,
) -> Solution:
    """Fused Gromov-Wasserstein between every query's set and each of its candidates' sets.

    The feature cost is 1 - cosine between points; inner distances are those that the sets came with.

    Args:
        candidates: numbers of gallery sets, e.g. `Ranking.indices`.
        alpha, marginals, solver, plans: see `solve`.
        progress: whether work of more than a few seconds shows a bar.

    Returns:
        one problem per entry of `candidates`, row by row: `solution.values.view_as(candidates)`.

    Raises:
        ValueError: candidates that are not whole numbers of gallery sets, one row a query; vectors of
            different length; options that `solve` refuses.
    """
    check_options(alpha, marginals, solver)
    work = partial(solve, alpha=alpha, marginals=marginals, solver=solver, plans=plans)
    return over_shortlist(work, queries, gallery, candidates, progress)


def over_shortlist(
    work: Callable[[Problems], Solution],
    queries: PointSets,
    gallery: PointSets,
    candidates: Int[Tensor, "queries k"],
    progress: bool = True,
) -> Solution:
    """Any solver over the problems of a shortlist, some queries at a time; see `solve_shortlist`."""
    _check(queries, gallery, candidates)
    parts = []
    with tqdm(
        total=candidates.numel(), unit=" problems", unit_scale=True, delay=PATIENCE, disable=not progress
    ) as bar:
        at_once = max(1, PROBLEMS_AT_ONCE // candidates.shape[1])
        for ids in torch.arange(len(queries), device=candidates.device).split(at_once):
            parts.append(work(pair_up(queries, gallery, ids, candidates[ids])))
            bar.update(candidates[ids].numel())
    return Solution(
        values=torch.cat([part.values for part in parts]),
        is_optimal=torch.cat([part.is_optimal for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
        columns=torch.cat([part.columns for part in parts]),
        plans=None if parts[0].plans is None else torch.cat([part.plans for part in parts]),
    )


def pair_up(
    queries: PointSets,
    gallery: PointSets,
    ids: Int[Tensor, " some"],
    candidates: Int[Tensor, "some k"],
) -> Problems:
    """The problems of some queries with their candidates, one query after the other."""
    sizes = gallery.sizes[candidates]
    firsts = gallery.starts[candidates]
    features = []
    for query, size, first in zip(ids.tolist(), sizes, firsts, strict=True):
        rows = torch.repeat_interleave(first - starts_of(size), size) + torch.arange(
            int(size.sum()), device=size.device
        )
        features.append((1 - gallery.vectors[rows] @ queries[query].T).flatten())
    return Problems(
        torch.cat(features),
        queries.inner,
        gallery.inner,
        ids.repeat_interleave(candidates.shape[1]),
        candidates.flatten(),
    )


def _check(queries: PointSets, gallery: PointSets, candidates: Tensor) -> None:
    if candidates.ndim != 2 or len(candidates) != len(queries) or not candidates.numel():
        raise ValueError(
            f"candidates must have one non-empty row per query, got shape {tuple(candidates.shape)} for "
            f"{len(queries)} queries"
        )
    if candidates.is_floating_point() or candidates.min() < 0 or candidates.max() >= len(gallery):
        raise ValueError(f"candidates must be whole numbers from 0 to {len(gallery) - 1}, the gallery's sets")
    if queries.vectors.shape[1] != gallery.vectors.shape[1]:
        lengths = f"{queries.vectors.shape[1]} against {gallery.vectors.shape[1]}"
        raise ValueError(f"queries and gallery must come from one space, got vectors of length {lengths}")
