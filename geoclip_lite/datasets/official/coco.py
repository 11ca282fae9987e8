"""COCO 2017 with its captions (Chen et al., 2015), as published:

    val2017/000000000139.jpg
    annotations/captions_val2017.json

Every caption is a scene, and the five or more of one picture share its `image_id`: `Reading.gallery` has each
picture once. Evaluators keep the first five captions of a picture, so 25,000 of val2017's 25,014 remain. The
"COCO 5K" of the literature is another set of 5,000 pictures, Karpathy's split of 2014: say which one is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.json_stream import elements
from geoclip_lite.datasets.official.reading import DAMAGE, Faults, Missing, Reading, name, need, number, text
from geoclip_lite.scenes import Scene


def read(
    folder: Path | str, split: str = "val2017", captions: int = 5, missing: Missing = "refuse"
) -> Reading[Scene]:
    """The captions of a split, picture by picture.

    Args:
        captions: kept of each picture; the ones after them are counted.
        missing: what becomes of records that are damaged, and of pictures without a file or a caption.

    Raises:
        FileNotFoundError: the annotations or the folder of pictures are not there.
        ValueError: no JSON, or something is damaged or missing, and is refused.
    """
    folder, annotations = Path(folder), f"annotations/captions_{split}.json"
    need(folder, [split, annotations], "coco")
    faults = Faults(missing)
    names = _names(folder / annotations, faults)
    spoken: dict[int, list[str]] = {image: [] for image in names}
    for place, record in enumerate(elements(folder / annotations, "annotations")):
        try:
            spoken[number(record, "image_id")].append(text(record, "caption"))
        except DAMAGE as error:
            faults.note("damaged captions, or of unknown pictures", f"number {place}: {error!r}")
    scenes = []
    for image, file in names.items():
        if not (folder / split / file).is_file():
            faults.note("pictures without a file", file)
            continue
        if not spoken[image]:
            faults.note("pictures without a caption", file)
        for caption in spoken[image][captions:]:
            faults.leave(f"captions beyond the first {captions}", f"{file}: {caption}")
        drawn = partial(draw, folder / split / file)
        scenes += [Scene(file, caption, (), drawn) for caption in spoken[image][:captions]]
    return faults.reading(scenes)


def _names(path: Path, faults: Faults) -> dict[int, str]:
    """Number of a picture -> the name of its file."""
    names: dict[int, str] = {}
    files: set[str] = set()
    for place, record in enumerate(elements(path, "images")):
        try:
            image, file = number(record, "id"), name(record, "file_name")
            if image in names or file in files or Path(file).name != file:
                raise ValueError(f"{image} or {file!r} is there twice, or the latter is no name of a file")
            names[image] = file
            files.add(file)
        except DAMAGE as error:
            faults.note("damaged records of pictures", f"number {place}: {error!r}")
    return names
