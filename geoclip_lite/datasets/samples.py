"""Small rendered samples in the official formats, to run on where the real files are not at hand.

The scenes are those of the CLEVR-like world. Files and folders lie where
`python -m geoclip_lite.datasets get` puts the real ones, so one reader reads both. Figures from a sample say
nothing about the real data set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from geoclip_lite.composition import rebound, with_value
from geoclip_lite.datasets import clevr_like
from geoclip_lite.datasets.clevr_like import MATERIALS, SHAPES, TYPES, describe
from geoclip_lite.datasets.raycast import COLOURS
from geoclip_lite.files import write_atomically
from geoclip_lite.scenes import Scene, SceneObject

SIZE = 64  # of a picture, in pixels
Things = tuple[SceneObject, ...]
Negative = Callable[[Things, np.random.Generator], tuple[Things, Things] | None]  # a right and a wrong one


def write(folder: Path | str, n: int = 200, seed: int = 0) -> Path:
    """Samples of SugarCrepe with COCO's pictures, Urban1k, CLEVR and Visual Genome.

    Args:
        folder: what `--folder` is for downloads.
        n: pictures of each.
        seed: of everything.

    Raises:
        ValueError: n below 1.
        FileExistsError: the folder holds something.
    """
    folder = Path(folder)
    if n < 1:
        raise ValueError(f"n must be 1 picture or more, got {n}")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"folder: {folder} is not empty, and may hold the real thing: name another one")
    rng = np.random.default_rng(seed)
    for number, make in enumerate((clevr, sugarcrepe, urban1k, visual_genome)):
        make(folder, list(records(n, seed=[seed, number])), rng)
    return folder


def records(n: int, seed: Sequence[int]) -> Iterator[dict]:
    """Scenes of three to five objects, in CLEVR's schema."""
    rng = np.random.default_rng(seed)
    for index in range(n):
        chosen = rng.choice(len(TYPES), int(rng.integers(3, 6)), replace=False)
        record = clevr_like.make_record([TYPES[i] for i in chosen], rng)
        yield record | {"image_index": index, "image_filename": f"CLEVR_val_{index:06d}.png", "split": "val"}


def _scene(record: dict) -> Scene:
    return clevr_like.scene_from_record(record, record["image_filename"])


def _draw(record: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _scene(record).image(SIZE).save(path, quality=95)


def _save(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (content if isinstance(content, str) else json.dumps(content)).encode())


# --- one data set each ----------------------------------------------------------------------------


def clevr(folder: Path, some: list[dict], rng: np.random.Generator) -> None:
    """Scenes as CLEVR v1.0 has them."""
    place = folder / "clevr" / "CLEVR_v1.0"
    for record in some:
        _draw(record, place / "images" / "val" / record["image_filename"])
    _save(place / "scenes" / "CLEVR_val_scenes.json", {"info": {"split": "val"}, "scenes": some})


def sugarcrepe(folder: Path, some: list[dict], rng: np.random.Generator) -> None:
    """Captions and hard negatives of every kind but relations, several items a picture."""
    items: dict[str, dict[str, dict]] = {subset: {} for subset in (*NEGATIVES, "replace_rel")}
    for number, record in enumerate(some):
        scene, name = _scene(record), f"{number:012d}.jpg"
        _draw(record, folder / "coco" / "val2017" / name)
        for subset, negative in NEGATIVES.items():
            if pair := negative(scene.objects, rng):
                right, wrong = map(describe, pair)
                said = {"caption": right, "negative_caption": wrong}
                items[subset][str(number)] = {"filename": name} | said
        items["replace_rel"][str(number)] = {"filename": name} | _sides(scene)
    for subset, found in items.items():
        _save(folder / "sugarcrepe" / f"{subset}.json", found)


def _sides(scene: Scene) -> dict[str, str]:
    """Which of two objects stands further left, and the opposite."""
    left, right = sorted(scene.objects[:2], key=lambda thing: thing.position[0])
    said = "a photo of a {} to the left of a {}"
    return {
        "caption": said.format(left.phrase, right.phrase),
        "negative_caption": said.format(right.phrase, left.phrase),
    }


def _replaced(slot: str, values: Sequence[str]) -> Callable[[Things, np.random.Generator], Things]:
    """One object with another value."""

    def negative(things: Things, rng: np.random.Generator) -> Things:
        i = int(rng.integers(len(things)))
        other = str(rng.choice([value for value in values if value != things[i].slots[slot]]))
        return (*things[:i], with_value(things[i], slot, other), *things[i + 1 :])

    return negative


def _added(things: Things, rng: np.random.Generator) -> Things:
    """One object more, that is not there."""
    absent = [thing for thing in TYPES if thing not in things]
    return (*things, absent[int(rng.integers(len(absent)))])


def _with_attribute(things: Things, rng: np.random.Generator) -> tuple[Things, Things]:
    """A caption that leaves one material out, and one that adds the wrong one."""
    i = int(rng.integers(len(things)))
    kept = tuple(pair for pair in things[i].attributes if pair[0] != "material")
    other = next(value for value in MATERIALS if value != things[i].slots["material"])
    plain, wrong = replace(things[i], attributes=kept), with_value(things[i], "material", other)
    return tuple((*things[:i], thing, *things[i + 1 :]) for thing in (plain, wrong))


def _against(negative: Callable[[Things, np.random.Generator], Things | None]) -> Negative:
    """The whole caption, and what becomes of it."""

    def pair(things: Things, rng: np.random.Generator) -> tuple[Things, Things] | None:
        wrong = negative(things, rng)
        return None if wrong is None else (things, wrong)

    return pair


NEGATIVES: dict[str, Negative] = {
    "add_att": _with_attribute,
    "add_obj": _against(_added),
    "replace_att": _against(_replaced("colour", tuple(COLOURS))),
    "replace_obj": _against(_replaced("noun", SHAPES)),
    "swap_att": _against(partial(rebound, slot="colour")),
    "swap_obj": _against(partial(rebound, slot="noun")),
}


def urban1k(folder: Path, some: list[dict], rng: np.random.Generator) -> None:
    """Captions of a hundred words, the objects one after the other."""
    place = folder / "urban1k" / "Urban1k"
    for number, record in enumerate(some, start=1):
        _draw(record, place / "image" / f"{number}.jpg")
        _save(place / "caption" / f"{number}.txt", _long(_scene(record)))


def _long(scene: Scene) -> str:
    """In sentences, from left to right."""
    order = sorted(scene.objects, key=lambda thing: thing.position[0])
    said = [f"a photo of {len(order)} objects on a wide table, seen from the front, in an even light"]
    for i, thing in enumerate(order):
        where = "at the left" if i == 0 else f"to the right of the {order[i - 1].noun}"
        said.append(f"{where} there is a {thing.phrase}, which stands by itself and throws a soft shadow")
    said.append("nothing else can be seen, and the wall behind the table is plain and bright all over")
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in said) + "."


def visual_genome(folder: Path, some: list[dict], rng: np.random.Generator) -> None:
    """Objects with boxes, attributes and relations, in the files of version 1.4."""
    place, files = folder / "visual-genome", {name: [] for name in VG_FILES}
    for image_id, record in enumerate(some, start=1):
        scene, picture = _scene(record), f"VG_100K/{image_id}.jpg"
        _draw(record, place / picture)
        about = {"image_id": image_id, "width": SIZE, "height": SIZE, "coco_id": None, "flickr_id": None}
        files["image_data"].append(about | {"url": f"https://cs.stanford.edu/people/rak248/{picture}"})
        things = [_boxed(thing, 100 * image_id + i) for i, thing in enumerate(scene.objects)]
        words = [
            thing | {"attributes": [word for _, word in seen.attributes]}
            for thing, seen in zip(things, scene.objects, strict=True)
        ]
        ends = [
            {"predicate": r.predicate, "subject": things[r.subject], "object": things[r.object]}
            for r in scene.relations
        ]
        files["objects"].append({"image_id": image_id, "objects": things})
        files["attributes"].append({"image_id": image_id, "attributes": words})
        files["relationships"].append({"image_id": image_id, "relationships": ends})
    for name, content in files.items():
        _save(place / f"{name}.json", content)


VG_FILES = ("image_data", "objects", "attributes", "relationships")


def _boxed(thing: SceneObject, object_id: int) -> dict:
    """An object in a box of a quarter of the picture's width, around where it stands."""
    side, (x, y) = SIZE // 4, thing.position
    box = {"x": round(SIZE * x - side / 2), "y": round(SIZE * y - side / 2), "w": side, "h": side}
    return {"object_id": object_id, "names": [thing.noun], "synsets": []} | box
