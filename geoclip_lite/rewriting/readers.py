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
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from geoclip_lite.datasets.folder import draw
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
        ValueError: a line of another form, or no line at all.
    """
    asked = []
    for number, line in _lines(captions):
        if not (found := LINE.fullmatch(line)):
            raise ValueError(
                f'{captions}, line {number}: expected "<picture>.jpg#<n>" and a text, got {line!r}'
            )
        asked.append((found["text"], Path(pictures) / f"{found['picture']}.jpg"))
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
        ValueError: a line that is no such object, or no line at all.
    """
    asked = []
    for number, line in _lines(captions):
        record = _object(line, captions, number, "image/key")
        if "caption" not in (said := record.get(language, {})):
            there = sorted(key for key, value in record.items() if isinstance(value, dict))
            where = f"{captions}, line {number}"
            raise UnknownLanguageError(
                f"language: {where}, has no captions in {language!r}; it has {', '.join(there)}"
            )
        path = Path(pictures) / f"{record['image/key']}.jpg"
        asked += [(text.strip(), path) for text in said["caption"] if text.strip()]
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
        ValueError: entries of another form, or without their answers.
    """
    folder = Path(annotations)
    entries = _json(folder / "captions" / f"cap.rc2.{part}.json")
    paths = _json(folder / "image_splits" / f"split.rc2.{part}.json")
    scenes = {name: _scene(Path(pictures) / path, name) for name, path in paths.items()}
    _all_there({name: Path(pictures) / path for name, path in paths.items()})
    queries = []
    for entry in entries:
        if "target_hard" not in entry:
            raise ValueError(f"part: {part!r} is published without its answers; take 'train' or 'val'")
        near = _subset(entry)
        if missing := sorted({entry["target_hard"], *near} - scenes.keys()):
            raise ValueError(
                f"split.rc2.{part}.json has no picture {missing[0]!r} of pair {entry.get('pairid')}"
            )
        said = entry["caption"].strip()
        text = f"like {captions[near[0]]}, but {said}" if captions is not None else said
        right, others = scenes[entry["target_hard"]], tuple(scenes[name] for name in near)
        queries.append(Query(text, "composed", "en", right, (), others))
    return QuerySet(tuple(queries), tuple(scenes.values()))


def _subset(entry: Mapping) -> list[str]:
    """The reference, then the other pictures of its subset that are not the answer."""
    others = entry.get("img_set", {}).get("members", [])
    return list(
        dict.fromkeys([entry["reference"], *(name for name in others if name != entry["target_hard"])])
    )


def json_lines(path: Path | str, shift: Shift = "multilingual") -> QuerySet:
    """Queries of any other data set, as described above. Paths of pictures begin at the file's own folder.

    Args:
        shift: what kind of queries they are.

    Raises:
        FileNotFoundError: the file, or a picture, is not there.
        ValueError: a line that is no such object, an empty query, or no line at all.
    """
    folder, queries, scenes = Path(path).parent, [], {}
    for number, line in _lines(path):
        record = _object(line, path, number, "query", "image")
        if not str(record["query"]).strip():
            raise ValueError(f"{path}, line {number}: the query has no words")
        named = [record["image"], *([record["reference"]] if record.get("reference") else [])]
        scenes |= {name: _scene(folder / name, name) for name in named if name not in scenes}
        near = tuple(scenes[name] for name in named[1:])
        language = record.get("language", "en")
        queries.append(Query(str(record["query"]).strip(), shift, language, scenes[named[0]], (), near))
    _some(queries, path)
    _all_there({name: folder / name for name in scenes})
    return QuerySet(tuple(queries), tuple(scenes.values()))


# --- what they share ------------------------------------------------------------------------------


def _set(asked: Sequence[tuple[str, Path]], shift: Shift, language: str, source: Path | str) -> QuerySet:
    """Queries with a picture each."""
    _some(asked, source)
    paths = {path.name: path for _, path in asked}
    _all_there(paths)
    scenes = {name: _scene(path, name) for name, path in paths.items()}
    queries = [Query(text, shift, language, scenes[path.name], ()) for text, path in asked]
    return QuerySet(tuple(queries), tuple(scenes.values()))


def _scene(path: Path, name: str) -> Scene:
    """A picture in a file. Nothing is known of what it shows."""
    return Scene(name, caption="", objects=(), draw=partial(draw, path))


def _lines(path: Path | str) -> Iterable[tuple[int, str]]:
    """Lines with words, and their numbers."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: see the data set's own page on where to get it")
    lines = Path(path).read_text("utf-8-sig").splitlines()
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def _object(line: str, path: Path | str, number: int, *keys: str) -> dict:
    """A JSON object with these keys."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number} is no JSON ({error})") from error
    if not isinstance(record, dict) or (lacking := [key for key in keys if key not in record]):
        lacking = list(keys) if not isinstance(record, dict) else lacking
        raise ValueError(
            f"{path}, line {number}: an object with {', '.join(keys)} is expected, {lacking[0]!r} lacks"
        )
    return record


def _json(path: Path):
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: CIRR publishes captions/ and image_splits/ together"
        )
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): fetch it again") from error


def _some(found: Sequence, source: Path | str) -> None:
    if not found:
        raise ValueError(f"{source} holds no queries")


def _all_there(paths: Mapping[str, Path]) -> None:
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"pictures: {len(missing)} of {len(paths)} are not there, {missing[0]} among them"
        )
