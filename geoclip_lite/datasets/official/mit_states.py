"""MIT-States (Isola et al., 2015): nouns in states, one folder each.

    images/ancient building/abc.jpg
    adj_ants.csv

A folder `adj building` holds pictures of the noun in whatever state and is passed over. No licence was found.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from geoclip_lite import images
from geoclip_lite.datasets.folder import draw, is_picture
from geoclip_lite.datasets.official.reading import Faults, Missing, Reading, need
from geoclip_lite.scenes import Scene, SceneObject

SLOT = "state"
ANY_STATE = "adj"


def read(folder: Path | str, missing: Missing = "refuse") -> Reading[Scene]:
    """Every picture, captioned "ancient building"; its one object has the slot `state`.

    Args:
        missing: what becomes of folders whose name is not an adjective and a noun, and of empty ones.

    Raises:
        FileNotFoundError: there is no folder `images`.
        ValueError: something is damaged or missing, and is refused; or no picture is there.
    """
    folder = Path(folder)
    need(folder, ["images"], "mit-states")
    faults, scenes = Faults(missing), []
    for place in sorted(path for path in (folder / "images").iterdir() if path.is_dir()):
        adjective, _, noun = place.name.partition(" ")
        paths = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        files = [path for path in paths if is_picture(path)]
        for path in paths:
            if images.OTHERS.fullmatch(path.suffix.lower()):
                faults.leave("pictures in formats that are not decoded", f"{place.name}/{path.name}")
        if adjective == ANY_STATE:
            faults.leave("folders of nouns in any state", place.name)
        elif not noun or not files:
            faults.note("folders without a picture or without a noun in their name", place.name)
        else:
            shown = (SceneObject(noun, ((SLOT, adjective),)),)
            scenes += [
                Scene(f"{place.name}/{path.name}", place.name, shown, partial(draw, path)) for path in files
            ]
    return faults.reading(scenes)


def antonyms(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Adjective -> its antonyms, from `adj_ants.csv`, whose rows are of any length."""
    found: dict[str, tuple[str, ...]] = {}
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file):
            first, *others = [cell.strip() for cell in row] or [""]
            if first:
                words = dict.fromkeys((*found.get(first, ()), *filter(None, others)))
                found[first] = tuple(words)
    return found
