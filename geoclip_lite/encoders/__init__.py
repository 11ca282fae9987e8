"""Encoders by name: `load_encoder("mini-single")`, `load_encoder("ViT-B-32-quickgelu/openai")`.

load_encoder  one encoder
main_encoder  the one that a chapter computes with
cast          those that a chapter shows side by side
"""

from geoclip_lite.lazy import exports

__all__ = [
    "WEIGHTS",
    "DualEncoder",
    "StoreWarning",
    "Stored",
    "TextWarning",
    "Truncation",
    "WeightsError",
    "best_device",
    "cast",
    "load_encoder",
    "load_mini",
    "main_encoder",
    "shipped",
]
__getattr__ = exports(
    __name__,
    base="DualEncoder",
    device="best_device",
    loading="cast load_encoder main_encoder",
    mini="WEIGHTS WeightsError load_mini shipped",
    store="StoreWarning Stored",
    tokenizer="TextWarning",
    truncation="Truncation",
)
