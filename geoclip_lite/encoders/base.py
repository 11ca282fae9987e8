"""What every chapter asks of an encoder: two towers, one space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

PIXELS_AT_ONCE = 64 * 224**2


class DualEncoder(Protocol):
    """A text tower and an image tower that map into the same unit sphere.

    Wherever an encoder computes, its vectors are float32 and on the CPU.

    Attributes:
        name: as `load_encoder` knows it.
        dim: length of the vectors.
        image_size: side of the square picture, in pixels, that the image tower looks at.
        templates: sentences with a "{}" for a phrase, of the kind that the text tower was trained on.
    """

    name: str
    dim: int
    image_size: int
    templates: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for two encoders only if they give each text and each picture the same vector.

        But for rounding: one encoder on a GPU and on a CPU is the same encoder.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "texts dim"]:
        """One unit vector a text."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Float[Tensor, "images dim"]:
        """One unit vector an image."""
        ...


def fingerprint(model: nn.Module, about: dict[str, object]) -> str:
    """A checksum of all that a vector depends on besides its text or picture.

    Args:
        model: its weights and running statistics count, with their names, types and shapes.
        about: the rest (preprocessing, vocabulary), as JSON can hold it.
    """
    about = about | {"device": "cpu"}  # whichever computes: so it is written in the indexes that there are
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def at_once(image_size: int) -> int:
    """How many pictures of this many pixels a side an image tower is given at a time, at most 128."""
    return max(1, min(128, PIXELS_AT_ONCE // image_size**2))
