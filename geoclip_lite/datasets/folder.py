"""Pictures of your own: every one in a folder becomes a scene.

The caption of `red cube.jpg` is what `red cube.txt` beside it says, else the words of the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps

from geoclip_lite.scenes import Scene

T = TypeVar("T")
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read(folder: Path | str) -> list[Scene]:
    """The pictures of a folder and the folders in it, in the order of their paths; the paths are their ids.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it, one that cannot be read, or a caption that is empty or not UTF-8.
    """
    return [_scene(path, path.relative_to(folder).as_posix()) for path in walk(folder)]


def walk(folder: Path | str) -> Iterator[Path]:
    """The files of the pictures in a folder and the folders in it, in the order of their paths.

    Hidden files and folders are passed over, as are files whose name does not end like a picture's. What is
    found is not held in memory.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: there is no folder {folder}")
    path = None
    for path in _walk(folder):
        yield path
    if path is None:
        raise ValueError(f"folder: {folder} holds no picture ({', '.join(PICTURES)})")


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.is_dir():
            yield from () if path.is_symlink() else _walk(path)  # a link may lead back to where it lies
        elif is_picture(path):
            yield path


def is_picture(path: Path) -> bool:
    """A file that is not hidden and whose name ends like a picture's.

    Archivers of some systems leave a hidden `._12.jpg` beside every picture.
    """
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def _scene(path: Path, image_id: str) -> Scene:
    """The scene of one picture. A broken file is mostly found out now, a truncated one when it is drawn."""
    _read(path, Image.Image.verify)
    return Scene(image_id, caption(path), objects=(), draw=partial(draw, path))


def draw(path: Path, size: int | None = None) -> Image.Image:
    """The picture upright, in RGB and in its own size; the size asked for is left to the encoder.

    Raises:
        ValueError: the file is damaged.
    """
    return _read(path, lambda image: ImageOps.exif_transpose(image).convert("RGB"))


def caption(path: Path) -> str:
    """What the text file beside a picture says, else the words of the picture's name.

    Raises:
        ValueError: the text file is empty or not UTF-8.
    """
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return re.sub(r"[\W_]+", " ", path.stem).strip() or path.stem
    try:
        text = " ".join(beside.read_text("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise ValueError(f"{beside} is not UTF-8 ({error}): save it as UTF-8") from error
    if not text:
        raise ValueError(f"{beside} is empty: write a caption, or remove it to caption by the picture's name")
    return text


def stamp(path: Path) -> str:
    """Size and time of the last change of a file, in bytes and nanoseconds: costs no reading.

    Raises:
        FileNotFoundError: no such file.
    """
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _read(path: Path, use: Callable[[Image.Image], T]) -> T:
    """What is made of the open file, with one kind of error for all that Pillow may raise."""
    try:
        with Image.open(path) as image:
            return use(image)
    except Exception as error:  # a damaged file leads to OSError, SyntaxError, struct.error and more
        raise ValueError(f"{path} is no readable picture ({error}): replace it or take it away") from error
