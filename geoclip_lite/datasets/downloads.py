"""Downloads that resume, are checked, and leave a file whole or not there at all.

What has come is kept beside the file, ending in `.part`, and the next call goes on from there, after a kill
too. A file takes its own name once its length, its sha256 and its archive are right. The sha256 is noted in
`NAME.sha256` (for `sha256sum -c`); where the catalogue has none, later copies must have that of the first.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from geoclip_lite.datasets.archives import SPARE, ArchiveError, unpack
from geoclip_lite.datasets.catalogue import File
from geoclip_lite.files import sha256, write_atomically

PIECE = 2**20  # bytes at once
WAIT = 5, 30  # seconds without a connection, or without a byte
ATTEMPTS = 5  # connections in a row that bring nothing new
PAUSE = 1.0  # seconds before another one, doubled each time
BROKEN = (requests.ConnectionError, requests.Timeout, HTTPError, ConnectionError)
Report = Callable[[int, int], None]  # bytes that a kill would not lose, of how many


class DownloadError(Exception):
    """A file that cannot be had, or that is not what it should be."""


def get(file: File, folder: Path, report: Report = lambda done, total: None) -> tuple[str, int]:
    """Downloads a file if need be, checks and unpacks it; returns its sha256 and how many files came out now.

    An archive that was unpacked and then removed is not fetched again.

    Raises:
        ConnectionError, filelock.Timeout: its server is out of reach; another process is at it.
        DownloadError, ArchiveError, OSError: whatever else keeps the file away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, note = folder / file.name, folder / f"{file.name}.sha256"
    with FileLock(folder / f".{file.name}.lock", timeout=0):
        noted = note.read_text()[:64] if note.exists() else None
        known, is_new = file.sha256 or noted, not target.exists()
        if is_new and file.is_archive and noted and noted == known:
            return noted, 0
        path = _download(file, folder, report) if is_new else target
        digest, unpacked = _checked(file, path, known, noted)
        path.replace(target)
        for other_version in folder.glob(f"{file.name}.*.part"):
            other_version.unlink()
        write_atomically(note, f"{digest}  {file.name}\n".encode())
    return digest, unpacked


def _checked(file: File, path: Path, known: str | None, noted: str | None) -> tuple[str, int]:
    """See `get`. A part that is wrong goes, but not one whose checksum is right, whatever it holds."""
    digest, unpacked = sha256(path), 0
    try:
        if file.size not in (None, path.stat().st_size) or known not in (None, digest):
            advice = "damaged, or a new release" + f" (then remove {file.name}.sha256)" * (not file.sha256)
            raise DownloadError(f"{path} has the sha256 {digest}, expected {known}: {advice}")
        if file.is_archive and digest != noted:
            unpacked = unpack(path, path.parent)
    except (DownloadError, ArchiveError):
        if path.suffix == ".part" and digest != known:
            path.unlink()
        raise
    return digest, unpacked


def _download(file: File, folder: Path, report: Report) -> Path:
    """Connects until all is there, or until ATTEMPTS in a row bring nothing new."""
    reached = failures = 0

    def advance(done: int, total: int) -> None:
        nonlocal reached, failures
        reached, failures = max(reached, done), 0 if done > reached else failures
        report(done, total)

    while True:
        try:
            return _attempt(file, folder, advance)
        except BROKEN as error:
            failures += 1
            never_met = getattr(next(iter(error.args), None), "reason", None)
            if failures == ATTEMPTS or (never_met and not reached):
                raise ConnectionError(f"{file.address} is out of reach: {never_met or error}") from error
            time.sleep(PAUSE * 2**failures)


def _attempt(file: File, folder: Path, report: Report) -> Path:
    """The file as far as one connection brings it, in a part of its own for each version and length."""
    for part in folder.glob(f"{file.name}.????????.part"):
        size = part.stat().st_size
        with _request(file, Range=f"bytes={size}-") as rest:
            span = re.fullmatch(rf"bytes {size}-(\d+)/(\d+)", rest.headers.get("Content-Range", ""))
            end, total = (int(span[1]) + 1, int(span[2])) if span and rest.status_code == 206 else (0, 0)
            fits = size < end <= total and rest.raw.length_remaining in (None, end - size)
            if fits and part == _part(file, folder, rest, total):
                return _append(rest, part, end, total, report)
    with _request(file) as whole:
        total = whole.raw.length_remaining or file.size
        if whole.status_code != 200 or "Content-Range" in whole.headers or total != (file.size or total or 0):
            answer = f"{whole.status_code} {whole.reason}, length {total or 'not named'}"
            raise DownloadError(f"{file.address} answers {answer}; expected 200, length {file.size or 'any'}")
        part = _part(file, folder, whole, total)
        if part.exists() and part.stat().st_size == total:
            return part
        part.write_bytes(b"")
        return _append(whole, part, total, total, report)


def _request(file: File, **headers: str) -> requests.Response:
    """An answer that may be the file or some of it: no web page, and not encoded."""
    headers["Accept-Encoding"] = "identity"
    response = requests.get(file.address, headers=headers, stream=True, timeout=WAIT)
    schemes = [answer.url.partition(":")[0] for answer in (*response.history, response)]
    codings = {response.headers.get(name, "").lower() for name in ("Content-Encoding", "Transfer-Encoding")}
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise ConnectionError(f"it answers {response.status_code} {response.reason}")
    if schemes != sorted(schemes):
        raise DownloadError(f"{file.address} leads from https to {response.url}, which is less safe")
    if codings - {"", "identity", "chunked"} or "html" in response.headers.get("Content-Type", ""):
        raise DownloadError(f"{file.address} sends a web page, or the file encoded: open it in a browser")
    return response


def _part(file: File, folder: Path, response: requests.Response, total: int) -> Path:
    """Where this version is kept. Without an ETag, a date or a checksum, nothing would tell two apart."""
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified") or file.sha256
    mark = md5(f"{version} {total}".encode()).hexdigest()[:8] if version else "once"
    return folder / f"{file.name}.{mark}.part"


def _append(response: requests.Response, part: Path, end: int, total: int, report: Report) -> Path:
    """Writes what an answer brings, and nothing past the end that it promised."""
    with part.open("ab") as opened:
        start = size = opened.tell()
        if (room := shutil.disk_usage(part.parent).free - SPARE) < end - size:
            raise DownloadError(f"{part} needs {end - size:,} bytes more, the disk has room for {room:,}")
        while piece := response.raw.read1(PIECE, decode_content=False):
            size += len(piece)
            if size > end or (size == end and response.raw.read1(1, decode_content=False)):
                opened.truncate(start)
                raise DownloadError(f"{response.url} sends more than promised: remove {part} to begin anew")
            opened.write(piece)
            opened.flush()
            report(size, total)
    if size < total:
        raise ConnectionError(f"the connection ended after {size:,} of {total:,} bytes")
    return part
