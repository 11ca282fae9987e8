"""What needs no training: the encoder as it is, linear maps in closed form, a cache of examples.

All have an adapter's two methods, `texts` and `images`, so one function evaluates all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.adapters.pairs import Pairs
from geoclip_lite.adapters.training import mean_reciprocal_rank
from geoclip_lite.mappers import Mapper, procrustes, ridge
from geoclip_lite.retrieval import unit_rows

Vectors = Float[Tensor, "items dim"]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
CACHE_WEIGHTS, SHARPNESS = (0.1, 0.3, 1.0, 3.0), (3.0, 10.0, 30.0)


class Adapts(Protocol):
    """Anything that moves texts and pictures."""

    def texts(self, vectors: Vectors) -> Vectors: ...

    def images(self, vectors: Vectors) -> Vectors: ...


@dataclass(frozen=True)
class ZeroShot:
    """The frozen encoder."""

    def texts(self, vectors: Vectors) -> Vectors:
        """As they are."""
        return vectors

    def images(self, vectors: Vectors) -> Vectors:
        """As they are."""
        return vectors


@dataclass(frozen=True)
class Mapped(ZeroShot):
    """Texts moved by a linear map (chapter 2); pictures stay."""

    mapper: Mapper

    def texts(self, vectors: Vectors) -> Vectors:
        """Mapped texts."""
        return self.mapper(vectors)


@dataclass(frozen=True)
class Cache(ZeroShot):
    """Texts moved towards the pictures of similar training texts, as in Tip-Adapter (Zhang et al., 2022).

    text + weight x mean of centred training pictures, weighted by exp(-sharpness (1 - cos(text, its text))).
    Tip-Adapter keeps pictures as keys and classes as values; retrieval has no classes, so keys are texts and
    values are pictures here.

    Args:
        pairs: the examples.
        weight: of what the cache says.
        sharpness: how fast an example's say falls with its distance.
    """

    pairs: Pairs
    weight: float
    sharpness: float

    def texts(self, vectors: Vectors) -> Vectors:
        """Texts with what the cache says added."""
        near = torch.softmax(self.sharpness * (vectors @ self.pairs.texts.T), dim=1)
        centred = self.pairs.images - self.pairs.images.mean(0)
        return unit_rows(vectors + self.weight * unit_rows(near @ centred, "cache"), "adapted texts")


def best_on(validation: Pairs, candidates: Sequence[Adapts]) -> Adapts:
    """The candidate with the highest mean reciprocal rank on the validation pairs."""
    match = validation.match(torch.arange(len(validation)))

    def score(candidate: Adapts) -> float:
        texts, images = candidate.texts(validation.texts), candidate.images(validation.images)
        return float(mean_reciprocal_rank(texts, images, match))

    return max(candidates, key=score)


def _ridge(train: Pairs, validation: Pairs) -> Adapts:
    return best_on(validation, [Mapped(ridge(train.texts, train.images, penalty)) for penalty in PENALTIES])


def _procrustes(train: Pairs, validation: Pairs) -> Adapts:
    return Mapped(procrustes(train.texts, train.images))


def _cache(train: Pairs, validation: Pairs) -> Adapts:
    return best_on(validation, [Cache(train, weight, s) for weight in CACHE_WEIGHTS for s in SHARPNESS])


PEERS: dict[str, Callable[[Pairs, Pairs], Adapts]] = {
    "zero-shot": lambda train, validation: ZeroShot(),
    "ridge": _ridge,
    "Procrustes": _procrustes,
    "cache": _cache,
}
