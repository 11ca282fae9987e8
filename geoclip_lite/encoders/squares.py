"""What an image tower looks at: pictures made ready by others than the encoder.

A square is small, whatever the picture was, and making it is most of the work of preparing a picture. Pillow
does it without holding up other threads, so it can be done beside the encoder.
"""

from __future__ import annotations

from PIL import Image

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import MiniClip, square


def square_of(encoder: DualEncoder, image: Image.Image) -> Image.Image:
    """The part of a picture that an encoder looks at, in its size and RGB: encoded like the picture.

    Encoders have a method `square` for it; of one that has none, whose preparation is not known, it is the
    picture itself.
    """
    if hasattr(encoder, "square"):
        return encoder.square(image)
    return square(image) if isinstance(encoder, MiniClip) else image
