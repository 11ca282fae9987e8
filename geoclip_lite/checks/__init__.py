"""Exercises that answer: `checks.hit_at_k(your_function)` says in words what is wrong."""

from geoclip_lite.checks.adapting import clamped_scale, least_cosine, residual, shared_targets
from geoclip_lite.checks.bottleneck import folds_by_image, overlap, rotation
from geoclip_lite.checks.feedback import Feedback
from geoclip_lite.checks.fused import best_step, gw_by_products, semi_relaxed
from geoclip_lite.checks.neighbourhood import ceiling, csls_bias, prices
from geoclip_lite.checks.objects import expected_hit, match_or_leave, oracle_r1
from geoclip_lite.checks.per_object import at_least_one, encode_with_templates, merge
from geoclip_lite.checks.pixels import best_picture, max_sim, value_path
from geoclip_lite.checks.pointwise import bag_ceiling, hit_at_k, retrieve
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
    "csls_bias",
    "encode_with_templates",
    "expected_hit",
    "folds_by_image",
    "gw_by_products",
    "hit_at_k",
    "least_cosine",
    "match_or_leave",
    "max_sim",
    "merge",
    "mispaired",
    "oracle_r1",
    "overlap",
    "prices",
    "push",
    "random_step",
    "residual",
    "retrieve",
    "rotation",
    "semi_relaxed",
    "shared_targets",
    "steer_then_merge",
    "tipping_point",
    "value_path",
    "without",
]
