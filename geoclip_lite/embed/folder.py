"""A folder of pictures into a pipeline's index, as fast as the encoder goes.

    files -> pictures (several threads, or a cluster) -> vectors -> rows

A few batches lie between two stages and no more, so memory does not grow with the pictures (only with their
number: some 200 bytes each). After `kill -9` the same call does the rest.

A file is new if the index does not hold its path with its stamp: sizes and times of the last change of the
picture and of its caption, which cost no reading. What they do not tell is a file that was exchanged for one
of the same size with the time set back; and a folder that was copied without its times is embedded anew.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from geoclip_lite.datasets import folder as folders
from geoclip_lite.datasets.folder import Damaged, LeftOut
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import MismatchError, check_id
from geoclip_lite.pipeline import Pipeline, encode_parts

FIELDS = {"caption": str, "stamp": str}  # of an index that is filled from a folder
SENT = "sent"  # begins the stamp of a row that does not come from the folder, and is left alone
BATCH = 256  # pictures read, encoded and stored at a time: what a killed process may have to do again
NARROWEST = 1000  # scaled to a square's height, a strip of one pixel by 60,000 would fill the memory

T = TypeVar("T")


class DamagedPictureError(ValueError):
    """A picture cannot be embedded, and was not to be skipped. What came before it is stored."""


@dataclass(frozen=True)
class File:
    """A picture's file: its path in the folder, with slashes, and what changes when its content does."""

    id: str
    stamp: str


@dataclass(frozen=True)
class Batch:
    """Some files, as far as they could be read.

    Args:
        content: what the encoder looks at in each file; later on, its vectors.
        left_out: the files that could not be read.
    """

    files: Sequence[File]
    captions: Sequence[str]
    content: Sequence[Image.Image] | Float[Tensor, "files parts dim"]
    left_out: Sequence[LeftOut]


Read = Callable[[Sequence[File]], Batch]
Encode = Callable[[Sequence[Image.Image]], Tensor]
Spread = Callable[
    [Iterable[Sequence[File]], Read, Encode], Iterator[Batch]
]  # where reading and encoding go on


@dataclass(frozen=True)
class Report:
    """What became of the pictures of a folder.

    Args:
        embedded: pictures that are now in the index and were not, or differed.
        unchanged: that were there already.
        pruned: rows that were taken out.
        damaged: that were skipped, and why.
        left_out: other files that might have been pictures; see `LeftOut`.
    """

    embedded: int
    unchanged: int
    pruned: int
    damaged: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]

    def __str__(self) -> str:
        total = self.embedded + self.unchanged + len(self.damaged)
        parts = f"{self.embedded:,} embedded, {self.unchanged:,} already there"
        pruned = f"; {self.pruned:,} rows without a picture taken out" if self.pruned else ""
        others = f"; {len(self.left_out):,} other files left out" if self.left_out else ""
        return f"{total:,} pictures: {parts}, {len(self.damaged):,} damaged and skipped{pruned}{others}"


def embed_folder(
    folder: Path | str,
    pipeline: Pipeline,
    *,
    damaged: Damaged = "refuse",
    prune: bool = False,
    skip: Container[str] = frozenset(),
    spread: Spread | None = None,
    progress: bool | None = None,
) -> Report:
    """Embeds the pictures of a folder that a pipeline does not hold yet; their paths are their ids.

    Args:
        pipeline: with the fields `FIELDS`.
        damaged: what to do about a picture that cannot be read.
        prune: takes rows out whose picture has gone from the folder or cannot be read any more. Rows whose
            stamp begins with `SENT` stay as they are.
        skip: ids that are passed over.
        spread: where to read and encode; None: here, see `in_threads`.
        progress: whether to draw a progress bar; None: where there is a terminal.

    Raises:
        FileNotFoundError: no such folder.
        DamagedPictureError: a picture cannot be read and is not to be skipped.
        MismatchError: the pipeline has other fields.
        ValueError: no picture in the folder, or another argument that cannot be.
        VectorStoreError: see `Index`.
    """
    if damaged not in ("refuse", "skip"):
        raise ValueError(f"damaged must be 'refuse' or 'skip', got {damaged!r}")
    if pipeline.index.schema.fields != FIELDS:
        got = {name: kind.__name__ for name, kind in pipeline.index.schema.fields.items()}
        raise MismatchError(f"pipeline must have been begun with fields=embed.folder.FIELDS, it has {got}")
    folder, encoder = Path(folder), pipeline.encoder
    read = partial(read_files, folder, partial(square_of, encoder))
    encode = partial(encode_parts, encoder, pipeline.cut)
    hidden = None if progress is None else not progress
    total = sum(1 for _ in folders.walk(folder))
    with tqdm(total=total, desc=encoder.name, unit="picture", disable=hidden) as bar:
        run = _Run(pipeline, bar, damaged == "skip")
        blocks = in_blocks(run.new_files(folder, skip), BATCH)
        with closing((spread or in_threads)(blocks, read, encode)) as batches:
            for batch in batches:
                run.store(batch)
    return run.finished(prune)


class _Run:
    """One pass over a folder, and what becomes of its pictures."""

    def __init__(self, pipeline: Pipeline, bar: tqdm, skip_damaged: bool):
        self.pipeline, self.bar, self.skip_damaged = pipeline, bar, skip_damaged
        self.stamps = pipeline.index.values("stamp")
        self.unchanged: set[str] = set()
        self.embedded: set[str] = set()
        self.left_out: list[LeftOut] = []

    def new_files(self, folder: Path, skip: Container[str]) -> Iterator[File]:
        """Those that the index does not hold as they are."""
        for path in folders.walk(folder, self.left_out):
            file = File(path.relative_to(folder).as_posix(), "")
            if file.id in skip or self._was_sent(file.id):
                self.bar.update()
                continue
            with suppress(FileNotFoundError):  # gone since it was found
                file = replace(file, stamp=stamp_of(path))
                if self.stamps.get(file.id) == file.stamp:
                    self.unchanged.add(file.id)
                    self.bar.update()
                else:
                    yield file

    def store(self, batch: Batch) -> None:
        """Stores what could be read, and refuses the rest unless it is to be skipped."""
        ids = [file.id for file in batch.files]
        if ids:
            fields = {"caption": batch.captions, "stamp": [file.stamp for file in batch.files]}
            self.pipeline.store(ids, batch.content, fields)
        self.embedded.update(ids)
        self.left_out += batch.left_out
        self.bar.update(len(ids) + len(batch.left_out))
        if (bad := [one for one in batch.left_out if one.damaged]) and not self.skip_damaged:
            others = f"{len(self.embedded):,} others have been embedded"
            raise DamagedPictureError(f"{bad[0].reason}, or give damaged='skip'; {others}")

    def finished(self, prune: bool) -> Report:
        """The report; rows without a picture go before it, if they are to."""
        kept = self.unchanged | self.embedded
        gone = [name for name in self.stamps if name not in kept and not self._was_sent(name)]
        if prune and gone:
            self.pipeline.delete(gone)
        damaged = tuple(one for one in self.left_out if one.damaged)
        others = tuple(one for one in self.left_out if not one.damaged)
        pruned = len(gone) if prune else 0
        return Report(len(self.embedded), len(self.unchanged), pruned, damaged, others)

    def _was_sent(self, name: str) -> bool:
        return self.stamps.get(name, "").startswith(SENT)


def stamp_of(path: Path) -> str:
    """Of a picture and of its caption, if it has a file.

    Raises:
        FileNotFoundError: no such picture.
    """
    caption = path.with_suffix(".txt")
    return " ".join(folders.stamp(one) for one in (path, caption) if one == path or os.path.isfile(one))


# --- reading --------------------------------------------------------------------------------------


def read_files(folder: Path, square: Callable[[Image.Image], Image.Image], files: Sequence[File]) -> Batch:
    """Pictures and captions of files. What cannot be read, or has a name that is no id, is set aside."""
    good, captions, pictures, left_out = [], [], [], []
    for file in files:
        try:
            check_id(file.id)
            captions.append(folders.caption(folder / file.id))
            pictures.append(square(_wide_enough(folder / file.id)))
            good.append(file)
        except ValueError as error:
            left_out.append(folders.left(file.id, error))
            del captions[len(good) :]
    return Batch(good, captions, pictures, left_out)


def _wide_enough(path: Path) -> Image.Image:
    """The picture. Raises ValueError for what could not be scaled to a square."""
    picture = folders.draw(path)
    if max(picture.size) > NARROWEST * min(picture.size):
        size = f"{picture.width} x {picture.height}"
        raise ValueError(f"{folders.shown(path)} is {size}, too narrow for a square: cut it into parts")
    return picture


def in_threads(
    blocks: Iterable[Sequence[File]], read: Read, encode: Encode, workers: int | None = None
) -> Iterator[Batch]:
    """Reads in several threads, a little ahead of the encoder.

    Args:
        workers: threads; None: one per processor.
    """
    workers = workers or os.cpu_count() or 1
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(read, block))
            if len(waiting) > workers + 1:
                yield encoded(waiting.popleft().result(), encode)
        while waiting:
            yield encoded(waiting.popleft().result(), encode)
    finally:
        pool.shutdown(cancel_futures=True)


def encoded(batch: Batch, encode: Encode) -> Batch:
    """The batch with vectors for its pictures."""
    return replace(batch, content=encode(batch.content) if batch.files else torch.empty(0))


def in_blocks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while block := list(islice(items, size)):
        yield block
