"""How far two judges agree, beyond what chance would bring (Cohen, 1960; weighted: Cohen, 1968)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from geoclip_lite.judge.scoring import Judged
from geoclip_lite.metrics import Groups, Interval, bootstrap_interval

Weights = Literal["linear", "quadratic"]


def cohen_kappa(a: Sequence[int], b: Sequence[int], weights: Weights | None = None) -> float:
    """1 - observed disagreement / the disagreement of two who deal out their own labels at random.

    1: they always agree; 0: as often as by chance. NaN where both use one label, the same, throughout.

    Args:
        a, b: whole numbers from 0, of the same things in the same order.
        weights: how much a disagreement counts: None: every one alike; "linear", "quadratic": by how many
            grades they are apart, or its square.

    Raises:
        ValueError: labels that are no such numbers, of unequal length, or none.
    """
    a, b = _labels(a, "a"), _labels(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a and b must be labels of the same things, got {len(a)} and {len(b)}")
    return _kappa(_tables(np.zeros_like(a), a, b)[0], weights)


def agreement(
    a: Judged,
    b: Judged,
    weights: Weights | None = None,
    *,
    groups: Groups = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Cohen's kappa over the pairs that both have judged, with a bootstrap interval over queries.

    Scores are rounded to whole ones: grades to 0 to 4, confidences to no and yes. Judgements of one query are
    not independent, so whole queries are resampled.

    Args:
        groups: what each query is about, where several share a picture: then whole groups are resampled.

    Raises:
        ValueError: the two judged different queries or galleries, or no pair in common; not as many groups.
    """
    if a.known.shape != b.known.shape:
        shapes = f"{tuple(a.known.shape)} and {tuple(b.known.shape)}"
        raise ValueError(f"a and b must be of the same queries and items, got {shapes}")
    both = a.known & b.known
    if not both.any():
        raise ValueError("a and b must have judged some pairs in common, there are none")
    first, second = (judged.scores[both].round().long().numpy() for judged in (a, b))
    tables = _tables(both.nonzero()[:, 0].numpy(), first, second)
    rows = np.flatnonzero(tables.any(axis=(1, 2)))

    def kappa(some: np.ndarray) -> float:
        return _kappa(tables[some.astype(int)].sum(0), weights)

    if groups is not None:
        if len(groups) != len(a.known):
            raise ValueError(f"groups must have a name for each of {len(a.known)} queries, got {len(groups)}")
        groups = np.asarray(groups)[rows]
    return bootstrap_interval(rows, kappa, groups=groups, resamples=resamples, seed=seed)


def _labels(labels: Sequence[int], name: str) -> np.ndarray:
    array = np.asarray(labels, dtype=float)
    good = array.ndim == 1 and array.size and np.isfinite(array).all()
    if not good or array.min() < 0 or (array % 1).any():
        raise ValueError(f"{name} must be a list of whole numbers from 0, got {labels!r:.200}")
    return array.astype(int)


def _tables(queries: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each query, how often a's label (row) met b's (column)."""
    size = int(max(a.max(), b.max())) + 1
    tables = np.zeros((int(queries.max()) + 1, size, size))
    np.add.at(tables, (queries, a, b), 1)
    return tables


def _kappa(table: np.ndarray, weights: Weights | None) -> float:
    apart = np.abs(np.subtract.outer(np.arange(len(table)), np.arange(len(table))))
    known = {None: apart > 0, "linear": apart, "quadratic": apart**2}
    if weights not in known:
        raise ValueError(f'weights must be None, "linear" or "quadratic", got {weights!r}')
    by_chance = np.outer(table.sum(1), table.sum(0)) / table.sum()
    chance = (known[weights] * by_chance).sum()
    return float(1 - (known[weights] * table).sum() / chance) if chance > 0 else float("nan")
