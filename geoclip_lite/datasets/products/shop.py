"""Listings with the titles that sellers write, and queries as shoppers type them.

    listing    a photograph and a title; the title leaves things out, and some of what it says is wrong
    query      what somebody typed, the products that satisfy it, and what kind of query it is

Kinds of query (the seed text of chapter 10 asks for an error analysis by type):

    category      one noun, by any of its names              "cup"
    attribute     two properties, no noun                    "something blue and dotted"
    composed      everything about one product               "small orange plain knitted plushie"
    vague         a use and a colour                         "pink gift for a child"
    misleading    composed, but the title of every product that satisfies it says something else

Relevance is decided by what a product *is*, never by its title.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from geoclip_lite.datasets.products import (
    SLOTS,
    VALUES,
    Look,
    Product,
    picture_of,
    random_look,
    random_product,
)
from geoclip_lite.scenes import Scene

SYNONYMS = {
    "bag": ("bag", "tote", "handbag"),
    "bottle": ("bottle", "flask"),
    "bowl": ("bowl", "dish"),
    "chair": ("chair", "seat"),
    "cushion": ("cushion", "pillow"),
    "hat": ("hat", "cap"),
    "lamp": ("lamp", "light"),
    "mug": ("mug", "cup"),
    "shirt": ("shirt", "tee"),
    "shoe": ("shoe", "sneaker", "trainer"),
    "toy": ("toy", "plushie", "teddy"),
    "vase": ("vase", "jar"),
}
# What people want a product for -> the categories that serve.
USES = {
    "gift for a child": ("toy",),
    "to drink from": ("mug", "bottle"),
    "to sit on": ("chair", "cushion"),
    "decoration for the shelf": ("vase", "bowl"),
    "to wear": ("hat", "shirt", "shoe"),
    "for a journey": ("bag", "bottle", "shoe"),
    "for the reading corner": ("lamp", "cushion", "chair"),
}
KINDS = ("category", "attribute", "composed", "vague", "misleading")
OMITS = {"size": 0.45, "colour": 0.2, "pattern": 0.35, "material": 0.3, "category": 0.0}  # by titles
WRONG = 0.12  # share of titles in which one slot has another value
NAMES_USE = 0.25  # share of titles that say what the product is for


@dataclass(frozen=True)
class Listing:
    """A product in the shop.

    Args:
        number: its place in the catalogue, and its picture's name.
        product: what it is.
        look: how it was photographed.
        title: what the seller wrote.
        said: slot -> value as the title has it; a slot that the title leaves out is missing.
    """

    number: str
    product: Product
    look: Look
    title: str
    said: tuple[tuple[str, str], ...]

    @property
    def is_misleading(self) -> bool:
        """Whether the title says something wrong."""
        return any(getattr(self.product, slot) != value for slot, value in self.said)

    def scene(self) -> Scene:
        """The photograph with its title as caption, and what is true as annotation."""
        return Scene(self.number, self.title, (self.product.thing(),), picture_of(self.product, self.look))


@dataclass(frozen=True)
class Query:
    """What a shopper typed.

    Args:
        text: word for word.
        kind: one of `KINDS`.
        wants: slot -> the values that will do.
    """

    text: str
    kind: str
    wants: tuple[tuple[str, tuple[str, ...]], ...]

    def accepts(self, product: Product) -> bool:
        """Whether the product is what was asked for."""
        return all(getattr(product, slot) in values for slot, values in self.wants)


def vocabulary() -> set[str]:
    """Every word of titles and queries."""
    phrases = [
        *USES,
        "something and in for the with",
        *(word for words in SYNONYMS.values() for word in words),
    ]
    return {word for phrase in phrases for word in phrase.split()} | {
        v for slot in SLOTS for v in VALUES[slot]
    }


# --- sellers --------------------------------------------------------------------------------------


def catalogue(n: int, seed: int) -> list[Listing]:
    """Seeded listings. Two seeds share no photograph."""
    rng = np.random.default_rng(seed)
    return [_listing(rng, f"products/{seed}/{i:05d}") for i in range(n)]


def _listing(rng: np.random.Generator, number: str) -> Listing:
    product = random_product(rng)
    look = random_look(product, rng)
    said = {slot: value for slot, value in product.slots().items() if rng.random() >= OMITS[slot]}
    if rng.random() < WRONG:
        slot = str(rng.choice([slot for slot in said if slot != "category"] or ["category"]))
        said[slot] = str(rng.choice([value for value in VALUES[slot] if value != said[slot]]))
    return Listing(number, product, look, _title(said, rng), tuple(said.items()))


def _title(said: dict[str, str], rng: np.random.Generator) -> str:
    """Keywords in some order, the noun by one of its names, perhaps what it is for."""
    words = [said[slot] for slot in SLOTS[:-1] if slot in said]
    rng.shuffle(words)
    category = said["category"]
    words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(SYNONYMS[category])))
    uses = [use for use, categories in USES.items() if category in categories]
    if rng.random() < NAMES_USE:
        words.append(str(rng.choice(uses)))
    return " ".join(words)


# --- shoppers -------------------------------------------------------------------------------------


def queries(listings: Sequence[Listing], n: int, seed: int) -> list[Query]:
    """n queries of every kind, each satisfied by at least one of the listings. Some texts may recur.

    Raises:
        ValueError: if no title of the listings is wrong, so that none can mislead.
    """
    rng = np.random.default_rng(seed)
    alike: dict[Product, list[Listing]] = {}
    for listing in listings:
        alike.setdefault(listing.product, []).append(listing)
    misled = [found[0] for found in alike.values() if all(listing.is_misleading for listing in found)]
    if not misled:
        raise ValueError(
            f"listings: all titles of these {len(listings)} are right, none can mislead; take more"
        )
    asked = []
    for kind in KINDS:
        source = misled if kind == "misleading" else listings
        about = [source[i].product for i in rng.integers(len(source), size=n)]
        asked += [ASK[kind](product, rng) for product in about]
    return asked


def _category(product: Product, rng: np.random.Generator) -> Query:
    return Query(_noun(product, rng), "category", (("category", (product.category,)),))


def _attribute(product: Product, rng: np.random.Generator) -> Query:
    slots = rng.choice(("colour", "pattern", "material"), 2, replace=False)
    values = [getattr(product, slot) for slot in slots]
    wants = tuple((str(slot), (value,)) for slot, value in zip(slots, values, strict=True))
    return Query(f"something {values[0]} and {values[1]}", "attribute", wants)


def _composed(product: Product, rng: np.random.Generator) -> Query:
    words = [value for slot, value in product.slots().items() if slot != "category"]
    rng.shuffle(words)
    words.insert(len(words) if rng.random() < 0.7 else 0, _noun(product, rng))
    return Query(" ".join(words), "composed", tuple((s, (v,)) for s, v in product.slots().items()))


def _vague(product: Product, rng: np.random.Generator) -> Query:
    use = str(rng.choice([use for use, categories in USES.items() if product.category in categories]))
    text = (
        f"{product.colour} {use}"
        if use.startswith(("gift", "decoration"))
        else f"something {product.colour} {use}"
    )
    return Query(text, "vague", (("colour", (product.colour,)), ("category", USES[use])))


def _misleading(product: Product, rng: np.random.Generator) -> Query:
    query = _composed(product, rng)
    return Query(query.text, "misleading", query.wants)


def _noun(product: Product, rng: np.random.Generator) -> str:
    return str(rng.choice(SYNONYMS[product.category]))


ASK: dict[str, Callable[[Product, np.random.Generator], Query]] = {
    "category": _category,
    "attribute": _attribute,
    "composed": _composed,
    "vague": _vague,
    "misleading": _misleading,
}


def relevance(asked: Sequence[Query], listings: Sequence[Listing]) -> UInt8[Tensor, "queries items"]:
    """1 where a listing's product is what was asked for."""
    columns = {slot: np.array([getattr(listing.product, slot) for listing in listings]) for slot in SLOTS}
    rows = [
        np.logical_and.reduce([np.isin(columns[s], values) for s, values in query.wants]) for query in asked
    ]
    return torch.from_numpy(np.stack(rows).astype(np.uint8))
