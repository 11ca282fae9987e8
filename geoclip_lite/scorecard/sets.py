"""Data sets by name, as the tables need them.

Rendered worlds need no files. The others are read from the folders that `python -m geoclip_lite.datasets get`
fills.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.datasets.official import clevr, sugarcrepe, urban1k, visual_genome
from geoclip_lite.scorecard.benchmark import Benchmark
from geoclip_lite.scorecard.shop import Shop


class SetMissingError(FileNotFoundError):
    """A data set's files are not there. The message says which, and where to get them."""


def _urban1k(folder: Path) -> Benchmark:
    reading = urban1k.read(folder / "urban1k" / "Urban1k", missing="skip")
    return Benchmark.of_reading("urban1k", reading, graded=False)


def _sugarcrepe(folder: Path) -> Benchmark:
    reading = sugarcrepe.read(folder / "sugarcrepe", folder / "coco" / "val2017", missing="skip")
    return Benchmark.of_reading("sugarcrepe", reading, graded=False)


def _clevr(folder: Path) -> Benchmark:
    place = folder / "clevr" / "CLEVR_v1.0"
    reading = clevr.read(place / "scenes" / "CLEVR_val_scenes.json", place / "images" / "val", missing="skip")
    return Benchmark.of_reading("clevr", reading)


def _visual_genome(folder: Path) -> Benchmark:
    return Benchmark.of_reading("visual-genome", visual_genome.read(folder / "visual-genome", missing="skip"))


SETS: dict[str, Callable[[Path], Benchmark | Shop]] = {
    "shapes": lambda folder: Benchmark.of_world(shapes),
    "clevr-like": lambda folder: Benchmark.of_world(clevr_like),
    "products": lambda folder: Shop.drawn(),
    "clevr": _clevr,
    "urban1k": _urban1k,
    "sugarcrepe": _sugarcrepe,
    "visual-genome": _visual_genome,
}


def read_set(name: str, folder: Path | str) -> Benchmark | Shop:
    """A data set by name.

    Raises:
        ValueError: an unknown name, or files that cannot be read.
        SetMissingError: files are not there.
    """
    if name not in SETS:
        raise ValueError(f"data must be one of {', '.join(SETS)}, got {name!r}")
    try:
        return SETS[name](Path(folder))
    except FileNotFoundError as error:
        raise SetMissingError(str(error)) from error
