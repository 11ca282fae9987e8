"""What every chapter asks of an encoder: two towers, one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jaxtyping import Float
from PIL import Image
from torch import Tensor


class DualEncoder(Protocol):
    """A text tower and an image tower that map into the same unit sphere.

    Attributes:
        name: as `load_encoder` knows it.
        dim: length of the vectors.
        image_size: side of the square picture, in pixels, that the image tower looks at.
    """

    name: str
    dim: int
    image_size: int

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "texts dim"]:
        """One unit vector a text."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Float[Tensor, "images dim"]:
        """One unit vector an image."""
        ...
