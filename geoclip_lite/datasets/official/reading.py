"""What the readers of official formats share: what they return, and what they do about damage.

Reading             scenes, and what was left out, by name
Faults              notes what is damaged or missing; in the end it refuses, or says what was skipped
told                what was left out, in words
text, name, number, listed  a field of a record, if it is what it should be
inside              the path of a file that a record names
parsed              what a JSON file holds
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic, Literal, TypeVar, get_args

from geoclip_lite.datasets.catalogue import SOURCES
from geoclip_lite.scenes import Scene

Missing = Literal["refuse", "skip"]
SceneLike = TypeVar("SceneLike", bound=Scene)

# What a record of another shape than the official one leads to.
DAMAGE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(frozen=True)
class Reading(Generic[SceneLike]):
    """What was read.

    Args:
        scenes: in the order of the files. Scenes with one `image_id` show one picture.
        left_out: why -> the names of what was left out for that reason.
    """

    scenes: tuple[SceneLike, ...]
    left_out: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        pictures = len({scene.image_id for scene in self.scenes})
        found = f"{len(self.scenes):,} scenes of {pictures:,} pictures"
        return f"{found}. Left out: {told(self.left_out)}" if self.left_out else found

    def gallery(self) -> list[SceneLike]:
        """Every picture once, by the first scene that shows it."""
        first: dict[str, SceneLike] = {}
        for scene in self.scenes:
            first.setdefault(scene.image_id, scene)
        return list(first.values())

    def readable(self, missing: Missing = "refuse") -> Reading[SceneLike]:
        """The scenes whose pictures can be decoded to the last pixel; decodes every picture once.

        Readers open no more of a picture than they must, so a truncated one would otherwise come to light
        when it is drawn.

        Raises:
            ValueError: a picture that cannot be decoded, if `missing` is "refuse".
        """
        faults = Faults(missing, self.left_out)
        broken = {scene.image_id for scene in self.gallery() if not _can_be_drawn(scene, faults)}
        scenes = [scene for scene in self.scenes if scene.image_id not in broken]
        return faults.reading(scenes)


def _can_be_drawn(scene: Scene, faults: Faults) -> bool:
    try:
        scene.image()
    except ValueError:
        faults.note("pictures that cannot be read", scene.image_id)
        return False
    return True


class Faults:
    """What a reader found damaged or missing.

    Args:
        missing: "refuse" raises in the end, when all is known; "skip" leaves out and counts.
        left_out: what had been left out already.
    """

    def __init__(self, missing: Missing, left_out: Mapping[str, Sequence[str]] | None = None):
        if missing not in get_args(Missing):
            raise ValueError(f"missing must be {' or '.join(get_args(Missing))}, got {missing!r}")
        self.missing = missing
        self.found: dict[str, list[str]] = {}
        self.left_out = {why: list(names) for why, names in (left_out or {}).items()}

    def note(self, why: str, name: object) -> None:
        """Something is damaged or missing."""
        self.found.setdefault(why, []).append(str(name))
        self.leave(why, name)

    def leave(self, why: str, name: object) -> None:
        """Something is left out as it should be: counted, never refused."""
        self.left_out.setdefault(why, []).append(str(name))

    def reading(self, scenes: Sequence[SceneLike]) -> Reading[SceneLike]:
        """The end of reading.

        Raises:
            ValueError: something was noted, and is to be refused; or nothing is left.
        """
        if self.found and self.missing == "refuse":
            raise ValueError(f"{told(self.found)}. missing='skip' leaves these out")
        if not scenes:
            raise ValueError(f"there is no scene to read. Left out: {told(self.left_out) or 'nothing'}")
        return Reading(tuple(scenes), {why: tuple(names) for why, names in self.left_out.items()})


def told(names: Mapping[str, Sequence[str]]) -> str:
    """Counts, each with a few names."""
    counts = (
        f"{why}: {len(some):,} ({', '.join(some[:3])}{', ...' * bool(some[3:])})"
        for why, some in names.items()
    )
    return "; ".join(counts)


def need(folder: Path, names: Sequence[str], source: str) -> None:
    """Files or folders that must be there.

    Args:
        source: whose they are, as the catalogue calls it.

    Raises:
        FileNotFoundError: which are not, and where to get them.
    """
    if lacking := [name for name in names if not (Path(folder) / name).exists()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(lacking)}: {SOURCES[source].advice}")


def text(record: Mapping, key: str) -> str:
    """A text, its runs of blanks single blanks. Raises what `name` raises."""
    return " ".join(name(record, key).split())


def name(record: Mapping, key: str) -> str:
    """A text as it stands, the name of a file, say.

    Raises:
        KeyError, TypeError, ValueError: missing, no text, or blank.
    """
    if not isinstance(record[key], str):
        raise TypeError(f"{key} must be text, got {record[key]!r:.60}")
    if not record[key].strip():
        raise ValueError(f"{key} is empty")
    return record[key]


def number(record: Mapping, key: str) -> int:
    """A whole number; 1.0 and True, which Python takes for 1, are none. Raises KeyError or TypeError."""
    if type(record[key]) is not int:
        raise TypeError(f"{key} must be a whole number, got {record[key]!r:.60}")
    return record[key]


def inside(folder: Path, file: str) -> Path:
    """The path of a file that a record names, as seen from a folder.

    Raises:
        ValueError: the name leads out of the folder.
    """
    if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
        raise ValueError(f"{file!r} must lie inside {folder}: no absolute path, no ..")
    return folder / file


def listed(record: Mapping, key: str) -> list:
    """A list. Raises KeyError or TypeError where there is none."""
    if not isinstance(record[key], list):
        raise TypeError(f"{key} must be a list, got {record[key]!r:.60}")
    return record[key]


def parsed(path: Path) -> Any:
    """What a JSON file holds, with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, or no UTF-8.
    """
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): fetch it again") from error
