"""Unpacking what somebody else has packed: nothing lands outside the folder, and nothing fills the disk."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

MOST_FILES = 1_000_000
MOST_GROWTH = 100  # times the archive's own size: pictures hardly grow, JSON tenfold
SPARE = 2**28  # bytes of the disk that stay free


class ArchiveError(Exception):
    """An archive that is damaged, or that it would be unwise to unpack."""


def unpack(archive: Path, folder: Path) -> int:
    """Writes the files of a zip archive into a folder, over those of their names; returns how many.

    Raises:
        ArchiveError: it is damaged; or, before anything is written: it holds links, devices, too much, two
            files of one name, or paths that lead out of the folder.
        OSError: the disk has no room for it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            total, room = _inspect(archive, entries), shutil.disk_usage(folder).free - SPARE
            if total > room:
                raise OSError(f"{archive} unpacks to {total:,} bytes, {folder} has room for {room:,}")
            for entry in entries:
                _write(opened, entry, folder / entry.filename)
            return len(entries)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise ArchiveError(f"{archive} is damaged or no zip archive ({error}): fetch it again") from error


def _inspect(archive: Path, entries: list[zipfile.ZipInfo]) -> int:
    """The sum of all sizes; refuses a hostile archive."""
    total, most = sum(entry.file_size for entry in entries), MOST_GROWTH * archive.stat().st_size
    if len(entries) > MOST_FILES or total > most:
        raise ArchiveError(f"{archive} would unpack to more than {MOST_FILES:,} files or {most:,} bytes")
    files, folders = set(), set()
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        path = PurePosixPath(name.casefold())  # on some disks, A and a are one file
        plain = kind in (0, stat.S_IFREG) and not entry.flag_bits & 1
        if not plain or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{archive}: {name} is a link, a device, encrypted or compressed unusually")
        leads_out = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\\" in name
        if leads_out or not path.name or len(name) > 1024:
            raise ArchiveError(f"{archive}: {name[:1024]!r} is no path inside a folder")
        if path in files or path in folders or not files.isdisjoint(path.parents):
            raise ArchiveError(f"{archive} holds two things called {name}")
        files.add(path)
        folders.update(path.parents)
    return total


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Writes one file, under another name first: a file that has its name is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name[:100]}.unpacking")
    try:
        with opened.open(entry) as source, beside.open("wb") as file:
            shutil.copyfileobj(source, file)
        if beside.stat().st_size != entry.file_size:
            raise ValueError(f"{entry.filename} has not the {entry.file_size:,} bytes that it promises")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
