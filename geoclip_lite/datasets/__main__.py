"""Data sets: `python -m geoclip_lite.datasets list` says which, `get NAME` downloads one.

The exit status is 0 if all is there, 1 if something could not be had, 2 for a wrong command or a licence that
was not accepted, and 130 if it was stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from geoclip_lite.datasets.archives import ArchiveError
from geoclip_lite.datasets.catalogue import SOURCES, File, Source
from geoclip_lite.datasets.downloads import DownloadError, get


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
    try:
        return download(source, [f for f in source.files if f.name in (chosen.only or names)], chosen.folder)
    except KeyboardInterrupt:
        print("\nStopped. What has come is kept: the same command goes on from there.", file=sys.stderr)
        return 130


def describe(source: Source) -> str:
    """Name, licence and files."""
    files = [f"  {file.name:<28} {_size(file)}" for file in source.files]
    return "\n".join([f"{source.name}: {source.title}", f"  Licence: {source.licence}", *files])


def _size(file: File) -> str:
    size = "size not published" if file.size is None else f"{file.size / 1e6:,.1f} MB"
    return size + ("" if file.sha256 else ", no published checksum")


def download(source: Source, files: Sequence[File], folder: Path) -> int:
    """All of the files, one after the other; one that fails keeps away only what is on the same server."""
    here, failed, unreachable = folder / source.name, False, set()
    for file in files:
        server = urlsplit(file.address).netloc
        if server in unreachable and not (here / file.name).exists():
            print(f"{file.name}: not tried, since {server} is out of reach.", file=sys.stderr)
            continue
        try:
            print(outcome(file, here))
        except (DownloadError, ArchiveError, OSError) as error:
            failed = True
            if isinstance(error, ConnectionError):
                unreachable.add(server)
            advice = f"put it at {here / file.name} and run this again: it will be checked and unpacked there"
            print(
                f"{file.name}: {error}.\nOr get it elsewhere (see {source.home}), {advice}.", file=sys.stderr
            )
    if not failed:
        module = source.read.split(".")[0]
        print(f"\nfrom geoclip_lite.datasets.official import {module}\n{source.read.format(here=here)}")
    return int(failed)


def outcome(file: File, here: Path) -> str:
    """Has a file in a folder, with a bar to show how far it is; says what became of it.

    Raises:
        DownloadError, ArchiveError, OSError: see `downloads.get`.
    """
    state = "already there" if (here / file.name).exists() else "downloaded"
    with _Bar(unit="B", unit_scale=True, desc=file.name, leave=False) as bar:
        digest, unpacked = get(file, here, bar.report)
    if file.is_archive:
        again = f"unpacked before (to unpack it again, remove {file.name}.sha256 beside it)"
        state = f"{state}, {unpacked:,} files unpacked" if unpacked else again
    origin = "its publisher's" if file.sha256 else f"the one of the first copy, in {file.name}.sha256"
    return f"{here / file.name}: {state}, with the sha256 {digest}, {origin}"


class _Bar(tqdm):
    """Shows what `downloads` reports."""

    def report(self, done: int, total: int) -> None:
        self.total = total
        self.update(done - self.n)


if __name__ == "__main__":
    sys.exit(main())
