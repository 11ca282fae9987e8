"""What an image shows, in words: the vocabulary in which every data set of the book speaks.

A reader of a data set turns its files into `Scene`s; everything above (retrieval, metrics, rerankers)
sees scenes only and never asks where they came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class SceneObject:
    """One object: a noun and its attributes, each attribute in a named slot.

    Two objects are equal when their words are equal, so a multiset of objects can be counted.
    Where the object stands in the image is kept beside the words and does not take part in equality.

    Args:
        noun: what it is ("sphere").
        attributes: (slot, value) pairs in spoken order, e.g. (("size", "large"), ("colour", "red")).
        position: centre in the image as (x, y), fractions of width and height from the top left corner.
    """

    noun: str
    attributes: tuple[tuple[str, str], ...] = ()
    position: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def phrase(self) -> str:
        """The object in words, attributes first: "large red rubber sphere"."""
        return " ".join([*(value for _, value in self.attributes), self.noun])

    @property
    def slots(self) -> dict[str, str]:
        """All slots by name, the noun among them: {"size": "large", ..., "noun": "sphere"}."""
        return {**dict(self.attributes), "noun": self.noun}


@dataclass(frozen=True)
class Relation:
    """`objects[subject]` stands in `predicate` to `objects[object]`: (0, "left of", 1)."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True)
class Scene:
    """An image together with what it shows, in words.

    The picture is drawn or read only when asked for, so a gallery of many scenes costs no memory.

    Args:
        image_id: names the image; two scenes with one id show the same picture.
        caption: the full description.
        objects: what stands in the image.
        draw: size in pixels -> RGB image. A file reader may return the file's own size.
        relations: between objects, by index.
    """

    image_id: str
    caption: str
    objects: tuple[SceneObject, ...]
    draw: Callable[[int], Image.Image] = field(repr=False, compare=False)
    relations: tuple[Relation, ...] = ()

    def image(self, size: int = 64) -> Image.Image:
        """The picture, `size` pixels wide (64: what the mini encoders see)."""
        return self.draw(size)
