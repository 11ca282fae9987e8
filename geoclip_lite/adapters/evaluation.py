"""What an adapter gains in its domain, and what it costs elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float, Real
from torch import Tensor

from geoclip_lite import metrics
from geoclip_lite.adapters import losses
from geoclip_lite.adapters.peers import Adapts
from geoclip_lite.retrieval import Ranking, shortlist, unit_rows

Vectors = Float[Tensor, "items dim"]
DEPTH = 100  # of rankings


@torch.no_grad()
def search(adapts: Adapts, queries: Vectors, gallery: Vectors, k: int = DEPTH) -> Ranking:
    """The k best pictures of the gallery for each query (all, if it has fewer), both adapted."""
    texts = unit_rows(adapts.texts(queries), "adapted queries")
    images = unit_rows(adapts.images(gallery), "adapted gallery")
    return shortlist(texts, images, min(k, len(gallery)))


def per_query(
    adapts: Adapts, queries: Vectors, gallery: Vectors, relevance: Real[Tensor, "queries items"]
) -> pd.DataFrame:
    """A row a query: R@1, R@5, R@10 (does the top k hold a right picture?) and MRR."""
    found = metrics.evaluate(search(adapts, queries, gallery), relevance)
    return found[["R@1", "R@5", "R@10", "MRR"]]


@torch.no_grad()
def mean_drift(adapts: Adapts, texts: Vectors, images: Vectors) -> float:
    """Mean of 1 - cosine of adapted with frozen vectors, texts and pictures alike: 0 if nothing moved."""
    moved = (losses.drift(adapts.texts(texts), texts), losses.drift(adapts.images(images), images))
    return float(sum(moved) / 2)


def by_kind(frame: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """Means per kind of query, and over all of them.

    Args:
        frame: from `per_query`.
        kinds: of each query.
    """
    means = frame.groupby(pd.Series(list(kinds), name="kind"), sort=False).mean()
    means.loc["all"] = frame.mean()
    return means
