"""Training pairs: frozen vectors of pictures and of texts, and who belongs to whom."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geoclip_lite.retrieval import unit_rows


@dataclass(frozen=True)
class Pairs:
    """Pictures with a text each, as a frozen encoder sees them.

    Two pairs with one picture, or with one text word for word, are right answers to each other, and a loss
    must not push them apart: they are *multi-positive*.

    Args:
        images, texts: unit rows, a row a pair.
        image_of: number of the picture of each pair; equal numbers, one picture.
        text_of: the same for texts.
        image_names: the picture of each number.

    Raises:
        ValueError: matrices that do not fit each other, NaN or zero rows, or numbers that do not fit them.
    """

    images: Float[Tensor, "pairs dim"]
    texts: Float[Tensor, "pairs dim"]
    image_of: Int[Tensor, " pairs"]
    text_of: Int[Tensor, " pairs"]
    image_names: tuple[Hashable, ...]

    @classmethod
    def of(
        cls,
        images: Float[Tensor, "pairs dim"],
        texts: Float[Tensor, "pairs dim"],
        image_ids: Sequence[Hashable],
        captions: Sequence[str],
    ) -> Pairs:
        """From vectors of any length and the names of pictures and texts."""
        if images.ndim != 2 or images.shape != texts.shape or not len(images):
            shapes = f"{tuple(images.shape)} and {tuple(texts.shape)}"
            raise ValueError(
                f"images and texts must be two equal, non-empty matrices, a row a pair, got {shapes}"
            )
        if len(image_ids) != len(images) or len(captions) != len(images):
            sizes = f"{len(image_ids)} and {len(captions)}"
            raise ValueError(f"image_ids and captions must name each of the {len(images)} pairs, got {sizes}")
        names, image_of = _numbered(image_ids)
        _, text_of = _numbered(captions)
        return cls(unit_rows(images, "images"), unit_rows(texts, "texts"), image_of, text_of, names)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.images.shape[1]

    def first(self, n: int) -> Pairs:
        """The first n pairs."""
        if not 1 <= n <= len(self):
            raise ValueError(f"n must be 1 to {len(self)}, the number of pairs, got {n}")
        return Pairs(self.images[:n], self.texts[:n], self.image_of[:n], self.text_of[:n], self.image_names)

    def match(self, rows: Int[Tensor, "*runs batch"]) -> Bool[Tensor, "*runs batch batch"]:
        """Which pairs of a batch are right answers to each other: one picture, or one text."""
        image, text = self.image_of[rows], self.text_of[rows]
        return (image[..., None] == image[..., None, :]) | (text[..., None] == text[..., None, :])

    def pictures(self) -> set[Hashable]:
        """The names of all pictures."""
        return {self.image_names[i] for i in self.image_of.tolist()}


def refuse_shared(**parts: Pairs) -> None:
    """Sees to it that no picture is in two parts of a split.

    Raises:
        ValueError: one is; the message names the parts and a picture.
    """
    seen: dict[Hashable, str] = {}
    for name, pairs in parts.items():
        for picture in sorted(pairs.pictures(), key=str):
            if picture in seen:
                raise ValueError(
                    f"{seen[picture]} and {name} share the picture {picture!r}: "
                    "what was trained on one would be scored on a picture it has seen; split by picture"
                )
        seen |= dict.fromkeys(pairs.pictures(), name)


def _numbered(names: Iterable[Hashable]) -> tuple[tuple[Hashable, ...], Int[Tensor, " names"]]:
    """The different names, and the number of each one's."""
    names = list(names)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return tuple(numbers), torch.tensor([numbers[name] for name in names])
