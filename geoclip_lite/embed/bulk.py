"""A folder of pictures into an index, as fast as the encoder goes.

    new files -> squares (several threads) -> vectors (one thread) -> rows (this one)

A few batches lie between two stages and no more, so memory does not grow with the folder. What has been
stored is safe: after `kill -9`, the same call does the rest.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from geoclip_lite.datasets.folder import Damaged, LeftOut, walk
from geoclip_lite.embed.cluster import Cluster
from geoclip_lite.embed.files import (
    FIELDS,
    Embedded,
    Encode,
    File,
    Look,
    embed,
    files,
    in_blocks,
    new,
    read,
)
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import Index, MismatchError
from geoclip_lite.index.base import Wish
from geoclip_lite.pipeline import Pipeline, encode_parts

BATCH = 64  # pictures handed to the encoder at a time
LOOKED_UP = 1000  # files that the index is asked for at a time
BYTES, SECONDS = 2**24, 5.0  # of vectors stored at a time, of work: what a killed process may lose
WORKERS = 16  # threads that read, at most

T, U = TypeVar("T"), TypeVar("U")


class DamagedPictureError(ValueError):
    """A picture cannot be embedded, and was not to be skipped. What came before it is stored."""


@dataclass(frozen=True)
class Report:
    """What became of the pictures of a folder.

    Args:
        embedded: pictures that are now in the index and were not, or differed.
        unchanged: that were there already.
        damaged: that were skipped, and why.
        left_out: other files that might have been pictures; see `LeftOut`.
    """

    embedded: int
    unchanged: int
    damaged: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __str__(self) -> str:
        total = self.embedded + self.unchanged + len(self.damaged)
        parts = f"{self.embedded:,} embedded, {self.unchanged:,} already there"
        others = f"; {len(self.left_out):,} other files left out" if self.left_out else ""
        return f"{total:,} pictures: {parts}, {len(self.damaged):,} damaged and skipped{others}"


def embed_folder(
    folder: Path | str,
    encoder: DualEncoder,
    into: Index | Pipeline,
    *,
    damaged: Damaged = "refuse",
    batch: int = BATCH,
    workers: int | None = None,
    cluster: Cluster | None = None,
    progress: bool | None = None,
) -> Report:
    """Embeds the pictures of a folder that an index does not hold yet; their paths are their ids.

    A picture is known by its size and the time of its last change (see `files`). Those that have gone from
    the folder, or were damaged since, stay in the index as they were.

    Args:
        into: an index with the fields `FIELDS`, or a pipeline with these, which gets windows too.
        damaged: what to do about a picture that cannot be read.
        batch: pictures handed to the encoder at a time.
        workers: threads that read pictures; None: one per processor.
        cluster: where to read and encode; None: here.
        progress: whether to draw a progress bar; None: where there is a terminal.

    Raises:
        FileNotFoundError: no such folder.
        DamagedPictureError: a picture cannot be read and is not to be skipped.
        MismatchError: the index is of another encoder, or has other fields.
        ValueError: no picture in the folder, or another argument that cannot be.
        VectorStoreError, ClusterError: see `Index` and `Cluster`.
    """
    if damaged not in ("refuse", "skip"):
        raise ValueError(f"damaged must be 'refuse' or 'skip', got {damaged!r}")
    if batch < 1 or (workers is not None and workers < 1):
        raise ValueError(f"batch and workers must be at least 1, got {batch} and {workers}")
    folder, sink = Path(folder), sink_of(encoder, into)
    hidden = None if progress is None else not progress
    with tqdm(total=sum(1 for _ in walk(folder)), desc=encoder.name, unit="picture", disable=hidden) as bar:
        run = Run(sink, bar, skip=damaged == "skip")
        look = partial(read, folder, partial(square_of, encoder))
        embedded = cluster.embedded if cluster else partial(in_threads, workers=workers)
        with closing(embedded(run.new_files(folder), look, sink.encode, batch)) as batches:
            run.store(batches)
    return run.report


# --- into the index -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sink:
    """How pictures are encoded and stored, and the index that knows which it has."""

    encode: Encode
    store: Callable[[Sequence[str], Tensor, Mapping[str, Sequence[str]]], None]
    index: Index


def sink_of(encoder: DualEncoder, into: Index | Pipeline) -> Sink:
    """Checks that the two fit."""
    index = into.pictures if isinstance(into, Pipeline) else into
    Wish(encoder=encoder.fingerprint).check(index.schema, "into")
    if index.schema.fields != FIELDS:
        got = {name: kind.__name__ for name, kind in index.schema.fields.items()}
        raise MismatchError(f"into must have been begun with fields=geoclip_lite.embed.FIELDS, it has {got}")
    if isinstance(into, Pipeline):
        return Sink(partial(encode_parts, encoder, into.cut), into.store, index)
    return Sink(encoder.encode_images, index.upsert, index)


class Run:
    """One pass over a folder, and what becomes of its pictures."""

    def __init__(self, sink: Sink, bar: tqdm, skip: bool):
        self.sink, self.bar, self.skip = sink, bar, skip
        self.embedded = self.unchanged = 0
        self.left_out: list[LeftOut] = []

    def new_files(self, folder: Path) -> Iterator[File]:
        """Those that the index does not hold as they are."""
        for block in in_blocks(files(folder, self.left_out), LOOKED_UP):
            fresh = new(block, self.sink.index)
            self.unchanged += len(block) - len(fresh)
            self.bar.update(len(block) - len(fresh))
            yield from fresh

    def store(self, batches: Iterable[Embedded]) -> None:
        """Stores many batches at a time: an upsert of a few rows costs as much as one of thousands."""
        group, since = [], time.monotonic()
        for batch in batches:
            group.append(batch)
            self.bar.update(len(batch.files) + len(batch.left_out))
            size = sum(one.vectors.nbytes for one in group)
            if size >= BYTES or time.monotonic() - since >= SECONDS:
                self._store(group)
                group, since = [], time.monotonic()
        self._store(group)

    def _store(self, group: list[Embedded]) -> None:
        some = [file for batch in group for file in batch.files]
        if some:
            vectors = torch.cat([batch.vectors for batch in group if batch.files])
            stamps = {"stamp": [file.stamp for file in some]}
            self.sink.store([file.name for file in some], vectors, stamps)
        self.embedded += len(some)
        self.left_out += [one for batch in group for one in batch.left_out]
        if (damaged := self.report.damaged) and not self.skip:
            others = f"{self.embedded:,} others have been embedded"
            raise DamagedPictureError(f"{damaged[0].reason}, or skip what is damaged; {others}")

    @property
    def report(self) -> Report:
        """So far."""
        damaged = tuple(one for one in self.left_out if one.damaged)
        others = tuple(one for one in self.left_out if not one.damaged)
        return Report(self.embedded, self.unchanged, damaged, others)


# --- threads --------------------------------------------------------------------------------------


def in_threads(
    some: Iterable[File], look: Look, encode: Encode, batch: int, workers: int | None
) -> Iterator[Embedded]:
    """Reads in several threads and encodes in one, each a little ahead of the next."""
    workers = workers or min(WORKERS, os.cpu_count() or 1)
    with threads(workers) as readers, threads(1) as encoding:
        squares = ahead(readers, look, in_blocks(some, batch), workers + 1)
        yield from ahead(encoding, partial(embed, encode), squares, 2)


def ahead(pool: Executor, work: Callable[[T], U], items: Iterable[T], depth: int) -> Iterator[U]:
    """`map(work, items)`, in order, with up to `depth` items under way before theirs is asked for."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """Some threads. In the end they finish what they are at, and leave the rest."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
