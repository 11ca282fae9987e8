"""What a bug report needs to know of a machine: `python -m geoclip_lite.environment`.

Versions, device and what can be loaded; no names, paths or addresses. The exit status is 1 if something that
the book needs is missing or has another version than the one it was tested with.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from geoclip_lite import encoders

PINS = Path(__file__).parents[1] / "requirements.txt"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;]+)")
PYTHONS = ((3, 11), (3, 13))


def pins(text: str) -> dict[str, str]:
    """The pinned versions of a requirements file."""
    found = (PIN.match(line) for line in text.splitlines())
    return dict(match.groups() for match in found if match)


def installed(name: str) -> str | None:
    """The version of a package, None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differences(wanted: dict[str, str]) -> list[str]:
    """Packages that are missing, or of another version; what comes after "+" is a build of the same."""
    found = {name: installed(name) for name in wanted}
    return [
        f"{name}: {'missing' if got is None else got}, tested with {wanted[name]}"
        for name, got in found.items()
        if got is None or got.partition("+")[0] != wanted[name]
    ]


def loading() -> list[str]:
    """Each encoder that comes with the package, and whether it loads."""
    from PIL import Image

    lines = []
    for name in sorted(encoders.shipped()):
        try:
            encoders.load_encoder(name, device="cpu").encode_images([Image.new("RGB", (64, 64))])
            lines.append(f"{name}: loads")
        except Exception as error:  # whatever it is, the report should have it
            lines.append(f"{name}: {type(error).__name__}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report."""
    program = "python -m geoclip_lite.environment"
    argparse.ArgumentParser(prog=program, description=__doc__.split("\n\n")[1]).parse_args(arguments)

    import torch

    python_fits = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    wrong = differences(pins(PINS.read_text())) if PINS.is_file() else []
    loads = loading()
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    about = {
        "geoclip-lite": installed("geoclip-lite"),
        "Python": f"{platform.python_version()}{'' if python_fits else ' (tested with 3.11 to 3.13)'}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads, CUDA device: {cuda}",
        "pins": "all as tested" if PINS.is_file() and not wrong else "; ".join(wrong) or "not at hand",
        "encoders": ", ".join(loads),
    }
    for name, value in about.items():
        print(f"{name}: {value}")
    return int(bool(wrong) or not python_fits or not all(line.endswith("loads") for line in loads))


if __name__ == "__main__":
    sys.exit(main())
