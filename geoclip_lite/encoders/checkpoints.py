"""Files of weights as trainers leave them: the weights are found in them, and no code in them is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from geoclip_lite.encoders.mini import WeightsError

PLACES = ("state_dict", "model_state_dict", "model", "module")  # where trainers keep a model's weights
ONE = "logit_scale"  # a weight that every CLIP has: what stands before its name stands before all names
ADVICE = "save the weights alone: torch.save(model.state_dict(), path)"
NO_WEIGHTS = {  # how files begin that are none
    b"<": "it is a web page, about the file or to log in: download the file itself",
    b"version https://git-lfs": "it is a pointer of Git LFS to the weights: fetch them with `git lfs pull`",
}
STAND_INS = {"collections.defaultdict": lambda *_: {}}  # of what is filled later on


class Unread:
    """Stands in for what is no weight, such as arguments or numpy numbers: takes all and does nothing."""

    def __new__(cls, *_: object, **__: object) -> Unread:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a model by the names that its module gives them.

    They may lie in the dictionary of a trainer, and under the names of DistributedDataParallel, torch.compile
    or a module of Lightning.

    Raises:
        WeightsError: a file without weights, or with those of several models; the message says what it is,
            as far as it can be told.
    """
    _look_at_head(path)
    found = _read(path)
    held = [found[place] for place in PLACES if place in found] if isinstance(found, Mapping) else []
    weights = next((inner for inner in held if isinstance(inner, Mapping)), found)
    if not isinstance(weights, Mapping) or not any(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"there is no dictionary of weights in it: {ADVICE}")
    if any(str(name).startswith("vision_model.") for name in weights):
        raise WeightsError(
            "its names are those of the transformers library: take the model's file for open_clip"
        )
    return _plainly_named({str(name): value for name, value in weights.items() if isinstance(value, Tensor)})


def _look_at_head(path: Path) -> None:
    """Raises WeightsError for what is no file of weights at first sight."""
    with open(path, "rb") as file:
        head = file.read(100).lstrip()
    if not head:
        raise WeightsError("it is empty: fetch it again")
    for beginning, reason in NO_WEIGHTS.items():
        if head.startswith(beginning):
            raise WeightsError(reason)


def _read(path: Path) -> object:
    """What is in a file; what is neither a tensor nor a plain container becomes `Unread`."""
    try:
        if _is_safetensors(path):
            return load_file(path)
        # Files of an older form are no archives, and what is strange in them stays refused.
        strange = get_unsafe_globals_in_checkpoint(path) if is_zipfile(path) else []
        stand_ins = [(STAND_INS.get(name, Unread), name) for name in strange]
        with safe_globals(stand_ins), open(path, "rb") as file:  # torch, too, would go by a path's suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage leads to nearly any, and torch advises to run the file's code
        what = f"it is cut off or no file of weights ({type(error).__name__}): fetch it again"
        raise WeightsError(what if _is_safetensors(path) else f"{what}, or {ADVICE}") from error


def _is_safetensors(path: Path) -> bool:
    """By its beginning, a length and a JSON object: names are lost on the way from a hub."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def _plainly_named(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what wrappers put before names, and without what else is in a wrapper, a loss, say."""
    weights = {name.replace("_orig_mod.", ""): value for name, value in weights.items()}
    before = {name.removesuffix(ONE) for name in weights if name.endswith(f".{ONE}")}
    if ONE in weights or not before:
        return weights
    if len(before) > 1:
        beginnings = ", ".join(map(repr, sorted(before)))
        raise WeightsError(
            f"it holds several models, whose names begin with {beginnings}: save one of them alone"
        )
    [prefix] = before
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
