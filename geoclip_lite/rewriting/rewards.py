"""Rewards of one signature: cosines of rewrites with N candidates, and which candidate is right -> a number.

    similarity   cosine with the right picture; says nothing of the others, and can be inflated
    linear rank  1 - (rank - 1) / (N - 1): GRAPE's, as its reviewers describe it
    log rank     1 - log(rank) / log(N): a place gained at the top counts for more
    reciprocal   1 / rank
    contrastive  log of the right picture's share in a softmax over all candidates

All but the first are relative to the candidates: a text that is near to every picture gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Scores = Float[Tensor, "rewrites candidates"]
Right = Int[Tensor, " rewrites"]
Reward = Callable[[Scores, Right], Float[Tensor, " rewrites"]]
TEMPERATURE = 0.05  # of the contrastive reward, in units of cosine
BONUS = 0.1  # for a rewrite that has words and an end


def ranks(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """Place of the right candidate, from 1; among equal scores the expected one."""
    mine = scores.gather(1, right[:, None])
    above, level = (scores > mine).sum(1), (scores == mine).sum(1)
    return above + (level + 1) / 2


def similarity(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """Cosine with the right picture."""
    return scores.gather(1, right[:, None])[:, 0]


def linear_rank(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """1 at the first place, 0 at the last, evenly in between."""
    return 1 - (ranks(scores, right) - 1) / (scores.shape[1] - 1)


def log_rank(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """1 at the first place, 0 at the last, evenly in the logarithm of the place."""
    return 1 - ranks(scores, right).log() / torch.tensor(float(scores.shape[1])).log()


def reciprocal_rank(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """1, 1/2, 1/3, ..."""
    return 1 / ranks(scores, right)


def contrastive(scores: Scores, right: Right) -> Float[Tensor, " rewrites"]:
    """Log-probability of the right candidate, as a contrastive loss has it."""
    return (scores / TEMPERATURE).log_softmax(1).gather(1, right[:, None])[:, 0]


REWARDS: dict[str, Reward] = {
    "similarity": similarity,
    "linear rank": linear_rank,
    "log rank": log_rank,
    "reciprocal rank": reciprocal_rank,
    "contrastive": contrastive,
}


def format_reward(well_formed: Bool[Tensor, "*rewrites"]) -> Float[Tensor, "*rewrites"]:
    """`BONUS` for a rewrite that has words and ends by itself."""
    return BONUS * well_formed
