"""Queries and pictures as a frozen retriever sees them, and what a rewrite earns there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.tokenizer import TextWarning
from geoclip_lite.retrieval import Gallery
from geoclip_lite.rewriting.errors import SmallGalleryError
from geoclip_lite.rewriting.queries import QuerySet
from geoclip_lite.rewriting.rewards import Reward
from geoclip_lite.words import words_of

Vectors = Float[Tensor, "texts dim"]


@dataclass(frozen=True)
class Corpus:
    """A query set and the vectors of its gallery.

    Args:
        encoder: the retriever; nothing here changes it.
        asked: queries and pictures.
        vectors: of the pictures.
        right: number of each query's picture.
        near: numbers of the pictures that each query could be mistaken for; empty but for composed queries.
    """

    encoder: DualEncoder
    asked: QuerySet
    vectors: Float[Tensor, "pictures dim"]
    right: Int[Tensor, " queries"]
    near: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, encoder: DualEncoder, asked: QuerySet, known: Corpus | None = None) -> Corpus:
        """Draws and encodes the gallery.

        Args:
            known: a corpus of the same encoder, whose pictures need not be encoded again.
        """
        numbers = {scene.image_id: number for number, scene in enumerate(asked.gallery)}
        right = torch.tensor([numbers[query.scene.image_id] for query in asked.queries])
        near = tuple(tuple(numbers[s.image_id] for s in query.near) for query in asked.queries)
        return cls(encoder, asked, _vectors(encoder, asked, known), right, near)

    def candidates(
        self, queries: Sequence[int], n: int, rng: np.random.Generator
    ) -> Int[Tensor, "queries n"]:
        """n different pictures for each query: the right one first, then its near misses, then random ones.

        Raises:
            SmallGalleryError: n above the number of pictures.
            ValueError: n below 2, which leaves nothing to be ranked.
        """
        if n > len(self.vectors):
            raise SmallGalleryError(
                f"n: {n} candidates are asked for, the gallery has {len(self.vectors)} pictures: "
                "take a smaller n or a larger gallery"
            )
        if n < 2:
            raise ValueError(f"n must be 2 or more, or there is nothing to rank, got {n}")
        return torch.tensor([self._candidates(query, n, rng) for query in queries])

    def _candidates(self, query: int, n: int, rng: np.random.Generator) -> list[int]:
        drawn = rng.choice(len(self.vectors), n, replace=False).tolist()
        return list(dict.fromkeys([int(self.right[query]), *self.near[query], *drawn]))[:n]


def _vectors(encoder: DualEncoder, asked: QuerySet, known: Corpus | None) -> Float[Tensor, "pictures dim"]:
    had = (
        {}
        if known is None
        else dict(zip((s.image_id for s in known.asked.gallery), known.vectors, strict=True))
    )
    new = [scene for scene in asked.gallery if scene.image_id not in had]
    if new:
        had |= dict(
            zip((scene.image_id for scene in new), Gallery.of_images(encoder, new).vectors, strict=True)
        )
    return torch.stack([had[scene.image_id] for scene in asked.gallery])


def embed(encoder: DualEncoder, texts: Sequence[str]) -> Vectors:
    """One unit vector a text, zero for a text without words; equal texts are encoded once.

    Words that the encoder does not know are no error here: what a rewriter makes of them is to be seen.
    """
    different = [text for text in dict.fromkeys(texts) if words_of(text)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextWarning)
        encoded = encoder.encode_texts(different) if different else torch.empty(0, encoder.dim)
    of = dict(zip(different, encoded, strict=True))
    return torch.stack([of.get(text, torch.zeros(encoder.dim)) for text in texts])


def earned(
    corpus: Corpus,
    rewrites: Sequence[Sequence[str]],
    candidates: Int[Tensor, "queries n"],
    reward: Reward,
) -> Float[Tensor, "queries k"]:
    """What each of k rewrites of each query earns among the query's candidates, the right one first.

    A rewrite without words is taken to be farther from the right picture than from any other.
    """
    k = len(rewrites[0])
    texts = [text for some in rewrites for text in some]
    pictures = corpus.vectors[candidates].repeat_interleave(k, 0)
    scores = torch.einsum("rd,rnd->rn", embed(corpus.encoder, texts), pictures)
    nothing = torch.tensor([not words_of(text) for text in texts])
    scores[nothing] = 1.0
    scores[nothing, 0] = -1.0
    return reward(scores, torch.zeros(len(texts), dtype=torch.int64)).view(-1, k)
