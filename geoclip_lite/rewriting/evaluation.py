"""How good a rewriter is: on the whole gallery, query by query, with inflation beside recall."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite import metrics
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.retrieval import Ranking
from geoclip_lite.rewriting.corpus import Corpus, embed
from geoclip_lite.rewriting.errors import BadRewriteError
from geoclip_lite.rewriting.policy import MAX_WORDS, Policy
from geoclip_lite.rewriting.vocabulary import split
from geoclip_lite.scenes import SceneObject

KS = (1, 5, 10)


def outcomes(corpus: Corpus, texts: Sequence[str]) -> pd.DataFrame:
    """A row a query: what its text finds, and how the text relates to right and other pictures.

    Columns:
        R@1, R@5, R@10, MRR: of the right picture in the whole gallery; a text without words finds by chance.
        right: cosine with the right picture.
        all: mean cosine with all pictures of the gallery. right - all is what tells them apart; a text whose
            two cosines are equally high is inflated.
        faithful: whether the text names exactly the wanted objects, with their colours.
        generic: whether it names no coloured shape at all.
        unknown: share of its words that the retriever never saw.
        words: how many there are.
    """
    found = _found(corpus, embed(corpus.encoder, texts))
    known = set(getattr(getattr(corpus.encoder, "tokenizer", None), "words", ()))
    split_texts = [split(text) for text in texts]
    wanted = [Counter(query.scene.objects) for query in corpus.asked.queries]
    found["faithful"] = [
        float(Counter(named_objects(text)) == objects) for text, objects in zip(texts, wanted, strict=True)
    ]
    found["generic"] = [float(not named_objects(text)) for text in texts]
    found["unknown"] = [
        sum(word not in known for word in words) / len(words) if words and known else 0.0
        for words in split_texts
    ]
    found["words"] = [float(len(words)) for words in split_texts]
    return found


def vector_outcomes(corpus: Corpus, vectors: Float[Tensor, "queries dim"]) -> pd.DataFrame:
    """The first six columns of `outcomes`, for queries that are vectors."""
    return _found(corpus, vectors)


def _found(corpus: Corpus, vectors: Float[Tensor, "queries dim"]) -> pd.DataFrame:
    scores = vectors @ corpus.vectors.T
    ranking = Ranking.of_scores(scores)
    relevant = torch.zeros_like(scores, dtype=torch.uint8).scatter_(1, corpus.right[:, None], 1)
    columns = {f"R@{k}": metrics.hit_at(ranking, relevant, min(k, ranking.k)) for k in KS}
    columns |= {"MRR": metrics.reciprocal_rank(ranking, relevant)}
    columns |= {"right": scores.gather(1, corpus.right[:, None])[:, 0], "all": scores.mean(1)}
    return pd.DataFrame({name: values.double().numpy() for name, values in columns.items()})


def named_objects(text: str) -> list[SceneObject]:
    """The coloured shapes that a text names in a caption's words: "a red circle and a star" names one.

    Colour and noun stand side by side, the colour first.
    """
    words = split(text)
    return [
        SceneObject(noun, (("colour", colour),))
        for colour, noun in pairwise(words)
        if colour in shapes.COLOURS and noun in shapes.SHAPES
    ]


# --- using a rewriter -----------------------------------------------------------------------------


def checked(rewrites: Sequence[str], queries: Sequence[str]) -> list[str]:
    """Rewrites that can be searched with.

    Raises:
        BadRewriteError: a rewrite without words, or one as long as a rewrite can be, which did not end.
    """
    for rewrite, query in zip(rewrites, queries, strict=True):
        words = len(split(rewrite))
        if not words:
            raise BadRewriteError(f"the rewrite of {query!r} has no words: search with the query itself")
        if words >= MAX_WORDS:
            raise BadRewriteError(
                f"the rewrite of {query!r} does not end, it is {rewrite!r}: search with the query itself"
            )
    return list(rewrites)


def seconds_a_query(act: Callable[[Sequence[str]], object], queries: Sequence[str]) -> float:
    """Time that `act` takes for one query, queries asked one by one; the median."""
    times = []
    for query in queries:
        started = time.perf_counter()
        act([query])
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def search_with(policy: Policy, encoder: DualEncoder, queries: Sequence[str]) -> Float[Tensor, "queries dim"]:
    """Vectors of the greedy rewrites: all that a search needs besides its gallery."""
    return embed(encoder, checked(policy.greedy(queries), queries))
