"""Files of pictures: which of a folder are new, and what an encoder looks at in them.

A file is new if the index does not hold its path with its stamp: size and time of the last change, which cost
no reading. What they do not tell is a file that was exchanged for one of the same size with the time set
back; and a folder that was copied without its times is embedded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from geoclip_lite.datasets.folder import LeftOut, draw, left, shown, stamp, walk
from geoclip_lite.index import BadInputError, Index
from geoclip_lite.index.base import MAX_ID
from geoclip_lite.index.filters import check_text

NARROWEST = 1000  # scaled to a square's height, a strip of one pixel by 60,000 would fill the memory
FIELDS = {"stamp": str}  # of an index that is filled from a folder


@dataclass(frozen=True)
class File:
    """A picture's file.

    Args:
        name: its path in the folder, with slashes: the id in the index.
        stamp: changes when the content does.
    """

    name: str
    stamp: str


@dataclass(frozen=True)
class Batch:
    """Some files, as far as they could be read.

    Args:
        files: that could be read.
        squares: what the encoder looks at in them.
        left_out: the others.
    """

    files: tuple[File, ...]
    squares: tuple[Image.Image, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Embedded:
    """The same with a vector, or several, for every file."""

    files: tuple[File, ...]
    vectors: Float[Tensor, "files ..."]
    left_out: tuple[LeftOut, ...]


T = TypeVar("T")
Encode = Callable[[Sequence[Image.Image]], Tensor]  # the first dimension counts the pictures
Look = Callable[[Sequence[File]], Batch]


def files(folder: Path, left_out: list[LeftOut] | None = None) -> Iterator[File]:
    """The pictures of a folder; see `datasets.folder.walk`."""
    for path in walk(folder, left_out):
        with suppress(FileNotFoundError):  # gone since it was found
            yield File(path.relative_to(folder).as_posix(), stamp(path))


def new(some: list[File], index: Index) -> list[File]:
    """Those that the index does not hold as they are."""
    found = index.matching("id", [file.name for file in some if _storable(file.name)])
    stamps = dict(zip(found.ids, found.fields["stamp"], strict=True))
    return [file for file in some if stamps.get(file.name) != file.stamp]


def _storable(name: str) -> bool:
    try:
        check_text(name, "the path", MAX_ID)
    except BadInputError:
        return False
    return True


def read(folder: Path, square: Callable[[Image.Image], Image.Image], some: Sequence[File]) -> Batch:
    """Squares from files. What cannot be read, or has a name that no index takes, is set aside."""
    good, squares, left_out = [], [], []
    for file in some:
        try:
            squares.append(_square(folder, square, file))
            good.append(file)
        except ValueError as error:
            left_out.append(left(file.name, error))
    return Batch(tuple(good), tuple(squares), tuple(left_out))


def _square(folder: Path, square: Callable[[Image.Image], Image.Image], file: File) -> Image.Image:
    check_text(file.name, "the path", MAX_ID)
    picture = draw(folder / file.name)
    if max(picture.size) > NARROWEST * min(picture.size):
        size = f"{picture.width} x {picture.height}"
        raise ValueError(f"{shown(file.name)} is {size}, too narrow for a square: cut it into parts")
    return square(picture)


def embed(encode: Encode, batch: Batch) -> Embedded:
    """Vectors for squares."""
    vectors = encode(batch.squares) if batch.squares else torch.empty(0)
    return Embedded(batch.files, vectors, batch.left_out)


def in_blocks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while block := list(islice(items, size)):
        yield block
