"""Pictures as a browser shows them, without what cameras write into them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from geoclip_lite.files import write_atomically
from geoclip_lite.images import reduced

MAX_PIXELS = 40_000_000  # of a picture from a stranger, once unpacked: 120 MB
SIZES = {  # pixels of the longer side, and how a picture is saved
    "small": (512, {"format": "WEBP", "quality": 80, "method": 2}),
    "full": (2048, {"format": "JPEG", "quality": 90}),
}
Source = Path | bytes


def version_of(stamp: str) -> str:
    """A part of a picture's address: another picture, another address."""
    return sha256(stamp.encode()).hexdigest()[:16]


def rendered(source: Source, size: str) -> bytes:
    """A picture in one of the sizes."""
    side, options = SIZES[size]
    file = io.BytesIO()
    reduced(source, side).save(file, **options)
    return file.getvalue()


class Thumbnails:
    """A cache in a folder. Its files are called by digests: no name from outside becomes a path."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, name: str, version: str, source: Callable[[], Source]) -> bytes:
        """A thumbnail, made if it is not there; where there is no room for it, it is not kept."""
        path = self.folder / f"{self._digest(name)}-{version}.webp"
        with suppress(OSError):
            return path.read_bytes()
        content = rendered(source(), "small")
        with suppress(OSError):
            write_atomically(path, content)
        return content

    def drop(self, name: str) -> None:
        """Forgets a picture in all its versions."""
        for path in self.folder.glob(f"{self._digest(name)}-*"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forgets all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _digest(self, name: str) -> str:
        return sha256(name.encode()).hexdigest()
