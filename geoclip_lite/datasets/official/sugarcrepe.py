"""SugarCrepe (Hsieh et al., 2023): a caption, and a wrong one that differs from it in little.

Seven files as they are published (`add_att.json`, `add_obj.json`, ...), and COCO's pictures of val2017. A
picture recurs up to 22 times, so a gallery is made of `Reading.gallery()`: where every item brings its own
copy of the picture, even a perfect retriever finds the one it came with by chance only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from geoclip_lite import metrics
from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.reading import DAMAGE, Faults, Missing, Reading, name, need, parsed, text
from geoclip_lite.scenes import Scene

SUBSETS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")


@dataclass(frozen=True)
class Choice(Scene):
    """A picture with its caption and a wrong one.

    Args:
        negative: the wrong caption.
        subset: how it was made, one of `SUBSETS`.
        key: of the item in its file. Keys are not consecutive: "108" of swap_obj was taken out.
    """

    negative: str = ""
    subset: str = ""
    key: str = ""


def read(
    folder: Path | str,
    images: Path | str,
    subsets: Sequence[str] = SUBSETS,
    missing: Missing = "refuse",
) -> Reading[Choice]:
    """The items of all subsets, in their order.

    Args:
        folder: with the JSON files.
        images: COCO's `val2017`.
        missing: what becomes of items that are damaged, and of those without their picture.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no JSON, or something is damaged or missing, and is refused.
    """
    folder, images = Path(folder), Path(images)
    need(folder, [f"{subset}.json" for subset in subsets], "sugarcrepe")
    need(images.parent, [images.name], "coco")
    faults, choices = Faults(missing), []
    for subset in subsets:
        for key, record in _items(folder / f"{subset}.json"):
            try:
                file = name(record, "filename")
                caption, negative = text(record, "caption"), text(record, "negative_caption")
            except DAMAGE as error:
                faults.note("damaged items", f"{subset} {key}: {error!r}")
                continue
            if Path(file).name != file or not (images / file).is_file():
                faults.note("items without their picture", f"{subset} {key}: {file}")
                continue
            made = {"negative": negative, "subset": subset, "key": key}
            choices.append(Choice(file, caption, (), partial(draw, images / file), **made))
    return faults.reading(choices)


def _items(path: Path) -> list[tuple[str, object]]:
    """Key and item, in the file's order."""
    items = parsed(path)
    if not isinstance(items, dict):
        raise ValueError(f"{path} must hold an object of items by key, got a {type(items).__name__}")
    return list(items.items())


def accuracy(
    choices: Sequence[Choice], right: Float[ndarray, " choices"], wrong: Float[ndarray, " choices"]
) -> pd.DataFrame:
    """The benchmark's own figure: how often the caption is strictly nearer to the picture, subset by subset.

    Args:
        right: similarity of each picture to its caption.
        wrong: and to the negative one. A tie counts as wrong.

    Returns:
        A row a subset: "accuracy" from 0 to 1, "low" and "high" of its 95 % interval over pictures, "chance
        low" and "chance high" of the accuracy of coins, "items", and how many of them "tied" exactly. An
        encoder that ties often is not at chance but below it: it tells nothing apart.

    Raises:
        ValueError: no choices, not as many similarities, or NaN among them.
    """
    if not len(choices) == len(right) == len(wrong):
        raise ValueError(f"{len(choices)} choices need as many of both, got {len(right)} and {len(wrong)}")
    if not len(choices) or np.isnan([*right, *wrong]).any():
        raise ValueError("choices must not be empty, and neither right nor wrong may hold NaN: it would lose")
    items = pd.DataFrame({"subset": [c.subset for c in choices], "picture": [c.image_id for c in choices]})
    items["won"], items["tied"] = np.greater(right, wrong), np.equal(right, wrong)
    rows = {subset: _score(some) for subset, some in items.groupby("subset", sort=False)}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"items": int, "tied": int})


def _score(items: pd.DataFrame) -> dict[str, float]:
    ours = metrics.bootstrap_interval(items.won, groups=items.picture)
    coins = metrics.chance_interval(0.5, len(items), groups=items.picture)
    about = {"accuracy": ours.value, "low": ours.low, "high": ours.high}
    about |= {"chance low": coins.low, "chance high": coins.high}
    return about | {"items": len(items), "tied": items.tied.sum()}
