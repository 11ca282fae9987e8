"""The report on residual adapters: a shop's queries before and after training on the shop's titles.

The report's own shop was not published; a drawn one (chapter 10) stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import UInt8
from torch import Tensor

from geoclip_lite import adapters
from geoclip_lite.adapters import Pairs, Recipe, ZeroShot
from geoclip_lite.datasets.products import shop
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.retrieval import Ranking
from geoclip_lite.scorecard.benchmark import Asking

LISTINGS = {"training": 2000, "validation": 500, "items": 1000}
OF_EACH_KIND = 100  # queries
ARMS = {
    "two-tower, margin": Recipe(architecture="two-tower", loss="margin"),
    "residual, InfoNCE": Recipe(),
}


@dataclass(frozen=True)
class Shop(Asking):
    """A benchmark with listings to train on, which share no photograph with those that are searched.

    Args:
        queries, items, left_out: as of a `Benchmark`.
        training, validation: listings whose titles and photographs are pairs.
    """

    name: str
    queries: tuple[shop.Query, ...]
    items: tuple[shop.Listing, ...]
    training: tuple[shop.Listing, ...]
    validation: tuple[shop.Listing, ...]
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    graded: ClassVar[bool] = False

    @classmethod
    def drawn(cls, of_each_kind: int = OF_EACH_KIND, **listings: int) -> Shop:
        """Products of chapter 10.

        Args:
            of_each_kind: queries of each kind.
            listings: how many, by part; see `LISTINGS`.
        """
        sizes = LISTINGS | listings
        parts = {name: tuple(shop.catalogue(n, seed)) for seed, (name, n) in enumerate(sizes.items())}
        return cls("products", tuple(shop.queries(parts["items"], of_each_kind, seed=1)), **parts)

    def relevant(self) -> UInt8[Tensor, "queries items"]:
        """The listings that satisfy a query."""
        return shop.relevance(self.queries, self.items)

    def groups(self) -> list[str]:
        """Every query by itself: each is drawn anew, and none has a picture of its own."""
        return [f"query {number}" for number in range(len(self.queries))]


def adapted(encoder: DualEncoder, benchmark: Shop, seed: int) -> Iterator[tuple[str, str, Ranking]]:
    """The frozen encoder, a naive adapter, and the residual one.

    Args:
        seed: of weights and batches.
    """
    gallery, texts = _photographs(encoder, benchmark.items), encoder.encode_texts(_words(benchmark.queries))
    train, validation = (_pairs(encoder, part) for part in (benchmark.training, benchmark.validation))
    yield "plain", "none", adapters.search(ZeroShot(), texts, gallery)
    for name, recipe in ARMS.items():
        [fitted] = adapters.fit(train, validation, [recipe.but(seed=seed)], progress=False)
        yield "adapted", name, adapters.search(fitted.adapter, texts, gallery)


def _pairs(encoder: DualEncoder, listings: Sequence[shop.Listing]) -> Pairs:
    titles = [listing.title for listing in listings]
    numbers = [listing.number for listing in listings]
    return Pairs.of(_photographs(encoder, listings), encoder.encode_texts(titles), numbers, titles)


def _photographs(encoder: DualEncoder, listings: Sequence[shop.Listing]) -> Tensor:
    return encoder.encode_images([listing.scene().image(encoder.image_size) for listing in listings])


def _words(queries: Sequence[shop.Query]) -> list[str]:
    return [query.text for query in queries]
