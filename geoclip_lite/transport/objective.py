"""The objective of fused Gromov-Wasserstein, written out."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def check_alpha(alpha: float) -> None:
    """Raises ValueError for a weight of the structure term that is none."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be 0 (features only) to 1 (structure only), got {alpha}")


def objective(
    costs: Float[Tensor, "n m"],
    left: Float[Tensor, "n n"],
    right: Float[Tensor, "m m"],
    plan: Float[Tensor, "n m"],
    alpha: float = 0.5,
) -> Float[Tensor, ""]:
    """(1 - alpha) <M, T> + alpha times the sum over i, j, k, l of (C1_ik - C2_jl)^2 T_ij T_kl.

    The first term is the Wasserstein cost of the features, the second the Gromov-Wasserstein cost of the
    inner distances, with squared loss. POT's convention for alpha (Vayer et al., 2019); the paper's equations
    4 and 5. Any plan T may be given, whatever its marginals.
    """
    gap = (left[:, None, :, None] - right[None, :, None, :]).square()
    structure = torch.einsum("ijkl,ij,kl->", gap, plan, plan)
    return (1 - alpha) * (costs * plan).sum() + alpha * structure
