"""What an image tower looks at: pictures made ready by others than the encoder.

A square is small, whatever the picture was, and making it is most of the work of preparing a picture. Pillow
does it without holding up other threads, so it can be done beside the encoder.
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import MiniClip, square

Fit = Literal["shortest", "squash", "longest"]


def fit_of(encoder: DualEncoder) -> Fit:
    """How an encoder makes a picture square, in open_clip's words.

    shortest  its middle is looked at
    squash    all of it, squeezed
    longest   all of it, with margins
    """
    return getattr(getattr(encoder, "encoder", encoder), "fit", "shortest")


def square_size(width: int, height: int, fit: Fit) -> tuple[int, int]:
    """What lies around the middle of a picture and is looked at, in its own pixels."""
    short, long = sorted((width, height))
    return {"shortest": (short, short), "squash": (width, height), "longest": (long, long)}[fit]


def square_of(encoder: DualEncoder, image: Image.Image) -> Image.Image:
    """The part of a picture that an encoder looks at, in its size and RGB: encoded like the picture.

    Encoders have a method `square` for it; of one that has none, whose preparation is not known, it is the
    picture itself.
    """
    if hasattr(encoder, "square"):
        return encoder.square(image)
    return square(image) if isinstance(encoder, MiniClip) else image
