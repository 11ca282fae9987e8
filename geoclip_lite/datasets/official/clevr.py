"""CLEVR (Johnson et al., 2017), CLEVR-HOPE (Berlot-Attwell et al., 2024), and what else has CLEVR's schema.

    {"info": {...}, "scenes": [{"image_index": 0, "image_filename": "CLEVR_val_000000.png",
      "objects": [{"shape": "cylinder", "size": "large", "color": "brown", "material": "rubber",
                   "3d_coords": [...], "pixel_coords": [119, 131, 10.8], "rotation": 178.9}],
      "relationships": {"right": [[1, 2], [...]]}, "directions": {...}, "split": "val"}]}

Of a record, only `objects` and `image_filename` must be there (and `image_index` for HDF5), and of an object
its shape, size, colour and material. CLEVR-HOPE trims its scenes to that; its minimal splits show one object
each, so queries about several need the complex ones. Pictures lie in folders or in an HDF5 file.

Other generators draw a scene from several sides: `scene_7_left.png` and `scene_7_right.png` both belong to
the record of `scene_7.png`. Each is a scene here, without positions and relations: those are as seen from the
camera of the one picture that the record names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from geoclip_lite.datasets import folder
from geoclip_lite.datasets.clevr_like import SLOTS, describe
from geoclip_lite.datasets.official.json_stream import elements
from geoclip_lite.datasets.official.reading import DAMAGE, Faults, Missing, Reading, listed, name, need, text
from geoclip_lite.images import SUFFIXES, PictureError, opened
from geoclip_lite.scenes import Relation, Scene, SceneObject

FEATURES = "features"  # the HDF5 file's data set: uint8, pictures x 3 x height x width
SEPARATORS = re.compile(r"[ _.-]+")

Size = tuple[int, int]  # width and height


def read(scenes: Path | str, images: Path | str, missing: Missing = "refuse") -> Reading[Scene]:
    """The scenes of a file, in its order; of one drawn several times, all views in the order of their names.

    Args:
        scenes: "CLEVR_v1.0/scenes/CLEVR_val_scenes.json".
        images: a folder, "CLEVR_v1.0/images/val", or an HDF5 file, whose rows are numbered by `image_index`.
        missing: what becomes of damaged records, of those without a picture, and of pictures whose beginning
            cannot be read (`Reading.readable` finds the ones that are cut off later).

    Raises:
        ImportError: an HDF5 file, and h5py is not installed.
        FileNotFoundError: scenes or images are not there.
        ValueError: no such JSON or HDF5 file, or something is damaged or missing, and is refused.
    """
    scenes, images = Path(scenes), Path(images)
    for path in (scenes, images):
        need(path.parent, [path.name], "clevr")
    faults, found, seen = Faults(missing), [], set()
    pictures = _Rows(images) if images.is_file() else _Files(images, scenes, faults)
    for number, record in enumerate(elements(scenes, "scenes")):
        try:
            called = _called(record)
            if called in seen:
                raise ValueError("is there twice")
            found += [_scene(record, *view) for view in pictures.of(called, record)]
            seen.add(called)
        except DAMAGE as error:
            file = record.get("image_filename") if isinstance(record, dict) else ""
            faults.note("damaged scenes", f"number {number}, {file}: {error!r}")
    return faults.reading(found)


def _called(record: dict) -> str:
    """Of the picture, without its suffix, perhaps with folders: "val/CLEVR_val_000000"."""
    path = PurePosixPath(name(record, "image_filename"))
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def _scene(record: dict, image_id: str, size: Size | None, draw: partial) -> Scene:
    """Without a size, of a view that the record's positions and relations are not about."""
    objects = tuple(_object(entry, size) for entry in listed(record, "objects"))
    if not objects:
        raise ValueError("shows no object")
    return Scene(image_id, describe(objects), objects, draw, _relations(record) if size else ())


def _object(entry: dict, size: Size | None) -> SceneObject:
    attributes = tuple((slot, text(entry, key)) for slot, key in SLOTS.items())
    position = None
    if size and entry.get("pixel_coords") is not None:
        x, y = entry["pixel_coords"][:2]
        position = (x / size[0], y / size[1])
    return SceneObject(text(entry, "shape"), attributes, position)


def _relations(record: dict) -> tuple[Relation, ...]:
    """`relationships[name][i]` lists the objects that stand `name` of object i."""
    objects = range(len(record["objects"]))
    relations = tuple(
        Relation(subject, predicate, of)
        for predicate, related in (record.get("relationships") or {}).items()
        for of, subjects in enumerate(related)
        for subject in subjects
    )
    if any(r.subject not in objects or r.object not in objects for r in relations):
        raise ValueError("relationships: a number that no object has")
    return relations


# --- where pictures lie ---------------------------------------------------------------------------


class _Files:
    """Pictures in a folder and the folders in it.

    A file belongs to the record with the longest name that it begins with, cut between words: to `scene_7`
    belong `scene_7.png` and `a/scene_7_left.png`, but not `scene_70.png`, and not `scene_7_2.png` if there is
    a record of that name.
    """

    def __init__(self, place: Path, scenes: Path, faults: Faults):
        self.place, self.faults = place, faults
        names = _names(scenes)
        self.files: dict[str, list[Path]] = {}
        for path in sorted(place.rglob("*")):
            if folder.is_picture(path):
                owner = next((n for n in _beginnings(path.relative_to(place)) if n in names), None)
                self.files.setdefault(owner, []).append(path)

    def of(self, called: str, record: dict) -> list[tuple[str, Size | None, partial]]:
        """Image id, size if it is the one picture that the record names, and how to draw it."""
        files, views = self.files.get(called, ()), []
        named = [path for path in files if called in _whole(path.relative_to(self.place))]
        if not files:
            self.faults.note("scenes without a picture", called)
        for path in files:
            image_id = path.relative_to(self.place).as_posix()
            try:
                size = opened(path, lambda image: image.size)
            except PictureError as error:
                self.faults.note("pictures that cannot be read", f"{image_id}: {error!r}")
                continue
            views.append((image_id, size if named == [path] else None, partial(folder.draw, path)))
        return views


def _names(scenes: Path) -> set[str]:
    """Of all records that have one."""
    names = set()
    for record in elements(scenes, "scenes"):
        with suppress(*DAMAGE):
            names.add(_called(record))
    return names


def _beginnings(path: Path) -> Iterator[str]:
    """What a record of this file may be called, longest first: cut at the end, and with fewer folders."""
    yield from _whole(path)
    for cut in reversed([found.start() for found in SEPARATORS.finditer(path.stem)]):
        yield from _whole(path, cut)


def _whole(path: Path, cut: int | None = None) -> list[str]:
    """The name without suffix, up to a cut; with all its folders, and with fewer."""
    folders = path.parent.parts
    return ["/".join([*folders[first:], path.stem[:cut]]) for first in range(len(folders) + 1)]


class _Rows:
    """Pictures in an HDF5 file, which is opened for every one: an open one could not be shared by workers."""

    def __init__(self, path: Path):
        self.path = path
        with _opened(path) as file:
            rows = file.get(FEATURES)
            shape, kind = getattr(rows, "shape", None), getattr(rows, "dtype", None)
        if kind != np.uint8 or len(shape) != 4 or shape[1] != 3:
            wanted = f"{FEATURES!r}, uint8 of shape pictures x 3 x height x width"
            raise ValueError(f"{path} must hold {wanted}, got {kind} of shape {shape}")
        self.count, _, self.height, self.width = shape
        self.taken: set[int] = set()

    def of(self, called: str, record: dict) -> list[tuple[str, Size | None, partial]]:
        """As `_Files.of`."""
        row = record["image_index"]
        if type(row) is not int or not 0 <= row < self.count:
            raise ValueError(f"image_index must be a row of {self.count}, got {row!r}")
        if row in self.taken:
            raise ValueError(f"image_index must be another one for every record, got {row} again")
        self.taken.add(row)
        drawn = partial(_draw_row, self.path, row)
        return [(record["image_filename"], (self.width, self.height), drawn)]


def _opened(path: Path):
    try:
        import h5py
    except ImportError as error:
        raise ImportError("reading HDF5 needs h5py: pip install 'geoclip-lite[hdf5]'") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file, or a damaged one ({error}): fetch it again") from error


def _draw_row(path: Path, row: int, size: int) -> Image.Image:
    """The picture in its own size.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        try:
            return Image.fromarray(file[FEATURES][row].transpose(1, 2, 0))
        except OSError as error:
            raise ValueError(f"{path}: row {row} cannot be read ({error}): fetch the file again") from error
