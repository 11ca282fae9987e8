"""Vectors that stand in for a large collection: clustered, seeded, as many as one likes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.retrieval import unit_rows

ROWS_PER_CLUSTER = 100  # as many as a reranker asks for: the last of them are hard to tell from the rest


def clustered_vectors(
    n: int, dim: int = 512, *, clusters: int, seed: int, spread: float = 1.0
) -> Float[Tensor, "n dim"]:
    """Unit rows around `clusters` centres, which are the same for every seed.

    spread is the length of the noise, in lengths of a centre. With 1, two rows of a cluster have a cosine of
    about .5, two of different clusters one of about 0. Raises ValueError for sizes below 1 or a negative one.
    """
    if min(n, dim, clusters) < 1 or not spread >= 0:
        got = f"{n}, {dim}, {clusters}, {spread}"
        raise ValueError(f"n, dim, clusters must be 1 or more, spread 0 or more, got {got}")
    centres = torch.randn(clusters, dim, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(clusters, (n,), generator=generator)
    return unit_rows(centres[which] + spread * torch.randn(n, dim, generator=generator), "rows")
