"""Encoders by name: `load_encoder("mini-single")`, `load_encoder("ViT-B-32-quickgelu/openai")`.

load_encoder  one encoder
main_encoder  the one that a chapter computes with
cast          those that a chapter shows side by side
"""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import torch

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.device import best_device
from geoclip_lite.encoders.mini import WEIGHTS, MiniClip, WeightsError, load_mini, shipped
from geoclip_lite.encoders.pretrained import OpenClipEncoder, did_you_mean, load_open_clip
from geoclip_lite.encoders.store import Stored, StoreWarning
from geoclip_lite.encoders.tokenizer import TextWarning
from geoclip_lite.encoders.truncation import Truncation

__all__ = [
    "WEIGHTS",
    "DualEncoder",
    "StoreWarning",
    "Stored",
    "TextWarning",
    "Truncation",
    "WeightsError",
    "best_device",
    "cast",
    "load_encoder",
    "load_mini",
    "main_encoder",
    "shipped",
]


def load_encoder(name: str, *, device: torch.device | str | None = None) -> MiniClip | OpenClipEncoder:
    """The encoder of this name, ready to use.

    Args:
        name: of a mini that comes with the package ("mini-pairs", see `shipped`);
            "ARCHITECTURE/TAG" or "ARCHITECTURE/PATH" for a model of open_clip with published weights or a
            file of them ("ViT-B-32-quickgelu/openai", "ViT-B-32//data/my.safetensors"); or the path of a mini
            of your own.
        device: where to compute; None takes CUDA, else MPS, else the CPU.

    Raises:
        ValueError: no such encoder, the message suggests near names; or a device that cannot be used.
        WeightsError: the weights are missing, damaged or out of reach.
    """
    checksums = shipped()
    if name in checksums:
        return load_mini(WEIGHTS / f"{name}.safetensors", name, checksums[name], device)
    architecture, _, source = name.partition("/")
    if architecture in open_clip.list_models():
        return load_open_clip(architecture, source, device=device)
    near = did_you_mean(architecture, [*checksums, *open_clip.list_models()])
    if name.endswith(".safetensors") and (Path(name).is_file() or not near):
        return load_mini(Path(name), device=device)
    known = f"known: {', '.join(checksums)} and ARCHITECTURE/TAG, as in open_clip.list_pretrained()"
    raise ValueError(f"name: there is no encoder {name!r}; {near or known}")


def main_encoder() -> DualEncoder:
    """The encoder that a chapter computes with: the one that GEOCLIP_ENCODER names, or "mini-pairs"."""
    return _member(os.environ.get("GEOCLIP_ENCODER") or "mini-pairs")


def cast(*minis: str) -> dict[str, DualEncoder]:
    """The encoders that a chapter shows side by side, by name: its minis, then that of GEOCLIP_ENCODER.

    Args:
        minis: by default the two that know the worlds of several objects.
    """
    names = dict.fromkeys([*(minis or ("mini-single", "mini-pairs")), os.environ.get("GEOCLIP_ENCODER")])
    return {encoder.name: encoder for encoder in (_member(name) for name in names if name)}


def _member(name: str) -> DualEncoder:
    """An encoder of a chapter: a mini, which is quick, or any other one with its store."""
    encoder = load_encoder(name)
    return encoder if name in shipped() else Stored(encoder)
