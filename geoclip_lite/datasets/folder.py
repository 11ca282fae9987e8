"""Pictures of your own: every one in a folder becomes a scene.

The caption of `red cube.jpg` is what `red cube.txt` beside it says, else the words of the file's name.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from geoclip_lite import images
from geoclip_lite.scenes import Scene

T = TypeVar("T")
Damaged = Literal["refuse", "skip"]
NAMED = 20  # files that a sentence about what is left out names; the rest is counted


class LeftOutWarning(UserWarning):
    """Some files of a folder are not among its pictures."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not among the pictures, and why.

    Args:
        name: its path in the folder, with slashes.
        reason: a sentence that names the file and says what to do.
        damaged: whether it is a picture that cannot be used. Others are links that lead nowhere or back,
            folders that cannot be opened, and pictures in formats that are not decoded.
    """

    name: str
    reason: str
    damaged: bool = False


def read(folder: Path | str, damaged: Damaged = "refuse") -> list[Scene]:
    """The pictures of a folder and the folders in it, in the order of their paths; the paths are their ids.

    A `LeftOutWarning` names what `walk` passes over, and what is damaged if it is skipped.

    Args:
        damaged: what to do about a picture that cannot be read, or whose caption is empty or not UTF-8.
            "refuse" reads the heads, and so finds what is cut off only when it is drawn; "skip" decodes every
            picture once, so that those that are returned can be drawn.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it, or one that is damaged and is refused.
    """
    if damaged not in ("refuse", "skip"):
        raise ValueError(f"damaged must be 'refuse' or 'skip', got {damaged!r}")
    scenes, left_out = [], []
    for path in walk(folder, left_out):
        name = path.relative_to(folder).as_posix()
        try:
            draw(path) if damaged == "skip" else check(path)
            scenes.append(Scene(name, caption(path), objects=(), draw=partial(draw, path)))
        except ValueError as error:
            left_out.append(left(name, error))
            if damaged == "refuse" and left_out[-1].damaged:
                raise
    if not scenes:
        raise ValueError(f"folder: {shown(folder)} holds no picture that can be read; {told(left_out)}")
    if left_out:
        warnings.warn(told(left_out), LeftOutWarning, stacklevel=2)
    return scenes


def walk(folder: Path | str, left_out: list[LeftOut] | None = None) -> Iterator[Path]:
    """The files of the pictures in a folder and the folders in it, in the order of their paths.

    A linked folder is read like any other, unless it is read under another path, too. Hidden files and
    folders are passed over, as are files whose name does not end like a picture's. What is found is not held
    in memory.

    Args:
        left_out: what might have been a picture, or held some, and is passed over is added to it.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it.
    """
    folder, path, left_out = Path(folder), None, [] if left_out is None else left_out
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: there is no folder {shown(folder)}")

    def leave(path: Path, why: str) -> None:
        left_out.append(LeftOut(path.relative_to(folder).as_posix(), f"{shown(path)} {why}"))

    for path in _walk(folder, folder, set(), leave):
        yield path
    if path is None:
        kinds = ", ".join(images.SUFFIXES)
        others = f"; {told(left_out)}" if left_out else ""
        raise ValueError(f"folder: {shown(folder)} holds no picture ({kinds}){others}")


def _walk(folder: Path, root: Path, seen: set[Path], leave: Callable[[Path, str], None]) -> Iterator[Path]:
    try:
        seen.add(folder.resolve())
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return leave(folder, f"cannot be opened ({error.strerror}): let it be read, or take it away")
    for path in paths:
        suffix = path.suffix.lower()
        if os.path.isdir(path):  # Path.is_dir raises where a folder may not be looked into
            if _is_read_elsewhere(path, root, seen):
                leave(path, "leads to a folder that is read under another path")
            else:
                yield from _walk(path, root, seen, leave)
        elif suffix in images.SUFFIXES and os.path.isfile(path):
            yield path
        elif images.OTHERS.fullmatch(suffix):
            leave(path, f"is {suffix[1:].upper()}, which is {images.ADVICE}")
        elif suffix in images.SUFFIXES or not os.path.exists(path):
            leave(path, "leads to no file that can be read: mend the link, or take it away")


def _is_read_elsewhere(path: Path, root: Path, seen: set[Path]) -> bool:
    """Whether a link leads to what is read anyway: around itself, elsewhere in root, or where one has led."""
    real, top = path.resolve(), root.resolve()
    if real in seen or top.is_relative_to(real):
        return True
    return is_read(real, top) and real != top / path.relative_to(root)


def is_read(path: Path, root: Path) -> bool:
    """Whether `walk` comes past a path: it lies in root, and no folder on the way is hidden."""
    real, top = path.resolve(), root.resolve()
    return real.is_relative_to(top) and not any(p.startswith(".") for p in real.relative_to(top).parts)


def is_picture(path: Path) -> bool:
    """A file that is not hidden and whose name ends like a picture's.

    Archivers of some systems leave a hidden `._12.jpg` beside every picture.
    """
    return path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".") and path.is_file()


def check(path: Path) -> None:
    """Reads a picture's head: finds out what is no picture, but not what is cut off later.

    Raises:
        PictureError: the file is damaged, or of a format that is not decoded.
    """
    _naming(path, partial(images.opened, path, lambda image: None))


def draw(path: Path, size: int | None = None) -> Image.Image:
    """The picture as `images.read` reads it, in its own size; the size asked for is left to the encoder.

    Raises:
        PictureError: the file is damaged, or of a format that is not decoded.
    """
    return _naming(path, partial(images.read, path))


def _naming(path: Path, use: Callable[[], T]) -> T:
    try:
        return use()
    except images.PictureError as error:
        advice = "replace it or take it away"
        raise type(error)(f"{shown(path)} is no readable picture ({error}): {advice}") from error


def caption(path: Path) -> str:
    """What the text file beside a picture says, else the words of the picture's name.

    Raises:
        ValueError: the text file is empty or not UTF-8, or cannot be read.
    """
    beside = path.with_suffix(".txt")
    if not os.path.isfile(beside):
        return re.sub(r"[\W_]+", " ", path.stem).strip() or path.stem
    try:
        text = " ".join(beside.read_text("utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{shown(beside)} is not UTF-8 ({error}): save it as UTF-8") from error
    if "\0" in text:  # UTF-16 without a mark
        raise ValueError(f"{shown(beside)} is not UTF-8 (it holds NUL): save it as UTF-8")
    if not text:
        raise ValueError(
            f"{shown(beside)} is empty: write a caption, or remove it to caption by the picture's name"
        )
    return text


def stamp(path: Path) -> str:
    """Size and time of the last change of a file, in bytes and nanoseconds: costs no reading.

    Raises:
        FileNotFoundError: no such file.
    """
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


# --- what is left out -----------------------------------------------------------------------------


def left(name: str, error: ValueError) -> LeftOut:
    """A picture that cannot be used, by what its reading raised."""
    return LeftOut(name, str(error), damaged=not isinstance(error, images.OtherFormatError))


def told(left_out: Sequence[LeftOut]) -> str:
    """In words: how many, and why."""
    return f"{len(left_out):,} left out: {'; '.join(first([one.reason for one in left_out]))}"


def first(texts: Sequence[str]) -> list[str]:
    """A few of many, and how many more there are."""
    return [*texts[:NAMED], *[f"and {len(texts) - NAMED:,} more"] * (len(texts) > NAMED)]


def shown(name: Path | str) -> str:
    """A name in one line that every terminal can show."""
    return str(name) if str(name).isprintable() else repr(str(name))[1:-1]
