"""Where a collection comes from: the drawn demo, or a folder of pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from geoclip_lite import regions
from geoclip_lite.datasets import folder as folders
from geoclip_lite.datasets import shapes
from geoclip_lite.datasets.folder import LeftOut
from geoclip_lite.encoders import DualEncoder, load_encoder
from geoclip_lite.encoders.store import default_folder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.pipeline import Pipeline
from geoclip_lite.regions import Centring, Cut
from geoclip_lite.scenes import Scene
from geoclip_lite.service.collection import FIELDS, Collection, Entry
from geoclip_lite.service.limits import MOST_CAPTION
from geoclip_lite.service.pictures import Shelf

DEMO_ENCODERS = ("mini-pairs", "mini-single")
DEMO_SIZE, DEMO_SIDE = 1000, 256  # pictures, and the pixels of one
DEMO_STAMP = f"drawn at {DEMO_SIDE}"
HELD_OUT = 200  # other scenes, which the demo's centring is fitted on
EXAMPLES = (23, 16)  # scenes that the demo's page proposes to look for
FEW, SHORT = 3, 100  # captions of a folder that its page proposes, and the characters of one, at most


def demo(encoders: Sequence[str] = DEMO_ENCODERS, place: str | None = None) -> Collection:
    """Scenes of the Shapes world under mini encoders: drawn and encoded the first time, opened later on.

    Args:
        encoders: names, as `load_encoder` takes them.
        place: of the indexes; None: a folder in the cache.
    """
    place = place or str(default_folder() / "service" / "demo")
    scenes = shapes.evaluation_scenes()[:DEMO_SIZE]
    pipelines = opened(encoders, place, centred=True)
    examples = tuple(described(scenes[i]) for i in EXAMPLES)
    collection = Collection("Shapes, drawn", pipelines, shelf_of(place, "demo"), examples)
    collection.sync([Entry(s.image_id, s.caption, partial(s.image, DEMO_SIDE), DEMO_STAMP) for s in scenes])
    return collection


def of_folder(folder: Path, encoders: Sequence[str], place: str | None = None) -> Collection:
    """A folder of pictures. What has changed since the last time is noticed, and what is left out is noted.

    Args:
        encoders: names, as `load_encoder` takes them.
        place: of the indexes; None: a folder in the cache, named by the folder's path.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it that can be read, or an index that would lie among them.
    """
    folder, left_out = Path(folder).resolve(), []
    entries = list(entries_of(folder, left_out))
    name = f"{slug(folder.name)}_{sha256(os.fsencode(folder)).hexdigest()[:12]}"
    place = place or str(default_folder() / "service" / name)
    shelf = shelf_of(place, name)
    if folders.is_read(shelf.folder, folder):
        raise ValueError(
            f"index: the copies of {folders.shown(folder)} would lie in it and be taken for pictures, "
            f"got {folders.shown(place)}: choose a place outside, or a hidden one"
        )
    collection = Collection(folders.shown(folder.name), opened(encoders, place), shelf)
    left_out += collection.sync(entries)
    names = {one.name for one in left_out}
    good = [entry for entry in entries if entry.id not in names]
    if not good:
        raise ValueError(
            f"folder: {folders.shown(folder)} holds no readable picture; {folders.told(left_out)}"
        )
    return replace(collection, examples=captions(good), left_out=tuple(left_out))


def opened(encoders: Sequence[str], place: str, centred: bool = False) -> dict[str, Pipeline]:
    """A pipeline per encoder, in places that carry its name and fingerprint: other weights, other places."""
    if ":" in place and "{}" not in place:
        raise ValueError(f"index must be a folder, or hold {{}} where two indexes differ, got {place!r}")
    found = {}
    for name in dict.fromkeys(encoders):
        encoder = load_encoder(name)
        own = f"{slug(name)}_{encoder.fingerprint[:8]}"
        at = place.replace("{}", f"{own}_{{}}") if "{}" in place else f"{place.rstrip('/')}/{own}"
        found[encoder.name] = pipeline = Pipeline(encoder, at, fields=FIELDS)
        pipeline.centring = centring_of(encoder, pipeline.cut) if centred and pipeline.cut else None
    return found


def slug(name: str) -> str:
    """A name as a part of paths and of collections' names."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def shelf_of(place: str, name: str) -> Shelf:
    """Beside the indexes if they are in one folder, else in the cache."""
    return Shelf((default_folder() / "service" / name if "{}" in place else Path(place)) / "copies")


def centring_of(encoder: DualEncoder, cut: Cut) -> Centring:
    """On validation scenes of the Shapes world."""
    held_out = shapes.validation_scenes()[:HELD_OUT]
    drawn = [scene.image(encoder.image_size) for scene in held_out]
    seen = regions.value_regions(encoder, drawn, **vars(cut), progress=False)
    encode = partial(encode_with_templates, encoder)
    return Centring.fit(regions.phrase_sets([s.caption for s in held_out], encode).vectors, seen)


def entries_of(folder: Path, left_out: list[LeftOut]) -> Iterator[Entry]:
    """The pictures of a folder in their own size, stamped as `folder.stamp` does."""
    for path in folders.walk(folder, left_out):
        name = path.relative_to(folder).as_posix()
        try:
            caption, stamp = folders.caption(path)[:MOST_CAPTION], folders.stamp(path)
            yield Entry(name, caption, partial(folders.draw, path), stamp)
        except (OSError, ValueError) as error:
            left_out.append(folders.left(name, error))


def described(scene: Scene) -> str:
    """A scene as a person would say it."""
    *some, last = [f"{'an' if thing.phrase[0] in 'aeiou' else 'a'} {thing.phrase}" for thing in scene.objects]
    return f"{', '.join(some)} and {last}"


def captions(scenes: Sequence[Scene | Entry]) -> tuple[str, ...]:
    """A few short ones, evenly spread and each once."""
    short = [scene.caption for scene in scenes if len(scene.caption) <= SHORT]
    return tuple(dict.fromkeys(short[i * len(short) // FEW] for i in range(min(FEW, len(short)))))
