"""Unpacking what somebody else has packed: nothing lands outside the folder, and nothing fills the disk.

An archive is looked through before anything is written, and refused as a whole if a member is a link, a
device or encrypted, has a path that leads elsewhere, or stands in the place of another one; if there are too
many members, if they would be too large, or larger than the disk has room for.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

MOST_MEMBERS = 1_000_000
MOST_GROWTH = 100  # times the archive's own size: pictures hardly grow, JSON tenfold
SPARE = 2**28  # bytes of the disk that stay free
LONGEST_PATH = 1024  # characters

BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, ValueError),
)


class ArchiveError(Exception):
    """An archive that is damaged, or that it would be unwise to unpack."""


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Args:
        content: readable while the archive is open and no later member has been asked for.
    """

    path: PurePosixPath
    size: int
    content: IO[bytes]


def unpack(archive: Path, folder: Path) -> int:
    """Writes the files of an archive into a folder; returns how many. Files there are replaced, one by one.

    Raises:
        ArchiveError: it is damaged, or of the kinds above.
    """
    try:
        total = _look_through(archive)
        room = shutil.disk_usage(folder).free - SPARE
        if total > room:
            raise ArchiveError(f"{archive} unpacks to {total:,} bytes, {folder} has room for {room:,}")
        written = 0
        for member in _members(archive):
            _write(member, folder)
            written += 1
        return written
    except BROKEN as error:
        raise ArchiveError(f"{archive} is damaged ({error}): fetch it again") from error


def _look_through(archive: Path) -> int:
    """The sum of all sizes; refuses a hostile archive as soon as it shows."""
    most = MOST_GROWTH * archive.stat().st_size
    total, count, files, folders = 0, 0, set(), set()
    for member in _members(archive):
        total, count = total + member.size, count + 1
        if count > MOST_MEMBERS or total > most:
            raise ArchiveError(
                f"{archive} would unpack to more than {MOST_MEMBERS:,} files or {most:,} bytes"
            )
        path = PurePosixPath(str(member.path).casefold())  # on some disks, A and a are one file
        if path in files or path in folders or not files.isdisjoint(path.parents):
            raise ArchiveError(f"{archive} holds two things called {member.path}")
        files.add(path)
        folders.update(path.parents)
    return total


def _members(archive: Path) -> Iterator[Member]:
    """The files of an archive, in its order; refuses what is neither a file nor a folder."""
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    if tarfile.is_tarfile(archive):
        return _tar_members(archive)
    raise ArchiveError(f"{archive} is neither a zip nor a tar archive")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & 1:
                raise ArchiveError(f"{archive}: {entry.filename} is a link, a device or encrypted")
            path = _safe(entry.filename, archive)
            if not entry.is_dir():
                with opened.open(entry) as content:
                    yield Member(path, entry.file_size, content)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for entry in opened:
            if not (entry.isreg() or entry.isdir()):
                raise ArchiveError(f"{archive}: {entry.name} is a link or a device")
            path = _safe(entry.name, archive)
            if entry.isreg():
                yield Member(path, entry.size, opened.extractfile(entry))
        while opened.fileobj.read(2**20):  # what compresses it has its checksum at the very end
            pass


def _safe(name: str, archive: Path) -> PurePosixPath:
    """The path of a member, if it leads into the folder on every system."""
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    if leads_out or "\\" in name or "\0" in name or not 0 < len(name) <= LONGEST_PATH:
        raise ArchiveError(f"{archive}: {name[:LONGEST_PATH]!r} is no path inside a folder")
    return path


def _write(member: Member, folder: Path) -> None:
    """Under another name first: a file that has its name is whole."""
    target = folder / member.path
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name[:100]}.unpacking")
    try:
        with beside.open("wb") as file:
            shutil.copyfileobj(member.content, file)
        if (size := beside.stat().st_size) != member.size:
            raise ValueError(f"{member.path} has {size:,} bytes instead of {member.size:,}")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
