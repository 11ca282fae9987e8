"""Adapters: moving a frozen encoder's vectors to a new domain.

pairs      training pairs, and splits that share no picture
recipes    every choice about an adapter in one place
heads      the adapters themselves: residual, or not
losses     open_clip's loss with several right answers, the margin loss, two penalties
batches    which pairs meet: at random, or with mined hard negatives
training   many runs as one batched computation
peers      zero-shot, ridge, Procrustes, a cache: what needs no training
unfreezing training a part of the encoder itself
evaluation recall by kind of query, drift
"""

from geoclip_lite.adapters.evaluation import by_kind, mean_drift, per_query, search
from geoclip_lite.adapters.heads import Adapter
from geoclip_lite.adapters.losses import MultiPositiveClipLoss, distortion, drift
from geoclip_lite.adapters.pairs import Pairs, refuse_shared
from geoclip_lite.adapters.peers import PEERS, Adapts, Cache, Mapped, ZeroShot
from geoclip_lite.adapters.recipes import Recipe
from geoclip_lite.adapters.training import Check, Fitted, fit, mean_reciprocal_rank
from geoclip_lite.adapters.unfreezing import PARTS, unfreeze

__all__ = [
    "PARTS",
    "PEERS",
    "Adapter",
    "Adapts",
    "Cache",
    "Check",
    "Fitted",
    "Mapped",
    "MultiPositiveClipLoss",
    "Pairs",
    "Recipe",
    "ZeroShot",
    "by_kind",
    "distortion",
    "drift",
    "fit",
    "mean_drift",
    "mean_reciprocal_rank",
    "per_query",
    "refuse_shared",
    "search",
    "unfreeze",
]
