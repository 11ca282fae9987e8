"""Objects from the picture itself: reranking and search without annotations.

towers   value_map: a vector for every place, from a CLIP's own weights
tokens   value_regions, crops: parts of a picture as unit vectors; which suit an encoder; Centring
phrases  from a caption to the phrases of its objects
search   rerank, mix, RegionIndex: phrases against regions
"""

from geoclip_lite.regions.phrases import listed_phrases, noun_phrases, phrase_sets
from geoclip_lite.regions.search import RegionIndex, mix, rerank
from geoclip_lite.regions.tokens import (
    Centring,
    Cut,
    Regions,
    crops,
    suited_cut,
    to_tensor,
    value_regions,
    vision_tower,
)
from geoclip_lite.regions.towers import NoTokensError, refinements, value_map

__all__ = [
    "Centring",
    "Cut",
    "NoTokensError",
    "RegionIndex",
    "Regions",
    "crops",
    "listed_phrases",
    "mix",
    "noun_phrases",
    "phrase_sets",
    "refinements",
    "rerank",
    "suited_cut",
    "to_tensor",
    "value_map",
    "value_regions",
    "vision_tower",
]
