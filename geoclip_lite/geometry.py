"""How alike two embedding spaces are: by their distances, by their neighbourhoods, and by where they lie.

distances       cosine_distances, distance_correlation, mantel_test, gromov_wasserstein
neighbourhoods  mutual_knn_overlap, overlap_by_k, neighbour_purity
places          modality_gap, mean_cosine
lists           k_occurrences

Two spaces here are two matrices with one row per item, in the same order: the texts and the images of one
set of scenes, say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import ot
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from torch import Tensor

from geoclip_lite.retrieval import Ranking, unit_rows

Kind = Literal["pearson", "spearman"]

# --- distances ------------------------------------------------------------------------------------


def cosine_distances(vectors: Float[Tensor, "items dim"]) -> Float[Tensor, "items items"]:
    """1 - cosine between every two rows."""
    unit = unit_rows(vectors, "vectors")
    return 1 - unit @ unit.T


def distance_correlation(
    a: Float[Tensor, "items dim_a"], b: Float[Tensor, "items dim_b"], kind: Kind = "pearson"
) -> float:
    """Correlation of the pairwise cosine distances of one set of items in two spaces, -1 to 1.

    The paper's section 4.2 compares text space and image space so. (Not Szekely's distance correlation.)

    Args:
        kind: "pearson", of the distances, or "spearman", of their ranks.

    Raises:
        ValueError: for fewer than three items, or other items in `b`.
    """
    _same_items(a, b, at_least=3)
    rows = [_standardised(_pairs(cosine_distances(v)), kind) for v in (a, b)]
    return float((rows[0] * rows[1]).mean())


@dataclass(frozen=True)
class Mantel:
    """A correlation of distances, and how often random relabelling gives one as large.

    Args:
        correlation: of the items as they are labelled.
        low, high: the middle 95 % of the correlations under random relabelling.
        p: share of relabellings with at least this correlation, the true labelling counted in.
    """

    correlation: float
    low: float
    high: float
    p: float


def mantel_test(
    a: Float[Tensor, "items dim_a"],
    b: Float[Tensor, "items dim_b"],
    kind: Kind = "pearson",
    permutations: int = 999,
    seed: int = 0,
) -> Mantel:
    """Is the agreement of distances more than chance? (Mantel, 1967; one-sided.)

    n items have n (n - 1) / 2 distances, but each item is part of n - 1 of them: they are not independent,
    and a textbook p-value would be far too small. So the *items* of one space are relabelled at random, which
    keeps all dependence within a space and breaks that between the two.
    """
    _same_items(a, b, at_least=3)
    _positive(permutations=permutations)
    first = _standardised(_pairs(cosine_distances(a)), kind)
    second = _square(_standardised(_pairs(cosine_distances(b)), kind), len(b))
    found = float((first * _pairs(second)).mean())
    orders = _orders(len(b), permutations, seed)
    shuffled = np.array([float((first * _pairs(second[o][:, o])).mean()) for o in orders])
    p = (1 + (shuffled >= found - 1e-12).sum()) / (1 + permutations)
    return Mantel(found, *np.quantile(shuffled, [0.025, 0.975]).tolist(), p=float(p))


@dataclass(frozen=True)
class GromovWasserstein:
    """How well one set of distances fits onto another when no labels are given.

    Args:
        value: the lowest objective found.
        identity: the objective of the plan that sends each item to itself.
        blind: the lowest objective found by descents that were not started at the identity.
        plan: where that blind descent ended, with row and column sums 1 / items.
    """

    value: float
    identity: float
    blind: float
    plan: Float[Tensor, "items items"]

    @property
    def on_diagonal(self) -> float:
        """Share of the blind plan's mass that goes from an item to itself, 0 to 1."""
        return float(self.plan.diagonal().sum())


def gromov_wasserstein(
    a: Float[Tensor, "items dim_a"], b: Float[Tensor, "items dim_b"], starts: int = 50, seed: int = 0
) -> GromovWasserstein:
    """Gromov-Wasserstein discrepancy of the cosine distances A and B of two spaces.

    min over plans P of the sum over i, j, k, l of (A_ik - B_jl)^2 P_ij P_kl: squared loss, no root taken, as
    in POT. Sensitive to the scale of the distances.

    The problem is not convex. POT's conditional gradient descends from the uniform plan, from `starts` random
    permutations and from the identity, and the lowest end counts: an upper bound of the true minimum.
    """
    _same_items(a, b)
    n = len(a)
    costs = [cosine_distances(v).double().numpy() for v in (a, b)]
    blind_starts = [np.full((n, n), 1 / n**2), *(np.eye(n)[o] / n for o in _orders(n, starts, seed))]
    blind, plan = min((_descend(*costs, start) for start in blind_starts), key=lambda end: end[0])
    informed, _ = _descend(*costs, np.eye(n) / n)
    identity = float(((costs[0] - costs[1]) ** 2).mean())
    return GromovWasserstein(min(blind, informed, identity), identity, blind, torch.from_numpy(plan))


def _descend(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> tuple[float, np.ndarray]:
    """Objective and plan at the end of POT's descent."""
    mass = np.full(len(a), 1 / len(a))
    plan, log = ot.gromov.gromov_wasserstein(a, b, mass, mass, "square_loss", G0=start, log=True)
    return float(log["gw_dist"]), plan


# --- neighbourhoods -------------------------------------------------------------------------------


def mutual_knn_overlap(a: Float[Tensor, "items dim_a"], b: Float[Tensor, "items dim_b"], k: int) -> float:
    """Mean share of an item's k nearest neighbours in one space that are so in the other too, 0 to 1.

    Two unrelated spaces share k / (items - 1) of them by chance. The item itself is no neighbour.
    (Huh et al., 2024, call it mutual nearest-neighbour alignment.)
    """
    _same_items(a, b)
    near_a, near_b = (_neighbours(v, k) for v in (a, b))
    return float((near_a & near_b).sum() / (k * len(a)))


def overlap_by_k(
    a: Float[Tensor, "items dim_a"],
    b: Float[Tensor, "items dim_b"],
    ks: Sequence[int],
    permutations: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The mutual overlap for each k, beside what random relabelling gives.

    Returns:
        columns k, overlap, chance (k / (items - 1), exact), low and high (the middle 95 % of relabellings).
    """
    _same_items(a, b)
    rows = []
    for k in ks:
        near_a, near_b = (_neighbours(v, k) for v in (a, b))
        common = [int((near_a & near_b[o][:, o]).sum()) for o in _orders(len(a), permutations, seed)]
        low, high = np.quantile(common, [0.025, 0.975]) / (k * len(a))
        found = int((near_a & near_b).sum()) / (k * len(a))
        rows.append({"k": k, "overlap": found, "chance": k / (len(a) - 1), "low": low, "high": high})
    return pd.DataFrame(rows)


def neighbour_purity(vectors: Float[Tensor, "items dim"], labels: Sequence[str], k: int) -> float:
    """Mean share of an item's k nearest neighbours that carry its own label, 0 to 1."""
    if len(labels) != len(vectors):
        raise ValueError(f"labels must be one per item, got {len(labels)} for {len(vectors)} vectors")
    numbers = torch.from_numpy(np.unique(np.asarray(labels), return_inverse=True)[1])
    same = numbers[:, None] == numbers[None, :]
    return float((_neighbours(vectors, k) & same).sum() / (k * len(vectors)))


def _neighbours(vectors: Float[Tensor, "items dim"], k: int) -> Bool[Tensor, "items items"]:
    """Entry (i, j) says whether j is among the k nearest of i."""
    if not 1 <= k < len(vectors):
        raise ValueError(f"k must be 1 to {len(vectors) - 1} (one less than the items), got {k}")
    distances = cosine_distances(vectors).fill_diagonal_(torch.inf)
    nearest = distances.topk(k, largest=False).indices
    return torch.zeros_like(distances, dtype=torch.bool).scatter_(1, nearest, True)


# --- where the two clouds lie ---------------------------------------------------------------------


def modality_gap(texts: Float[Tensor, "texts dim"], images: Float[Tensor, "images dim"]) -> float:
    """Distance between the mean text and the mean image vector, 0 to 2 (Liang et al., 2022)."""
    return float((unit_rows(texts, "texts").mean(0) - unit_rows(images, "images").mean(0)).norm())


def mean_cosine(vectors: Float[Tensor, "items dim"]) -> float:
    """Mean cosine between two different rows: how narrow the cone is in which a cloud lies."""
    return float(1 - _pairs(cosine_distances(vectors)).mean())


# --- who is in everyone's list --------------------------------------------------------------------


def k_occurrences(ranking: Ranking, k: int) -> Int[Tensor, " items"]:
    """How many queries have each item in their top k. Hubs are items that many have.

    A positively skewed distribution of these counts is the usual measure of hubness (Radovanovic et al.,
    2010): `scipy.stats.skew`.
    """
    return torch.bincount(ranking.top(k).indices.flatten(), minlength=ranking.gallery_size)


# --- helpers --------------------------------------------------------------------------------------


def _pairs(distances: Float[Tensor, "items items"]) -> Float[Tensor, " pairs"]:
    """The entries above the diagonal, row by row."""
    i, j = torch.triu_indices(len(distances), len(distances), offset=1)
    return distances[i, j].double()


def _square(pairs: Float[Tensor, " pairs"], n: int) -> Float[Tensor, "items items"]:
    """The symmetric matrix with these entries above its diagonal, and zeros on it."""
    i, j = torch.triu_indices(n, n, offset=1)
    matrix = pairs.new_zeros(n, n)
    matrix[i, j] = pairs
    return matrix + matrix.T


def _standardised(pairs: Float[Tensor, " pairs"], kind: Kind) -> Float[Tensor, " pairs"]:
    """The values, or their ranks, with mean 0 and variance 1: a correlation is then a mean of products."""
    if kind not in ("pearson", "spearman"):
        raise ValueError(f'kind must be "pearson" or "spearman", got {kind!r}')
    values = torch.from_numpy(rankdata(pairs.numpy())) if kind == "spearman" else pairs
    centred = values - values.mean()
    spread = centred.square().mean().sqrt()
    if spread < 1e-9:
        raise ValueError("all distances are equal: a correlation needs some that differ")
    return centred / spread


def _orders(n: int, count: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    return (rng.permutation(n) for _ in range(count))


def _positive(**named: int) -> None:
    for name, value in named.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _same_items(a: Tensor, b: Tensor, at_least: int = 1) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"a and b must hold the same items in the same order, got {len(a)} and {len(b)} rows"
        )
    if len(a) < at_least:
        raise ValueError(f"a and b must hold at least {at_least} items, got {len(a)}")
