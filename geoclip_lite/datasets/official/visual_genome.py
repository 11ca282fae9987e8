"""Visual Genome (Krishna et al., 2017): objects, attributes and relations in 108,077 photographs.

    image_data.json             where a picture lies (by its address, not by its id), and its size
    objects.json (1.4)          boxes with names
    attributes.json (1.2)       what is said of objects, whose ids are older than those of 1.4
    relationships.json (1.4)    optional
    region_descriptions.json    optional: phrases about parts of a picture, for the caption
    VG_100K, VG_100K_2          the pictures

The files are read in step, one picture at a time. Attributes are joined to the object that has their id, or
into which theirs was merged. A word in a contrast of `vocabulary` stands in the slot of that contrast, any
other in the slot "attribute"; `contrasts.cases` makes appendix F.1's queries of these.

Half of the pictures are COCO's, too (those with a `coco_id` in image_data.json): an encoder that was trained
on COCO has seen them.
"""

from __future__ import annotations

import gc
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.json_stream import elements
from geoclip_lite.datasets.official.reading import (
    DAMAGE,
    Faults,
    Missing,
    Reading,
    listed,
    need,
    number,
    text,
)
from geoclip_lite.datasets.official.vocabulary import OTHER, SLOTS
from geoclip_lite.scenes import Relation, Scene, SceneObject

IMAGES, OBJECTS, ATTRIBUTES = "image_data.json", "objects.json", "attributes.json"
RELATIONS, REGIONS = "relationships.json", "region_descriptions.json"
DROPPED = (1592, 1722, 4616, 4617)  # pictures that everyone leaves out
PLACE = re.compile(r"(VG_100K(?:_2)?/[^/]+)$")

Part = TypeVar("Part")
Box = tuple[float, float, float, float]  # left, top, width, height, in pixels
Words = tuple[str, ...]
Triple = tuple[int, str, int]  # object, predicate, object


class _Picture(NamedTuple):
    place: str
    size: tuple[float, float]


class _Thing(NamedTuple):
    """An object. Its first id is its own, the others are those of what was merged into it."""

    ids: tuple[int, ...]
    noun: str
    box: Box


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: it would look at millions of objects time and again and find none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_uncollected()
def read(
    folder: Path | str,
    pictures: bool = True,
    relations: bool = True,
    regions: bool = False,
    missing: Missing = "refuse",
) -> Reading[Scene]:
    """Every picture with its objects. All of it takes some 1.6 GB of memory, with `regions` 1.8.

    A scene's caption lists its distinct objects, or with `regions` says what people said of its parts.

    Args:
        pictures: whether the files of pictures must be there; annotations can be studied without them.
        relations: whether to read them; they take a quarter of the time.
        missing: what becomes of damaged records and objects, of pictures that one file has and another lacks,
            and of those without a file.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no JSON, or something is damaged or missing, and is refused.
    """
    folder, faults = Path(folder), Faults(missing)
    optional = [*([RELATIONS] * relations), *([REGIONS] * regions)]
    need(folder, [IMAGES, OBJECTS, ATTRIBUTES, *optional], "visual-genome")
    known = dict(_records(folder / IMAGES, _picture, faults))
    named = Counter(picture.place for picture in known.values())
    described = _Beside(folder / ATTRIBUTES, _attributes, faults)
    related = _Beside(folder / RELATIONS, _triples, faults, relations)
    told = _Beside(folder / REGIONS, _phrases, faults, regions)
    scenes = []
    for image, things in _records(folder / OBJECTS, partial(_things, faults), faults):
        parts = described.of(image), related.of(image), told.of(image)
        picture = known.pop(image, None)
        if picture is None:
            faults.note(f"pictures that {IMAGES} lacks", image)
        elif None in parts:
            continue
        elif named[picture.place] > 1:
            faults.note("pictures that several records name", f"{picture.place} by {image}")
        elif pictures and not (folder / picture.place).is_file():
            faults.note("pictures without a file", picture.place)
        elif things or parts[2]:
            scenes.append(_scene(folder, picture, things, *parts, faults))
        else:
            faults.leave("pictures of which nothing is said", picture.place)
    for image in known:
        faults.note(f"pictures that {OBJECTS} lacks", image)
    for beside in (described, related, told):
        beside.close()
    return faults.reading(scenes)


# --- a scene --------------------------------------------------------------------------------------


def _scene(
    folder: Path,
    picture: _Picture,
    things: list[_Thing],
    attributes: dict[int, Words],
    triples: list[Triple],
    phrases: list[str],
    faults: Faults,
) -> Scene:
    row_of = {name: i for i, thing in enumerate(things) for name in thing.ids}
    for _ in attributes.keys() - row_of.keys():
        faults.leave(f"attributes of objects that {OBJECTS} lacks", picture.place)
    joined = [(row_of.get(a), predicate, row_of.get(b)) for a, predicate, b in triples]
    relations = tuple(Relation(*ends) for ends in joined if None not in ends)
    for _ in range(len(joined) - len(relations)):
        faults.leave(f"relations of objects that {OBJECTS} lacks", picture.place)
    objects = tuple(_object(thing, attributes, picture.size) for thing in things)
    caption = ". ".join(phrases) or ", ".join(dict.fromkeys(thing.phrase for thing in objects))
    return Scene(picture.place, caption, objects, partial(draw, folder / picture.place), relations)


def _object(thing: _Thing, attributes: dict[int, Words], size: tuple[float, float]) -> SceneObject:
    """With the centre of its box. What is called an attribute may be the noun once more."""
    words = dict.fromkeys(word for name in thing.ids for word in attributes.get(name, ()))
    words.pop(thing.noun, None)
    left, top, width, height = thing.box
    position = ((left + width / 2) / size[0], (top + height / 2) / size[1])
    return SceneObject(thing.noun, _in_slots(tuple(words)), position)


@lru_cache(2**16)
def _in_slots(words: Words) -> tuple[tuple[str, str], ...]:
    """One tuple for all objects of which the same is said: there are millions."""
    return tuple((SLOTS.get(word, OTHER), word) for word in words)


# --- records --------------------------------------------------------------------------------------


def _records(path: Path, convert: Callable[[dict], Part], faults: Faults) -> Iterator[tuple[int, Part]]:
    """Image id, and what is needed of the record. Some files call the id `image_id`, others `id`."""
    seen = set()
    for place, record in enumerate(elements(path)):
        try:
            image = _id(record, "image_id")
            if image in seen:
                raise ValueError(f"picture {image} is there twice")
            part = convert(record)
        except DAMAGE as error:
            faults.note(f"damaged records of {path.name}", f"number {place}: {error!r}")
            continue
        seen.add(image)
        if image not in DROPPED:
            yield image, part
        elif path.name == IMAGES:
            faults.leave("pictures that everyone leaves out", image)


class _Beside(Generic[Part]):
    """Records of another file, in step with the first one, whatever the order of either.

    Args:
        wanted: False: the file is not opened, and every picture has nothing in it.
    """

    def __init__(self, path: Path, convert: Callable[[dict], Part], faults: Faults, wanted: bool = True):
        self.name, self.faults, self.wanted = path.name, faults, wanted
        self.records = _records(path, convert, faults) if wanted else iter(())
        self.ahead: dict[int, Part] = {}

    def of(self, image: int) -> Part | tuple[()] | None:
        """What the file has of a picture; None, and a fault, where it lacks it."""
        if not self.wanted:
            return ()
        while image not in self.ahead:
            if (found := next(self.records, None)) is None:
                self.faults.note(f"pictures that {self.name} lacks", image)
                return None
            self.ahead[found[0]] = found[1]
        return self.ahead.pop(image)

    def close(self) -> None:
        """Notes what nobody asked for."""
        for image in [*self.ahead, *(image for image, _ in self.records)]:
            self.faults.note(f"pictures of {self.name} that {OBJECTS} lacks", image)


def _id(record: dict, key: str) -> int:
    return number(record, key if key in record else "id")


@cache
def _spoken(raw: str) -> str:
    """In lower case, with single blanks. Words recur by the million, so each is kept once."""
    return sys.intern(" ".join(raw.lower().split()))


def _picture(record: dict) -> _Picture:
    width, height = float(record["width"]), float(record["height"])
    place = PLACE.search(text(record, "url"))
    if not place or not (width > 0 and height > 0):
        raise ValueError(f"no place or size, got {record['url']!r} of {width} x {height}")
    return _Picture(place.group(1), (width, height))


def _things(faults: Faults, record: dict) -> list[_Thing]:
    """The objects of a picture; a damaged one is left out of it."""
    things = []
    for entry in listed(record, "objects"):
        try:
            if not (noun := _spoken(listed(entry, "names")[0])):
                raise ValueError("its name is empty")
            ids = (_id(entry, "object_id"), *(entry.get("merged_object_ids") or ()))
            things.append(
                _Thing(ids, noun, (entry["x"] + 0.0, entry["y"] + 0.0, entry["w"] + 0.0, entry["h"] + 0.0))
            )
        except DAMAGE as error:
            image = record.get("image_id", record.get("id"))
            faults.note("damaged objects", f"{entry!r:.80} of picture {image}: {error!r}")
    return things


def _attributes(record: dict) -> dict[int, Words]:
    """Object -> what is said of it. Most objects have no list of attributes, or an empty one."""
    found: dict[int, Words] = {}
    for entry in listed(record, "attributes"):
        if entry.get("attributes"):
            name, words = _id(entry, "object_id"), map(_spoken, listed(entry, "attributes"))
            found[name] = (*found.get(name, ()), *filter(None, words))
    return found


def _triples(record: dict) -> list[Triple]:
    """By id alone: some ends of relations have a `name`, others `names`, and the objects know both."""
    return [
        (_id(entry["subject"], "object_id"), _spoken(entry["predicate"]), _id(entry["object"], "object_id"))
        for entry in listed(record, "relationships")
    ]


def _phrases(record: dict) -> list[str]:
    phrases = (" ".join(entry["phrase"].split()) for entry in listed(record, "regions"))
    return list(filter(None, phrases))
