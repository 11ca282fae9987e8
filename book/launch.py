"""The notebooks as Colab opens them: each with a cell on top that fetches the book where it is missing.

    python book/launch.py https://host/owner/name v1.0.0 out

A notebook that Colab opens comes alone, without the package and the records that it reads, and does not
know where it came from. So the publishing workflow writes these copies, which do, to a branch of their own.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"(https|file)://[\w./~:-]+")
REVISION = re.compile(r"[\w][\w./-]*")
INSTALL = """\
# Fetches the book and what it needs, about three minutes. Where the book is there, this cell does nothing.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("geoclip_lite") is None:
    source, revision, place = {address!r}, {revision!r}, "geoclip-lite"
    if not os.path.isdir(place):
        subprocess.run(["git", "clone", "--quiet", source, place], check=True)
    subprocess.run(["git", "-C", place, "checkout", "--quiet", revision], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--editable", f"{{place}}[notebooks]"], check=True)
    sys.path.insert(0, os.path.abspath(place))
    os.chdir(f"{{place}}/notebooks")"""


def with_install_cell(notebook: NotebookNode, address: str, revision: str) -> NotebookNode:
    """A copy of a notebook with the cell on top.

    Args:
        address: of the repository, as `git clone` takes it.
        revision: a tag or a commit.

    Raises:
        ValueError: an address or a revision that is none.
    """
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"address must be like https://host/owner/name, got {address!r}")
    if not REVISION.fullmatch(revision):
        raise ValueError(f"revision must be a tag or a commit, got {revision!r}")
    install = nbformat.v4.new_code_cell(INSTALL.format(address=address, revision=revision), id="install")
    return nbformat.from_dict({**notebook, "cells": [install, *notebook.cells]})


def write_copies(address: str, revision: str, out: Path) -> list[Path]:
    """Writes every chapter with its cell to `out/notebooks`; the names stay."""
    read = {
        path.name: nbformat.read(path, as_version=4) for path in sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
    }
    copies = {name: with_install_cell(notebook, address, revision) for name, notebook in read.items()}
    written = [Path(out) / "notebooks" / name for name in copies]
    for target, copy in zip(written, copies.values(), strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(copy, target)
    return written


def main(arguments: list[str] | None = None) -> int:
    """0 if the copies were written, 1 if not."""
    parser = argparse.ArgumentParser(description="Notebooks that fetch the book by themselves.")
    parser.add_argument("address", help="of the repository")
    parser.add_argument("revision", help="a tag or a commit")
    parser.add_argument("out", type=Path, help="a folder")
    options = parser.parse_args(arguments)
    try:
        written = write_copies(options.address, options.revision, options.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written)} notebooks in {options.out}/notebooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
