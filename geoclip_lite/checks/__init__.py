"""Exercises that answer: `checks.hit_at_k(your_function)` says in words what is wrong."""

from geoclip_lite.checks.adapting import clamped_scale, least_cosine, residual, shared_targets
from geoclip_lite.checks.bottleneck import folds_by_image, overlap, rotation
from geoclip_lite.checks.feedback import Feedback
from geoclip_lite.checks.fused import best_step, gw_by_products, semi_relaxed
from geoclip_lite.checks.judging import cohen_kappa, judged_ndcg, true_share
from geoclip_lite.checks.neighbourhood import ceiling, csls_bias, prices
from geoclip_lite.checks.objects import deployable, expected_hit, match_or_leave, oracle_r1
from geoclip_lite.checks.per_object import at_least_one, encode_with_templates, merge
from geoclip_lite.checks.pixels import best_picture, max_sim, value_path
from geoclip_lite.checks.pointwise import bag_ceiling, hit_at_k, retrieve
from geoclip_lite.checks.rewriting import clipped_objective, group_advantages, inflatable, rank_reward
from geoclip_lite.checks.serving import merge_shards, over_fetch, recall_at, slowest
from geoclip_lite.checks.steering import (
    mispaired,
    push,
    random_step,
    steer_then_merge,
    tipping_point,
    without,
)

__all__ = [
    "Feedback",
    "at_least_one",
    "bag_ceiling",
    "best_picture",
    "best_step",
    "ceiling",
    "clamped_scale",
    "clipped_objective",
    "cohen_kappa",
    "csls_bias",
    "deployable",
    "encode_with_templates",
    "expected_hit",
    "folds_by_image",
    "group_advantages",
    "gw_by_products",
    "hit_at_k",
    "inflatable",
    "judged_ndcg",
    "least_cosine",
    "match_or_leave",
    "max_sim",
    "merge",
    "merge_shards",
    "mispaired",
    "oracle_r1",
    "over_fetch",
    "overlap",
    "prices",
    "push",
    "random_step",
    "rank_reward",
    "recall_at",
    "residual",
    "retrieve",
    "rotation",
    "semi_relaxed",
    "shared_targets",
    "slowest",
    "steer_then_merge",
    "tipping_point",
    "true_share",
    "value_path",
    "without",
]
