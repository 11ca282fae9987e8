"""Encoders by name, and those that a chapter computes with."""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import torch

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import WEIGHTS, MiniClip, WeightsError, load_mini, shipped
from geoclip_lite.encoders.pretrained import OpenClipEncoder, did_you_mean, load_open_clip
from geoclip_lite.encoders.store import Stored

VARIABLE = "GEOCLIP_ENCODER"


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
    listed = "`python -m geoclip_lite.encoders list` tells more"
    raise ValueError(f"name: there is no encoder {name!r}; {near or known}; {listed}")


def main_encoder() -> DualEncoder:
    """The encoder that a chapter computes with: the one that GEOCLIP_ENCODER names, or "mini-pairs"."""
    return _of_environment() or _member("mini-pairs")


def cast(*minis: str) -> dict[str, DualEncoder]:
    """The encoders that a chapter shows side by side, by name: its minis, then that of GEOCLIP_ENCODER.

    Args:
        minis: by default the two that know the worlds of several objects.
    """
    encoders = {name: _member(name) for name in minis or ("mini-single", "mini-pairs")}
    own = None if os.environ.get(VARIABLE) in encoders else _of_environment()
    return {encoder.name: encoder for encoder in (*encoders.values(), own) if encoder is not None}


def _of_environment() -> DualEncoder | None:
    """The encoder that GEOCLIP_ENCODER names, if it does.

    Raises:
        ValueError, WeightsError: as `load_encoder`, with the name of the variable.
    """
    if not (name := os.environ.get(VARIABLE)):
        return None
    try:
        return _member(name)
    except (ValueError, WeightsError) as error:
        raise type(error)(f"{VARIABLE}={name} cannot be used: {error}") from error


def _member(name: str) -> DualEncoder:
    """An encoder of a chapter: a mini, which is quick, or any other one with its store."""
    encoder = load_encoder(name)
    return encoder if name in shipped() else Stored(encoder)
