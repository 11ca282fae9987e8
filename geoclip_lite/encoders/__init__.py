"""Encoders by name: `load_encoder("mini-single")`."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import WeightsError, load_mini
from geoclip_lite.encoders.tokenizer import TextWarning

__all__ = ["DualEncoder", "TextWarning", "WeightsError", "load_encoder", "load_mini", "shipped"]

WEIGHTS = Path(__file__).parent / "weights"


def shipped() -> dict[str, str]:
    """The encoders that come with the package: name -> sha256 of the weights."""
    lines = (WEIGHTS / "SHA256SUMS").read_text().split("\n")
    return {line.split()[1].removesuffix(".safetensors"): line.split()[0] for line in lines if line}


def load_encoder(name: str) -> DualEncoder:
    """The encoder of this name, ready to use.

    Args:
        name: "mini-single" or "mini-pairs", the two minis that come with the package.

    Raises:
        ValueError: no such encoder; the message suggests near names.
        WeightsError: the file of weights is missing or damaged.
    """
    checksums = shipped()
    if name not in checksums:
        near = get_close_matches(name, checksums, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(checksums)}"
        raise ValueError(f"name: there is no encoder {name!r}; {hint}")
    return load_mini(WEIGHTS / f"{name}.safetensors", name, checksums[name])
