"""Pictures from strangers, and the copies that the service shows.

opened  a picture out of bytes that nobody vouches for
fitted  a picture in the size that is kept
Shelf   a copy of every picture, named by its content
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from geoclip_lite.files import write_atomically
from geoclip_lite.service.limits import FORMATS, MOST_PIXELS

SIDE = 640  # pixels of a copy's longer side


class BadPictureError(ValueError):
    """Bytes that are no picture, or a picture that cannot be read."""


class UnknownFormatError(BadPictureError):
    """No picture at all, as far as can be told."""


class TooManyPixelsError(BadPictureError):
    """A picture that would unpack to more than the memory that there is for it."""


def opened(content: bytes) -> Image.Image:
    """The picture upright and in RGB; of a moving one the first frame.

    What it would unpack to is known from its head, before a pixel is read.

    Raises:
        UnknownFormatError, TooManyPixelsError, BadPictureError: see there.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=list(FORMATS.values()))
    except UnidentifiedImageError as error:
        names = ", ".join(FORMATS.values())
        raise UnknownFormatError(f"these {len(content):,} bytes are no picture: send {names}") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"the picture must have at most {MOST_PIXELS:,} pixels") from error
    except Exception as error:  # a damaged head leads to OSError, SyntaxError, struct.error and more
        raise BadPictureError(f"the picture's head cannot be read: {type(error).__name__}") from error
    with image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            size = f"{width:,} x {height:,}"
            raise TooManyPixelsError(f"the picture must have at most {MOST_PIXELS:,} pixels, it has {size}")
        try:
            return ImageOps.exif_transpose(image).convert("RGB")
        except Exception as error:
            raise BadPictureError(f"the picture is damaged or cut off: {type(error).__name__}") from error


def fitted(picture: Image.Image) -> Image.Image:
    """In RGB, and at most SIDE pixels wide or high: what is kept, encoded and shown."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small


class Shelf:
    """Copies in a folder, without what cameras write into pictures.

    A copy's key is the sha256 of its bytes. So no name from outside ever becomes a path, a copy never
    changes, and equal pictures are kept once.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def put(self, picture: Image.Image) -> str:
        """Keeps a picture as it is; returns its key."""
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=85)
        key = sha256(file.getvalue()).hexdigest()
        if not self.path(key).is_file():
            write_atomically(self.path(key), file.getvalue())
        return key

    def path(self, key: str) -> Path:
        """Where the copy of a key lies, or would lie."""
        return self.folder / key[:2] / f"{key}.webp"

    def drop(self, key: str) -> None:
        """Removes a copy; one that is not there is passed over."""
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Of all copies."""
        return (path.stem for path in self.folder.glob("??/*.webp"))
