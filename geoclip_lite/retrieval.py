"""Pointwise retrieval: one cosine per item, the best k first (the paper's equation 1).

Gallery    the items of a search, as unit vectors, with the scenes that they show
Ranking    for each query, item numbers and scores, best first: what every first stage returns and what
           every reranker takes and returns
shortlist  queries x Gallery -> Ranking, exact, in bounded memory
bag_ranking  the best that a retriever without attribute binding could do
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.inputs import check_scenes
from geoclip_lite.relevance import counts, pairs_of, shared
from geoclip_lite.scenes import Scene

DRAWN_AT_ONCE = 256  # pictures in memory while a gallery is encoded
QUERIES_AT_ONCE = 1024
FIRST_CHUNK = 512
ROUNDING = 1e-3  # how far a unit vector's length may be from 1; half precision reaches 5e-4


# --- what is searched -----------------------------------------------------------------------------


def unit_rows(vectors: Tensor, name: str) -> Float[Tensor, "rows dim"]:
    """The rows, each divided by its length. Double precision stays, anything else becomes float32.

    Args:
        name: how an error should call the argument.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if it is no matrix, has no rows, or a row is zero or holds NaN or infinity.
    """
    if not isinstance(vectors, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(vectors).__name__}: use torch.as_tensor")
    if vectors.ndim != 2 or vectors.numel() == 0:
        raise ValueError(
            f"{name} must be a non-empty matrix, one vector a row, got shape {tuple(vectors.shape)}"
        )
    vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    bad = ~(norms.isfinite() & (norms > 0))
    if bad.any():
        row = int(bad[:, 0].nonzero()[0])
        raise ValueError(
            f"{name} must have rows of finite, non-zero length, got length {float(norms[row])} in row {row}"
            f" ({int(bad.sum())} such rows): look for NaN, infinity or empty inputs upstream"
        )
    return vectors / norms


@dataclass(frozen=True)
class Gallery:
    """The items of a search: pictures (text-to-image) or captions (image-to-text), one unit vector each.

    Args:
        vectors: unit rows; `unit_rows` makes them.
        scenes: what each row shows or describes, in the same order.

    Raises:
        ValueError: if the two differ in length, or a row is not of length 1.
    """

    vectors: Float[Tensor, "items dim"]
    scenes: tuple[Scene, ...]

    def __post_init__(self):
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.scenes) or not self.scenes:
            shape = tuple(self.vectors.shape)
            raise ValueError(
                f"a gallery needs one vector per scene, got {shape} for {len(self.scenes)} scenes"
            )
        error = (torch.linalg.vector_norm(self.vectors, dim=1) - 1).abs()
        if not (error < ROUNDING).all():  # NaN fails the comparison too
            row = int((~(error < ROUNDING)).nonzero()[0])
            raise ValueError(
                f"vectors must be unit rows, row {row} is not: pass them through unit_rows first"
            )

    @classmethod
    def of_images(cls, encoder: DualEncoder, scenes: Sequence[Scene]) -> Gallery:
        """The pictures of the scenes, drawn at the size the encoder looks at, a few at a time."""
        scenes = check_scenes(scenes)
        starts = range(0, len(scenes), DRAWN_AT_ONCE)
        drawn = ([s.image(encoder.image_size) for s in scenes[i : i + DRAWN_AT_ONCE]] for i in starts)
        vectors = [encoder.encode_images(pictures) for pictures in drawn]
        return cls(torch.cat(vectors) if vectors else torch.empty(0, 0), tuple(scenes))

    @classmethod
    def of_texts(cls, encoder: DualEncoder, scenes: Sequence[Scene]) -> Gallery:
        """The captions of the scenes, for image-to-text retrieval."""
        scenes = check_scenes(scenes)
        vectors = encoder.encode_texts([scene.caption for scene in scenes]) if scenes else torch.empty(0, 0)
        return cls(vectors, tuple(scenes))


# --- what a search returns ------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranking:
    """For each query the numbers of k gallery items and their scores, best first.

    Equal scores are a tie: their order here is fixed but means nothing, and `metrics` takes the expected
    value over it.

    Args:
        indices: which items, as int64, none twice in a row.
        scores: higher is better; never NaN, minus infinity is allowed.
        gallery_size: out of how many items.
        oracle: whether annotations of the candidates were read.
        transductive: whether other test queries were read.
        method: for tables and legends.

    Raises:
        ValueError: if any of this does not hold.
    """

    indices: Int[Tensor, "queries k"]
    scores: Float[Tensor, "queries k"]
    gallery_size: int
    oracle: bool = False
    transductive: bool = False
    method: str = "cosine"

    def __post_init__(self):
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape or self.indices.numel() == 0:
            shapes = f"{tuple(self.indices.shape)} and {tuple(self.scores.shape)}"
            raise ValueError(f"indices and scores must be two equal, non-empty matrices, got {shapes}")
        if self.indices.dtype != torch.int64:
            raise ValueError(f"indices must be int64, got {self.indices.dtype}: use indices.long()")
        if self.indices.min() < 0 or self.indices.max() >= self.gallery_size:
            raise ValueError(f"indices must be 0 to {self.gallery_size - 1}, below gallery_size")
        if not (self.scores[:, 1:] <= self.scores[:, :-1]).all() or self.scores.isnan().any():
            raise ValueError(
                "scores must fall along each row and hold no NaN: build it by of_scores or rescored"
            )
        ordered = self.indices.sort(dim=1).values
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise ValueError("an item may stand in a query's ranking once, got a repeated index")

    @property
    def k(self) -> int:
        """How many items each query got."""
        return self.indices.shape[1]

    @classmethod
    def of_scores(cls, scores: Float[Tensor, "queries items"], k: int | None = None, **about) -> Ranking:
        """The best k (default: all) by a score for every item; equal scores by the lower index.

        Args:
            about: `oracle`, `transductive`, `method`.
        """
        if scores.ndim != 2:
            raise ValueError(f"scores must be queries x items, got shape {tuple(scores.shape)}")
        _check_k(k if k is not None else 1, scores.shape[-1])
        ordered, indices = scores.sort(dim=1, descending=True, stable=True)
        return cls(indices[:, :k], ordered[:, :k], scores.shape[1], **about)

    def rescored(self, scores: Float[Tensor, "queries k"], method: str, **about: bool) -> Ranking:
        """The same candidates, reranked: `scores[q, i]` is the new score of `indices[q, i]`.

        Equal scores keep the order of this ranking. `oracle` and `transductive` stay set once they are.
        """
        if scores.shape != self.indices.shape:
            shapes = f"{tuple(self.indices.shape)}, got {tuple(scores.shape)}"
            raise ValueError(f"scores must have one entry per candidate, {shapes}")
        ordered, order = scores.sort(dim=1, descending=True, stable=True)
        flags = {flag: getattr(self, flag) or about.get(flag, False) for flag in ("oracle", "transductive")}
        return replace(self, indices=self.indices.gather(1, order), scores=ordered, method=method, **flags)

    def top(self, k: int) -> Ranking:
        """The first k columns. A tie that the cut divides cannot be told from no tie afterwards."""
        _check_k(k, self.k)
        return replace(self, indices=self.indices[:, :k], scores=self.scores[:, :k])


# --- first stages ---------------------------------------------------------------------------------


@torch.no_grad()
def shortlist(
    queries: Float[Tensor, "queries dim"],
    gallery: Gallery | Float[Tensor, "items dim"],
    k: int,
    *,
    chunk: int = 2048,
) -> Ranking:
    """The k items with the highest cosine, for each query: exact, on the CPU or a GPU.

    The gallery is walked `chunk` items at a time. Only scores above a query's k-th best so far are kept, so
    memory is bounded by the chunk, whatever the gallery holds: at most 1024 queries x chunk scores at once.

    The cosines of the winners are computed once more, alone, in a fixed order of additions. So equal vectors
    have equal scores, equal scores stand in the order of the gallery, and neither depends on the chunk. Only
    which items stand on either side of the cut can, where their cosines agree to rounding (about 1e-7).

    Args:
        queries: any length, on the same device as the gallery.
        gallery: or just its vectors, which then may have any length.
        chunk: items scored at a time.

    Raises:
        ValueError: for k or chunk out of range, vectors of different length, NaN, infinity or zero rows.
    """
    queries = unit_rows(queries, "queries").float()
    items = gallery.vectors.float() if isinstance(gallery, Gallery) else unit_rows(gallery, "gallery").float()
    if queries.shape[1] != items.shape[1]:
        lengths = f"{queries.shape[1]} against {items.shape[1]}"
        raise ValueError(f"queries and gallery must come from one space, got vectors of length {lengths}")
    _check_k(k, len(items))
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 item, got {chunk}")
    found = [_best(block, items, k, chunk) for block in queries.split(QUERIES_AT_ONCE)]
    indices, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Ranking(indices, scores, gallery_size=len(items))


def bag_ranking(
    queries: Sequence[Scene], gallery: Sequence[Scene], slots: Collection[str], k: int | None = None
) -> Ranking:
    """A ceiling for retrieval without binding: minus the L1 distance between counts of attribute values.

    This retriever knows without error how often each value of the named slots occurs in query and image (two
    red, one blue, two circles, one star) but not what goes with what. Images that differ by binding alone
    tie. It reads the candidates' annotations, hence `oracle`.

    Args:
        slots: e.g. ("colour", "noun"), or ("colour",) for a retriever that sees colours only.
        k: how many to return; None: the whole gallery.

    Raises:
        ValueError: if no object of the gallery has one of the slots.
    """
    wanted, shown = ([pairs_of(scene, slots) for scene in scenes] for scenes in (queries, gallery))
    pairs = sorted({pair for bag in [*wanted, *shown] for pair in bag})
    if unknown := set(slots) - {slot for bag in shown for slot, _ in bag}:
        raise ValueError(
            f"no object of the gallery has the slots {sorted(unknown)}: use those of SceneObject.slots"
        )
    columns = {pair: column for column, pair in enumerate(pairs)}
    a, b = counts(wanted, columns), counts(shown, columns)
    distances = a.sum(1)[:, None] + b.sum(1)[None, :] - 2 * shared(a, b)  # |a - b| = a + b - 2 min(a, b)
    return Ranking.of_scores(0 - distances, k, oracle=True, method=f"bag of {' and '.join(slots)}")


# --- the walk along the gallery -------------------------------------------------------------------
#
# A score and an item number are packed into one integer, larger for a better score and, between equal
# scores, for a lower number. All keys of a row differ, so the best k of them are one definite set.

LAST = 0xFFFFFFFF  # the highest number that 32 bits hold


def _best(
    queries: Float[Tensor, "queries dim"], items: Float[Tensor, "items dim"], k: int, chunk: int
) -> tuple[Int[Tensor, "queries k"], Float[Tensor, "queries k"]]:
    """Numbers and cosines of each query's best k items."""
    nothing = _keys(queries.new_tensor(-torch.inf), torch.tensor(LAST, device=queries.device))
    best = nothing.expand(len(queries), k)
    for start, stop in _chunks(len(items), chunk):
        scores = queries @ items[start:stop].T
        rows, columns = _above(scores, _scores(best.amin(dim=1, keepdim=True)))
        if len(rows):
            entries = _keys(scores[rows, columns], columns + start)
            candidates = torch.cat([best, _table(rows, entries, len(queries), nothing)], dim=1)
            best = candidates.topk(k, sorted=False).values
    indices = LAST - (best & LAST)
    best = _keys(_cosines(queries, items, indices), indices).sort(dim=1, descending=True).values
    return LAST - (best & LAST), _scores(best)


def _chunks(total: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Each chunk as large as all before it, up to `chunk`: while the bar is low, much passes it."""
    start = 0
    while start < total:
        stop = min(total, start + min(chunk, max(start, FIRST_CHUNK)))
        yield start, stop
        start = stop


def _above(
    scores: Float[Tensor, "queries width"], bars: Float[Tensor, "queries 1"]
) -> tuple[Int[Tensor, " entries"], Int[Tensor, " entries"]]:
    """Row and column of every score above its row's bar. Few are, so eight are looked at as one word."""
    hits = scores > bars
    if hits.shape[1] % 8:
        return hits.nonzero(as_tuple=True)
    rows, words = hits.view(torch.int64).nonzero(as_tuple=True)
    entries, offsets = hits.view(len(hits), -1, 8)[rows, words].nonzero(as_tuple=True)
    return rows[entries], words[entries] * 8 + offsets


def _keys(scores: Float[Tensor, "*shape"], indices: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: minus zero equals zero, but not in bits
    return (_ordered(bits).long() << 32) | (LAST - indices)


def _scores(keys: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return _ordered((keys >> 32).int()).view(torch.float32)


def _ordered(bits: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Bits of floats -> integers in the same order, and back. Below zero, bits grow as the float falls."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _table(
    rows: Int[Tensor, " entries"], entries: Int[Tensor, " entries"], n_rows: int, filler: Int[Tensor, ""]
) -> Int[Tensor, "queries width"]:
    """Entries, sorted by row, as a matrix with the filler behind each row's own."""
    sizes = torch.bincount(rows, minlength=n_rows)
    starts = sizes.cumsum(0) - sizes
    table = filler.repeat(n_rows, int(sizes.max()))
    table[rows, torch.arange(len(rows), device=rows.device) - starts[rows]] = entries
    return table


def _cosines(
    queries: Float[Tensor, "queries dim"],
    items: Float[Tensor, "items dim"],
    indices: Int[Tensor, "queries k"],
) -> Float[Tensor, "queries k"]:
    """Cosines of the given items. Unlike a matrix product, a sum along a row ignores the other rows."""
    at_once = max(1, 2**19 // (indices.shape[1] * items.shape[1]))  # 2 MB of products
    blocks = zip(queries.split(at_once), indices.split(at_once), strict=True)
    return torch.cat([(items[near] * query[:, None]).sum(dim=-1) for query, near in blocks])


def _check_k(k: int, available: int) -> None:
    if not 1 <= k <= available:
        raise ValueError(f"k must be 1 to {available} (as many as there are items), got {k}")
