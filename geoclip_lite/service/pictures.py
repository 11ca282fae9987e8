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

from PIL import Image

from geoclip_lite import images
from geoclip_lite.files import write_atomically
from geoclip_lite.service.limits import MOST_PIXELS

SIDE = 640  # pixels of a copy's longer side


def opened(content: bytes) -> Image.Image:
    """A picture that a stranger sent. Raises what `images.read` raises."""
    return images.read(content, MOST_PIXELS)


def fitted(picture: Image.Image) -> Image.Image:
    """In RGB, and at most SIDE pixels wide or high: what is kept, encoded and shown."""
    small = images.rgb(picture).copy()
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
