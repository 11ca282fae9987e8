"""How alike two embedding spaces are: by their distances, and by their neighbourhoods."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.retrieval import unit_rows


def cosine_distances(vectors: Float[Tensor, "items dim"]) -> Float[Tensor, "items items"]:
    """1 - cosine between every two rows."""
    unit = unit_rows(vectors, "vectors")
    return 1 - unit @ unit.T


def distance_correlation(a: Float[Tensor, "items dim_a"], b: Float[Tensor, "items dim_b"]) -> float:
    """Pearson correlation of the pairwise cosine distances of one set of items in two spaces.

    The paper's section 4.2 compares text space and image space so. (Not Szekely's distance correlation.)
    """
    _same_items(a, b)
    above = torch.triu_indices(len(a), len(a), offset=1)
    pairs = torch.stack([cosine_distances(v)[above[0], above[1]] for v in (a, b)])
    return float(torch.corrcoef(pairs)[0, 1])


def mutual_knn_overlap(a: Float[Tensor, "items dim_a"], b: Float[Tensor, "items dim_b"], k: int) -> float:
    """Mean share of an item's k nearest neighbours in one space that are so in the other too, 0 to 1.

    Two unrelated spaces share k / (items - 1) of them by chance. The item itself is no neighbour.
    (Huh et al., 2024, call it mutual nearest-neighbour alignment.)
    """
    _same_items(a, b)
    if not 1 <= k < len(a):
        raise ValueError(f"k must be 1 to {len(a) - 1} (one less than the items), got {k}")
    near_a, near_b = (_neighbours(v, k) for v in (a, b))
    return float((near_a & near_b).sum() / (k * len(a)))


def _neighbours(vectors: Float[Tensor, "items dim"], k: int) -> Tensor:
    """Entry (i, j) says whether j is among the k nearest of i."""
    distances = cosine_distances(vectors).fill_diagonal_(torch.inf)
    nearest = distances.topk(k, largest=False).indices
    return torch.zeros_like(distances, dtype=torch.bool).scatter_(1, nearest, True)


def _same_items(a: Tensor, b: Tensor) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"a and b must hold the same items in the same order, got {len(a)} and {len(b)} rows"
        )
