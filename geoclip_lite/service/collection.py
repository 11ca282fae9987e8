"""A folder's pictures under one encoder or several, and what clients have sent in and taken out."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from geoclip_lite import regions
from geoclip_lite.datasets import folder as folders
from geoclip_lite.datasets import shapes
from geoclip_lite.embed.folder import FIELDS, SENT, embed_folder
from geoclip_lite.encoders import DualEncoder, load_encoder, shipped
from geoclip_lite.encoders.store import default_folder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.images import read
from geoclip_lite.index import check_id
from geoclip_lite.pipeline import Pipeline
from geoclip_lite.regions import Centring, Cut
from geoclip_lite.service.pictures import MAX_PIXELS, Source, Thumbnails, version_of
from geoclip_lite.service.why import unknown_words

MINIS = ("mini-pairs", "mini-single")
DEMO, SIDE, HELD_OUT = 1000, 256, 200  # drawn pictures, their pixels, and others to fit a centring on
SAMPLE, EXAMPLES, SHORT = 24, 3, 100  # pictures and queries to begin with, characters of a query
BATCH = 64  # pictures in memory


class Written:
    """What clients sent in and took out, in one SQLite file: safe once a call returns.

    It lies over the folder, and the indexes follow it: what a killed process has not written in them is
    written at the next start.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._run("CREATE TABLE IF NOT EXISTS written (id TEXT PRIMARY KEY, caption, stamp, picture BLOB)")

    def put(self, name: str, caption: str, picture: bytes) -> str:
        """Keeps a picture; returns its stamp."""
        stamp = f"{SENT} {sha256(caption.encode() + bytes(1) + picture).hexdigest()}"
        self._run("REPLACE INTO written VALUES (?, ?, ?, ?)", name, caption, stamp, picture)
        return stamp

    def remove(self, name: str) -> None:
        """Remembers that a picture was taken out, of the folder too."""
        self._run("REPLACE INTO written VALUES (?, '', '', NULL)", name)

    def stamps(self) -> dict[str, str]:
        """id -> stamp; "" for a picture that was taken out."""
        return dict(self._run("SELECT id, stamp FROM written"))

    def get(self, name: str) -> tuple[str, bytes]:
        """Caption and picture. Raises KeyError for an id that was not sent in."""
        rows = self._run("SELECT caption, picture FROM written WHERE id = ? AND picture NOTNULL", name)
        if not rows:
            raise KeyError(name)
        return rows[0]

    def _run(self, statement: str, *values: object) -> list[tuple]:
        try:
            with closing(sqlite3.connect(self.path)) as database, database:
                return database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise OSError(
                f"{self.path} cannot be used ({error}): is there room, may it be written?"
            ) from error


@dataclass
class Collection:
    """What the service searches.

    Args:
        pipelines: by the name of the encoder; the first is taken if none is named.
        sample: ids of some pictures, to be shown before the first search.
        examples: queries to begin with.
        notes: what a reader should know of the encoders.
        left_out: files of the folder that are not searched, and why.
    """

    folder: Path
    written: Written
    thumbnails: Thumbnails
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def rows(self, names: Sequence[str]) -> list[tuple[str, str, str]]:
        """Id, caption and stamp of those of these pictures that there are."""
        rows = next(iter(self.pipelines.values())).index.matching("id", names)
        return sorted(zip(rows.ids, rows.fields["caption"], rows.fields["stamp"], strict=True))

    def source(self, name: str, version: str) -> Source:
        """Where a picture is read from. Raises KeyError for a stranger: no other id becomes a path."""
        for _, _, stamp in self.rows([name]):
            if version_of(stamp) == version:
                return self.written.get(name)[1] if stamp.startswith(SENT) else self.folder / name
        raise KeyError(name)

    def put(self, name: str, caption: str, content: bytes) -> None:
        """Keeps a picture, in place of the one that had its id. Once it returns, it is safe."""
        check_id(name)
        picture = read(content, MAX_PIXELS)
        fields = {"caption": [caption], "stamp": [self.written.put(name, caption, content)]}
        for pipeline in self.pipelines.values():
            pipeline.add([name], [picture], fields)
        self.thumbnails.drop(name)

    def delete(self, name: str) -> None:
        """Takes a picture out. Raises KeyError if there is none."""
        if not any(pipeline.index.matching("id", [name]).ids for pipeline in self.pipelines.values()):
            raise KeyError(name)
        self.written.remove(name)
        for pipeline in self.pipelines.values():
            pipeline.delete([name])
        self.thumbnails.drop(name)

    def optimise(self) -> None:
        """Merges what many small writes have left. Searches go on, and it may be killed."""
        for pipeline in self.pipelines.values():
            pipeline.optimise()

    def counts(self) -> dict[str, int]:
        """How many pictures there are, by encoder."""
        return {name: len(pipeline) for name, pipeline in self.pipelines.items()}

    def close(self) -> None:
        """Lets go of the indexes."""
        for pipeline in self.pipelines.values():
            pipeline.close()


# --- opening one ---


def open_collection(
    folder: Path | None, encoders: Sequence[str] = (), place: str | None = None
) -> Collection:
    """The pictures of a folder. What has changed in it since the last time is noticed.

    Args:
        folder: None draws a gallery in the cache, once.
        encoders: names, as `load_encoder` takes them; none: minis.
        place: a folder for the indexes, or as `open_index` takes it; None: in the cache.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it that can be read, or an index that would lie among them.
        OSError, WeightsError, VectorStoreError: the place, an encoder or an index cannot be used.
    """
    drawn = folder is None
    folder = drawn_gallery() if drawn else Path(folder).resolve()
    loaded = [load_encoder(name) for name in dict.fromkeys(encoders or MINIS[: 2 if drawn else 1])]
    own = f"{slug(folder.name)}_{sha256(os.fsencode(folder)).hexdigest()[:12]}"
    state = default_folder() / "collections" / own
    place = place or str(state)
    if not re.match(r"\w\w+:", place):
        state = Path(place)
    if folders.is_read(state, folder):
        raise ValueError(f"index: {folders.shown(place)} lies among the pictures: choose a place outside")
    next(folders.walk(folder))  # what is wrong with it is better known before anything is written
    collection = Collection(folder, Written(state / "written.sqlite"), Thumbnails(state / "thumbnails"))
    for encoder in loaded:
        pipeline = Pipeline(encoder, own_place(place, encoder), fields=FIELDS)
        if drawn and pipeline.cut:
            pipeline.centring = fitted_centring(encoder, pipeline.cut)
        collection.pipelines[encoder.name] = pipeline
        fill(collection, pipeline)
    names = sorted(pipeline.index.values("stamp"))
    collection.sample = names[:: -(-len(names) // SAMPLE)]
    collection.examples = examples(collection, loaded[0])
    collection.notes = notes(collection, drawn)
    for pipeline in collection.pipelines.values():
        pipeline.search("red circle", 1)  # the first one compiles what it needs
    return collection


def own_place(place: str, encoder: DualEncoder) -> str:
    """Of the index of an encoder: other weights, another place."""
    between = "_" if place.startswith("milvus:") else "/"
    return f"{place.rstrip('/')}{between}{slug(encoder.name)}_{encoder.fingerprint[:8]}"


def slug(name: str) -> str:
    """A name as a part of paths and of collections' names."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def fill(collection: Collection, pipeline: Pipeline) -> None:
    """Has an index hold the pictures of the folder, with what clients wrote over it."""
    stamps, known = collection.written.stamps(), pipeline.index.values("stamp")
    pipeline.delete([name for name in known if not stamps.get(name, not known[name].startswith(SENT))])
    report = embed_folder(collection.folder, pipeline, damaged="skip", prune=True, skip=stamps.keys())
    lacking = [name for name, stamp in stamps.items() if stamp and known.get(name) != stamp]
    for start in range(0, len(lacking), BATCH):
        some = lacking[start : start + BATCH]
        captions, contents = zip(*map(collection.written.get, some), strict=True)
        pictures = [read(content, MAX_PIXELS) for content in contents]
        pipeline.add(some, pictures, {"caption": captions, "stamp": [stamps[name] for name in some]})
    collection.left_out |= {one.name: one.reason for one in (*report.damaged, *report.left_out)}
    if not len(pipeline):
        reasons = "; ".join(folders.first([*collection.left_out.values()]))
        raise ValueError(f"folder: {folders.shown(collection.folder)} holds no readable picture; {reasons}")
    if report.pruned:
        collection.thumbnails.clear()
    if report.embedded or lacking:
        pipeline.optimise()


def examples(collection: Collection, encoder: DualEncoder) -> list[str]:
    """A few captions that somebody wrote, of words that the encoder knows."""
    described = [
        caption
        for name, caption, _ in collection.rows(collection.sample)
        if (collection.folder / name).with_suffix(".txt").is_file() and len(caption) <= SHORT
    ]
    return [text for text in dict.fromkeys(described) if not unknown_words(encoder, text)][:EXAMPLES]


def notes(collection: Collection, drawn: bool) -> list[str]:
    """What a reader should know of the encoders."""
    minis = [] if drawn else [name for name in collection.pipelines if name in shipped()]
    advice = "for photographs, start with another encoder, as in --encoder ViT-B-32-quickgelu/openai"
    limits = [f"{name} knows drawn scenes only, such as “red circle, blue cube”: {advice}" for name in minis]
    return limits + [pipeline.note for pipeline in collection.pipelines.values() if pipeline.note]


# --- the drawn gallery ---


def drawn_gallery() -> Path:
    """A folder of scenes of the Shapes world, captioned: drawn the first time, as a whole or not at all."""
    folder = default_folder() / "collections" / f"drawn {DEMO} at {SIDE}" / "Shapes, drawn"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".drawing"))
        for number, scene in enumerate(shapes.evaluation_scenes()[:DEMO]):
            scene.image(SIDE).save(beside / f"{number:04}.png")
            (beside / f"{number:04}.txt").write_text(scene.caption, "utf-8")
        try:
            beside.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(beside)
    return folder


def fitted_centring(encoder: DualEncoder, cut: Cut) -> Centring:
    """On validation scenes of the Shapes world."""
    scenes = shapes.validation_scenes()[:HELD_OUT]
    drawn = [scene.image(encoder.image_size) for scene in scenes]
    seen = regions.value_regions(encoder, drawn, **vars(cut), progress=False)
    encode = partial(encode_with_templates, encoder)
    return Centring.fit(regions.phrase_sets([scene.caption for scene in scenes], encode).vectors, seen)
