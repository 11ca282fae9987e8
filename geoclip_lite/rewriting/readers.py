"""Real shifted queries: Flickr30k-CN, XM3600 and CIRR as they are published, anything else as JSON lines.

    flickr30k_cn  flickr30k_cn_test.txt: a line a caption, "1007129816.jpg#0<tab>..."; the original release
                  writes "1007129816.jpg#zhm#0 ..."
    xm3600        captions.jsonl: an object a picture, {"image/key": "...", "fr": {"caption": ["..."]}, ...};
                  36 languages, pictures <key>.jpg
    cirr          captions/cap.rc2.<part>.json: a list of {"pairid", "reference", "target_hard", "caption",
                  "img_set": {"members": [...]}}; image_splits/split.rc2.<part>.json: name -> path
    json_lines    {"query": "...", "image": "a/path.jpg", "language": "...", "reference": "a/path.jpg"}, the
                  last two if there are any

Nothing is fetched. Pictures are opened when they are encoded; that each is there is seen to at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.reading import DAMAGE, inside, listed, name, parsed
from geoclip_lite.rewriting.errors import UnknownLanguageError
from geoclip_lite.rewriting.queries import Query, QuerySet, Shift
from geoclip_lite.scenes import Scene

LINE = re.compile(r"(?P<picture>[^#\s]+?)(?:\.jpg)?#(?:[a-z]+#)?\d+\s+(?P<text>\S.*)")


def flickr30k_cn(captions: Path | str, pictures: Path | str) -> QuerySet:
    """Chinese captions of Flickr30k's pictures, each a query for its picture.

    Args:
        captions: the text file.
        pictures: the folder of Flickr30k's pictures.

    Raises:
        FileNotFoundError: the file, or a picture, is not there.
        ValueError: a line of another form, no line at all, or a file that is not UTF-8.
    """
    asked = []
    for number, line in _lines(captions):
        with _named(f"{captions}, line {number}"):
            if not (found := LINE.fullmatch(line)):
                raise ValueError(f'expected "<picture>.jpg#<n>" and a text, got {line!r}')
            asked.append((found["text"], inside(Path(pictures), f"{found['picture']}.jpg")))
    return _set(asked, "multilingual", "zh", captions)


def xm3600(captions: Path | str, pictures: Path | str, language: str) -> QuerySet:
    """Captions of Crossmodal-3600 in one language, each a query for its picture.

    Args:
        captions: captions.jsonl.
        pictures: the folder of its pictures.
        language: one of its 36, e.g. "fr".

    Raises:
        FileNotFoundError: the file, or a picture, is not there.
        UnknownLanguageError: a picture has no captions in this language.
        ValueError: a line that is no such object, no line at all, or a file that is not UTF-8.
    """
    asked = []
    for number, line in _lines(captions):
        where = f"{captions}, line {number}"
        with _named(where):
            record = _object(line)
            path = inside(Path(pictures), f"{name(record, 'image/key')}.jpg")
            if "caption" not in (said := record.get(language, {})):
                there = sorted(key for key, value in record.items() if isinstance(value, dict))
                raise UnknownLanguageError(
                    f"language: {where}, has no captions in {language!r}; it has {', '.join(there)}"
                )
            asked += [(text.strip(), path) for text in listed(said, "caption") if text.strip()]
    return _set(asked, "multilingual", language, captions)


def cirr(
    annotations: Path | str,
    pictures: Path | str,
    part: str = "val",
    captions: Mapping[str, str] | None = None,
) -> QuerySet:
    """Composed queries over all pictures of a part; `near` holds the reference, then the rest of its subset.

    Args:
        annotations: the folder that holds captions/ and image_splits/.
        pictures: the folder that the paths of image_splits/ begin at.
        part: "train" or "val"; test1 is published without its answers.
        captions: of reference pictures, by name, from a captioner; a query then reads
            "like <caption>, but <what is different>". Without, it says only what is different.

    Raises:
        FileNotFoundError: a file, or a picture, is not there.
        ValueError: entries of another form, none at all, or without their answers; a reference that
            `captions` lacks.
    """
    entries = Path(annotations) / "captions" / f"cap.rc2.{part}.json"
    split = Path(annotations) / "image_splits" / f"split.rc2.{part}.json"
    found, paths = _json(entries, list), _json(split, dict)
    with _named(split):
        paths = {picture: inside(Path(pictures), name(paths, picture)) for picture in paths}
    scenes = {picture: _scene(path, picture) for picture, path in paths.items()}
    _some(found, entries)
    _all_there(paths)
    queries = []
    for number, entry in enumerate(found, start=1):
        with _named(f"{entries}, entry {number}"):
            if "target_hard" not in entry:
                raise ValueError(f"part {part!r} is published without its answers; take 'train' or 'val'")
            queries.append(_composed(entry, scenes, captions))
    return QuerySet(tuple(queries), tuple(scenes.values()))


def _composed(entry: Mapping, scenes: Mapping[str, Scene], captions: Mapping[str, str] | None) -> Query:
    """One entry of CIRR. Raises one of `DAMAGE`."""
    said, near, right = name(entry, "caption").strip(), _subset(entry), name(entry, "target_hard")
    if missing := [picture for picture in (right, *near) if picture not in scenes]:
        raise ValueError(f"image_splits has no picture {missing[0]!r} of pair {entry.get('pairid')}")
    if captions is not None and near[0] not in captions:
        raise ValueError(f"captions must have every reference, {near[0]!r} lacks")
    text = f"like {captions[near[0]]}, but {said}" if captions is not None else said
    return Query(text, "composed", "en", scenes[right], (), tuple(scenes[picture] for picture in near))


def _subset(entry: Mapping) -> list[str]:
    """The reference, then the other pictures of its subset that are not the answer."""
    members = entry.get("img_set", {}).get("members", [])
    others = (picture for picture in members if picture != entry["target_hard"])
    return list(dict.fromkeys([name(entry, "reference"), *others]))


def json_lines(path: Path | str, shift: Shift = "multilingual") -> QuerySet:
    """Queries of any other data set, as described above. Paths of pictures begin at the file's own folder.

    Args:
        shift: what kind of queries they are.

    Raises:
        FileNotFoundError: the file, or a picture, is not there.
        ValueError: a line that is no such object, an empty query, a picture outside of the folder, no line
            at all, or a file that is not UTF-8.
    """
    asked, paths = [], {}
    for number, line in _lines(path):
        with _named(f"{path}, line {number}"):
            record = {"language": "en"} | _object(line)
            said, language = name(record, "query").strip(), name(record, "language")
            keys = ("image", "reference") if record.get("reference") else ("image",)
            named = [name(record, key) for key in keys]
            paths |= {picture: inside(Path(path).parent, picture) for picture in named}
            asked.append((said, language, named))
    _some(asked, path)
    _all_there(paths)
    scenes = {picture: _scene(file, picture) for picture, file in paths.items()}
    queries = [
        Query(said, shift, language, scenes[right], (), tuple(scenes[picture] for picture in near))
        for said, language, (right, *near) in asked
    ]
    return QuerySet(tuple(queries), tuple(scenes.values()))


# --- what they share ------------------------------------------------------------------------------


def _set(asked: Sequence[tuple[str, Path]], shift: Shift, language: str, source: Path | str) -> QuerySet:
    """Queries with a picture each."""
    _some(asked, source)
    paths = {path.name: path for _, path in asked}
    _all_there(paths)
    scenes = {picture: _scene(path, picture) for picture, path in paths.items()}
    queries = [Query(text, shift, language, scenes[path.name], ()) for text, path in asked]
    return QuerySet(tuple(queries), tuple(scenes.values()))


def _scene(path: Path, picture: str) -> Scene:
    """A picture in a file. Nothing is known of what it shows."""
    return Scene(picture, caption="", objects=(), draw=partial(draw, path))


def _lines(path: Path | str) -> Iterable[tuple[int, str]]:
    """Lines with words, and their numbers."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: see the data set's own page on where to get it")
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


@contextmanager
def _named(record: Path | str) -> Iterator[None]:
    """What a record of another shape leads to, as a ValueError that says which record it is."""
    try:
        yield
    except UnknownLanguageError:
        raise
    except KeyError as error:
        raise ValueError(f"{record}: {error} lacks") from error
    except DAMAGE as error:
        raise ValueError(f"{record}: {error}") from error


def _object(line: str) -> dict:
    """A line of JSON that is an object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no JSON ({error})") from error
    if not isinstance(record, dict):
        raise TypeError(f"an object is expected, got {record!r:.60}")
    return record


def _json(path: Path, kind: type) -> Any:
    """What a JSON file holds, a list or an object."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: CIRR publishes captions/ and image_splits/ together"
        )
    found = parsed(path)
    if not isinstance(found, kind):
        raise ValueError(f"{path} must hold a {kind.__name__}, got {found!r:.60}: fetch it again")
    return found


def _some(found: Sequence, source: Path | str) -> None:
    if not found:
        raise ValueError(f"{source} holds no queries")


def _all_there(paths: Mapping[str, Path]) -> None:
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"pictures: {len(missing)} of {len(paths)} are not there, {missing[0]} among them"
        )
