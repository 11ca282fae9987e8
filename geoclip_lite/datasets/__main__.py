"""Data sets: `python -m geoclip_lite.datasets list` says which, `get NAME` downloads one.

The exit status is 0 if all is there, 1 if something could not be had, and 2 for a wrong command or a licence
that was not accepted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from geoclip_lite.datasets.catalogue import SOURCES, File, Source
from geoclip_lite.datasets.downloads import SUMS, DownloadError, Got, get


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.datasets", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="which data sets there are, and under which licences")
    getting = commands.add_parser("get", help="download a data set, check it and unpack it")
    getting.add_argument("name", choices=SOURCES)
    getting.add_argument("--folder", type=Path, default=Path("data"), help="where data sets lie (data)")
    getting.add_argument("--only", nargs="+", metavar="FILE", help="some of its files")
    getting.add_argument("--accept-licence", action="store_true", help="you have read it and agree")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        print("\n\n".join(describe(source) for source in SOURCES.values()))
        return 0
    source = SOURCES[chosen.name]
    names = [file.name for file in source.files]
    if unknown := sorted(set(chosen.only or ()) - set(names)):
        parser.error(f"--only: {source.name} has no file {unknown[0]!r}, it has {', '.join(names)}")
    print(describe(source))
    if not source.files:
        print(f"\nNot downloaded by this command: {source.advice}", file=sys.stderr)
        return 1
    if not chosen.accept_licence:
        print("\nNothing was downloaded. If you agree to the licence, add --accept-licence.", file=sys.stderr)
        return 2
    return download(source, [f for f in source.files if f.name in (chosen.only or names)], chosen.folder)


def describe(source: Source) -> str:
    """Name, licence and files."""
    files = [f"  {file.name:<28} {_size(file)}" for file in source.files]
    return "\n".join([f"{source.name}: {source.title}", f"  Licence: {source.licence}", *files])


def _size(file: File) -> str:
    size = "size not published" if file.size is None else f"{file.size / 1e6:,.1f} MB"
    return size + ("" if file.sha256 else ", no published checksum")


class _Bar(tqdm):
    """Shows what `downloads` reports."""

    def report(self, done: int, total: int | None) -> None:
        self.total = total
        self.update(done - self.n)


def download(source: Source, files: Sequence[File], folder: Path) -> int:
    """All of the files, one after the other; one that fails does not keep the others away."""
    here, failed = folder / source.name, False
    for file in files:
        try:
            with _Bar(unit="B", unit_scale=True, desc=file.name, leave=False) as bar:
                got = get(source, file, here, bar.report)
        except DownloadError as error:
            print(f"{file.name}: {error}.", file=sys.stderr)
            failed = True
        else:
            print(outcome(file, got))
    if not failed:
        module = source.read.split(".")[0]
        print(f"\nfrom geoclip_lite.datasets.official import {module}\n{source.read.format(here=here)}")
    return int(failed)


def outcome(file: File, got: Got) -> str:
    """What became of a file."""
    state = "downloaded" if got.is_new else "already there"
    noted = f"the sha256 that {got.path.with_name(SUMS)} has from the first copy, {got.digest}"
    checksum = "its publisher's sha256" if file.sha256 else noted
    again = f" and unpacked before (to unpack it again, remove .{file.name}.unpacked beside it)"
    unpacked = f", {got.unpacked:,} files unpacked" if got.unpacked else again * file.is_archive
    return f"{got.path}: {state}{unpacked}, with {checksum}"


if __name__ == "__main__":
    sys.exit(main())
