"""Urban1k (Zhang et al., 2024): streets, each with one caption of 74 to 179 words.

    Urban1k/image/12.jpg
    Urban1k/caption/12.txt

A text encoder of 77 tokens reads the beginning of nearly every caption only. Releases from before
2024-11-14 have an empty `592.txt`. CC BY-NC 4.0: not for commercial purposes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.reading import Faults, Missing, Reading, need
from geoclip_lite.scenes import Scene

PAIRS = 1000


def read(folder: Path | str, pairs: int | None = PAIRS, missing: Missing = "refuse") -> Reading[Scene]:
    """Pictures with the first lines of their captions, in the order of their numbers.

    Args:
        folder: the one with `image` and `caption` in it.
        pairs: how many there must be, damaged ones included; None: any number.
        missing: what becomes of a picture without a caption, a caption without a picture, and one that is
            empty or not UTF-8.

    Raises:
        FileNotFoundError: one of the two folders is not there.
        ValueError: not as many pairs, or something is damaged or missing, and is refused.
    """
    folder = Path(folder)
    need(folder, ["image", "caption"], "urban1k")
    faults = Faults(missing)
    images, captions = _by_stem(folder / "image", ".jpg"), _by_stem(folder / "caption", ".txt")
    stems = sorted(images.keys() | captions.keys(), key=lambda stem: (len(stem), stem))  # 9 before 10
    if pairs not in (None, len(stems)):
        faults.note(f"pairs instead of {pairs:,}", f"there are {len(stems):,}")
    scenes = []
    for stem in stems:
        shown, said = images.get(stem, []), captions.get(stem, [])
        if not shown or not said:
            faults.note("pictures or captions without the other", stem)
        elif len(shown) + len(said) > 2:
            faults.note("numbers of several pictures or captions", stem)
        elif caption := _first_line(said[0]):
            scenes.append(Scene(shown[0].name, caption, (), partial(draw, shown[0])))
        else:
            faults.note("captions that are empty or not UTF-8", said[0].name)
    return faults.reading(scenes)


def _by_stem(folder: Path, suffix: str) -> dict[str, list[Path]]:
    """Files by their number, but for hidden ones; where case matters, `1.jpg` and `1.JPG` are two."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if path.suffix.lower() == suffix and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def _first_line(path: Path) -> str:
    """Its runs of blanks single blanks; "" where there is none."""
    try:
        lines = path.read_text("utf-8-sig").split("\n", 1)
    except UnicodeDecodeError:
        return ""
    return " ".join(lines[0].split())
