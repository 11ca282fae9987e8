"""Pictures that can be searched under one encoder or several, with the copies that are shown.

Entry       a picture on its way in
Collection  a pipeline per encoder over the same pictures, and a shelf of copies
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from tqdm import tqdm

from geoclip_lite.datasets.folder import LeftOut, left
from geoclip_lite.index import field
from geoclip_lite.index.base import MAX_ID
from geoclip_lite.index.filters import check_text
from geoclip_lite.pipeline import Pipeline
from geoclip_lite.service.pictures import Shelf, fitted

# copy: the key of the copy on the shelf. stamp: of a file that the picture was read from, "" for one that was
# sent in; equal stamps, equal pictures.
FIELDS = {"caption": str, "copy": str, "stamp": str, "origin": str}
FOLDER, SENT = "folder", "sent"  # origins
AT_ONCE = 64  # pictures in memory while a collection is built


@dataclass(frozen=True)
class Entry:
    """A picture on its way in.

    Args:
        picture: draws or reads it; called once, when it is its turn.
        stamp: of what it is read from; "" for a picture that was sent in.
    """

    id: str
    caption: str
    picture: Callable[[], Image.Image]
    stamp: str = ""

    @property
    def origin(self) -> str:
        return FOLDER if self.stamp else SENT


@dataclass(frozen=True)
class Collection:
    """What the service searches.

    Args:
        title: what the pictures are, in a word or two.
        pipelines: by the name of the encoder; the first is the one that is taken if none is named.
        shelf: the copies.
        examples: queries to begin with.
        left_out: files that are not among the pictures.
    """

    title: str
    pipelines: Mapping[str, Pipeline]
    shelf: Shelf
    examples: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def add(self, entries: Sequence[Entry]) -> None:
        """Keeps pictures, replacing those of the same id. Once it returns, they are safe.

        The copy comes first and the picture's row last, so whatever can be found can be shown and explained.

        Raises:
            BadInputError, VectorStoreError: see `Pipeline.add`.
        """
        self._add(dict.fromkeys(self.pipelines, entries), {e.id: fitted(e.picture()) for e in entries})

    def delete(self, ids: Sequence[str]) -> int:
        """Takes pictures out, with their copies. Returns how many were there, under any encoder."""
        found, copies = set(), set()
        for pipeline in self.pipelines.values():
            rows = pipeline.pictures.matching("id", ids)
            found, copies = found | set(rows.ids), copies | set(rows.fields["copy"])
            pipeline.delete(ids)
        self._forget(copies)
        return len(found)

    def sync(self, entries: Sequence[Entry]) -> list[LeftOut]:
        """Makes the collection hold these pictures, besides what was sent in. Returns what it cannot hold.

        Work that a killed process has done is not done again.
        """
        known = {name: self._known(pipeline) for name, pipeline in self.pipelines.items()}
        gone = {name for stamps in known.values() for name in stamps} - {entry.id for entry in entries}
        self.delete(sorted(gone))
        lacking = {
            name: {e for e in entries if stamps.get(e.id) != e.stamp} for name, stamps in known.items()
        }
        new = [entry for entry in entries if any(entry in some for some in lacking.values())]
        left_out: list[LeftOut] = []
        for start in tqdm(range(0, len(new), AT_ONCE), "pictures", disable=not new):
            block = new[start : start + AT_ONCE]
            pictures = readable(block, left_out)
            good = [entry for entry in block if entry.id in pictures]
            self._add({name: [e for e in good if e in some] for name, some in lacking.items()}, pictures)
        names = {one.name for one in left_out}
        self.delete(sorted(name for stamps in known.values() for name in stamps.keys() & names))
        for name, some in lacking.items():
            if some:
                self.pipelines[name].optimise()
        return left_out

    def tidy(self) -> None:
        """Merges what many small writes have left, which slows searches down. They go on meanwhile."""
        for pipeline in self.pipelines.values():
            pipeline.optimise()

    def counts(self) -> dict[str, int]:
        """How many pictures there are, by encoder. All indexes of each are asked.

        Raises:
            VectorStoreError: one of them cannot be used.
        """
        found = {}
        for name, pipeline in self.pipelines.items():
            found[name], *_ = [index.count() for index in pipeline.indexes]
        return found

    def close(self) -> None:
        """Lets go of the indexes."""
        for pipeline in self.pipelines.values():
            pipeline.close()

    def _add(self, wanted: Mapping[str, Sequence[Entry]], pictures: Mapping[str, Image.Image]) -> None:
        """Entries for each pipeline, with their pictures; each is copied once.

        The indexes are asked before anything is written: where one is gone, no copy is left behind.
        """
        ids = {name: [entry.id for entry in entries] for name, entries in wanted.items()}
        indexes = {name: self.pipelines[name].pictures for name in wanted}
        before = {name: index.matching("id", ids[name]).fields["copy"] for name, index in indexes.items()}
        copies = {name: self.shelf.put(picture) for name, picture in pictures.items()}
        for encoder, entries in wanted.items():
            fields = {
                "caption": [entry.caption for entry in entries],
                "copy": [copies[entry.id] for entry in entries],
                "stamp": [entry.stamp for entry in entries],
                "origin": [entry.origin for entry in entries],
            }
            drawn = [pictures[entry.id] for entry in entries]
            self.pipelines[encoder].add(ids[encoder], drawn, fields)
            self._forget(set(before[encoder]) - set(copies.values()))

    def _forget(self, copies: Iterable[str]) -> None:
        """Removes copies, unless another picture looks the same."""
        for key in copies:
            if not any(p.pictures.count(field("copy") == key) for p in self.pipelines.values()):
                self.shelf.drop(key)

    def _known(self, pipeline: Pipeline) -> dict[str, str]:
        """id -> stamp of every picture that was read from a file and can be shown."""
        rows = pipeline.pictures.matching("origin", [FOLDER])
        about = zip(rows.ids, rows.fields["stamp"], rows.fields["copy"], strict=True)
        return {name: stamp for name, stamp, key in about if self.shelf.path(key).is_file()}


def readable(entries: Sequence[Entry], left_out: list[LeftOut]) -> dict[str, Image.Image]:
    """id -> picture of those that can be kept; the others are added to `left_out`."""
    pictures = {}
    for entry in entries:
        try:
            check_text(entry.id, "the path", MAX_ID)
            pictures[entry.id] = fitted(entry.picture())
        except ValueError as error:
            left_out.append(left(entry.id, error))
    return pictures
