"""Images by their objects: one row per object, with the image's id in a field.

The score of an image is the mean over the query's phrases of the cosine with the image's nearest object
(max-sim; Khattab and Zaharia, 2020), as in `regions.RegionIndex`. Any store can do it: it finds candidates,
their objects are read, and the scores are exact.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.index.base import MAX_K, Hits, Index, Rows, Vectors, checked_k
from geoclip_lite.index.errors import BadInputError
from geoclip_lite.index.filters import Filter
from geoclip_lite.retrieval import unit_rows

FIRST_DEPTH = 4  # times k objects are looked at per phrase, to begin with
ROUNDING = 1e-5  # by which a store's cosine may differ from ours


def search_objects(
    index: Index, phrases: Vectors, k: int, *, image: str = "image", where: Filter | None = None
) -> Hits:
    """The k images whose objects match the phrases best.

    An image none of whose objects is among a phrase's nearest n has no better cosine with it than the n-th.
    The mean over phrases bounds the score of all images not yet seen, and n doubles until the k-th best
    image is above that bound (Fagin's threshold algorithm): with an exact store the answer is exact, with
    another as good as its recall. Beyond 10,000 objects per phrase it stops with the best seen.

    Args:
        phrases: the vectors of one query's phrases.
        k: images.
        image: the field that names the image of an object.
        where: which objects count.

    Returns:
        Hits of one query, whose ids are those of images.

    Raises:
        BadInputError: a field that the index does not have or that is no text; see `Index.search`.
    """
    if index.schema.fields.get(image) is not str:
        known = ", ".join(n for n, kind in index.schema.fields.items() if kind is str) or "none"
        raise BadInputError(f"image must name a field of type str, got {image!r}: the index has {known}")
    depth, seen = FIRST_DEPTH * checked_k(k), {}
    while True:
        depth = min(depth, MAX_K)
        near = index.search(phrases, depth, where)
        names = _images(index, near, image, seen)
        seen |= _scores(
            index.matching(image, names, where), unit_rows(torch.as_tensor(phrases), "phrases"), image
        )
        best = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:k]
        everything = any(len(ids) < depth for ids in near.ids)
        if everything or depth == MAX_K or _is_settled(best, k, near):
            return Hits((tuple(name for name, _ in best),), (torch.tensor([score for _, score in best]),))
        depth *= 2


def _images(index: Index, near: Hits, image: str, seen: dict[str, float]) -> list[str]:
    """The images of the objects found, without those that have a score."""
    found = sorted({name for ids in near.ids for name in ids})
    return sorted(set(index.read(found).fields[image]) - set(seen)) if found else []


def _scores(objects: Rows, phrases: Float[Tensor, "phrases dim"], image: str) -> dict[str, float]:
    """Max-sim of each image that the objects are of."""
    rows = defaultdict(list)
    for row, name in enumerate(objects.fields[image]):
        rows[name].append(row)
    cosines = objects.vectors @ phrases.float().T
    return {name: float(cosines[numbers].amax(0).mean()) for name, numbers in rows.items()}


def _is_settled(best: list[tuple[str, float]], k: int, near: Hits) -> bool:
    """Whether no image that has not been seen can reach the k-th best."""
    bound = math.fsum(float(scores[-1]) for scores in near.scores) / len(near.scores)
    return len(best) == k and best[-1][1] >= bound + ROUNDING
