"""Downloads that can be trusted: they resume, are checked, and leave a file whole or not there at all.

`get` fetches a file of a data set and unpacks it if it is an archive. What has come is kept beside the file
as `NAME.part`, and the next call goes on from there, after a kill too. A file takes its own name once its
length and its sha256 are right. Where the catalogue knows no checksum, the first copy's is noted in
`sha256sums.txt` (in the format of `sha256sum -c`), and later copies are held against it.

A redirect may lead to another host, as those of large files do, but not from https to http, not to another
scheme, and not over more than five stations. It is the checksum that vouches for what comes from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from geoclip_lite.datasets.archives import SPARE, ArchiveError, unpack
from geoclip_lite.datasets.catalogue import File, Source
from geoclip_lite.files import write_atomically

SUMS = "sha256sums.txt"
PIECE = 2**20  # bytes at once
STALLED = 30  # seconds without a byte
PATIENCE = 5  # failures in a row that bring no byte
PAUSE = 1.0  # seconds before another try, doubled with every such failure
OTHER = "it is damaged, or another release"

Report = Callable[[int, int | None], None]  # bytes that are safe, of how many


class DownloadError(Exception):
    """A file that cannot be had, or that is not what it should be."""


class _Interrupted(Exception):
    """A connection that broke; another try may help."""


@dataclass(frozen=True)
class Got:
    """A file that is there.

    Args:
        digest: its sha256.
        is_new: it has been downloaded just now.
        unpacked: files that came out of it just now.
    """

    path: Path
    digest: str
    is_new: bool = False
    unpacked: int = 0


# --- a data set -----------------------------------------------------------------------------------


def get(source: Source, file: File, folder: Path, report: Report = lambda done, total: None) -> Got:
    """A file of a data set, downloaded if need be, checked, and unpacked if it is an archive.

    An archive that was unpacked and then removed is not fetched again.

    Raises:
        DownloadError: and what to do about it.
    """
    target, mark = folder / file.name, folder / f".{file.name}.unpacked"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not target.exists()
        done = mark.read_text() if mark.exists() else None
        if is_new and done and done == (file.sha256 or _noted(folder).get(file.name)):
            return Got(target, done)
        digest = fetch(file, folder, report) if is_new else check_and_note(file, target)
        if not file.is_archive or done == digest:
            return Got(target, digest, is_new)
        count = unpack(target, folder)
        write_atomically(mark, digest.encode())
        return Got(target, digest, is_new, count)
    except (DownloadError, ArchiveError, OSError) as error:
        raise DownloadError(
            f"{error}.\nOr get {file.name} by other means (see {source.home}), put it at {target} and run "
            "this again: it will be checked and unpacked from there"
        ) from error


# --- one file -------------------------------------------------------------------------------------


def fetch(file: File, folder: Path, report: Report = lambda done, total: None) -> str:
    """Downloads a file, from where the last try ended; returns its sha256.

    Args:
        report: told how many bytes are safe after each piece: a kill does not lose these.

    Raises:
        DownloadError: out of reach, not there, of another length or checksum, no room, or being downloaded.
    """
    with _Part(folder / f"{file.name}.part") as part:
        _persist(file, part, report)
        try:
            digest = check_and_note(file, part.path, file.name)
        except DownloadError:
            part.discard()
            raise
        part.finish(folder / file.name)
    return digest


def _persist(file: File, part: _Part, report: Report) -> None:
    """Connects until all is there, or until several connections in a row bring nothing new."""
    failures, most = 0, part.size
    while True:
        try:
            _continue(file, part, report)
            return
        except _Interrupted as error:
            failures = 0 if part.size > most else failures + 1
            most = max(most, part.size)
            if failures == PATIENCE:
                kept = f"{part.size:,} bytes are kept in {part.path}, and the next call goes on from there"
                raise DownloadError(f"{file.address} is out of reach ({error}). {kept}") from error
            time.sleep(PAUSE * 2**failures)


def check_and_note(file: File, path: Path, name: str | None = None) -> str:
    """The sha256 of a file, which must be the catalogue's or, where it has none, the first copy's.

    It is noted in the folder's `sha256sums.txt`, which one process at a time reads and rewrites.

    Args:
        name: what the file is called once it is complete; None: what it is called.

    Raises:
        DownloadError: it is another one.
    """
    if file.size not in (None, path.stat().st_size):
        raise DownloadError(f"{path} has {path.stat().st_size:,} bytes instead of {file.size:,}: {OTHER}")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if file.sha256 not in (None, digest):
        raise DownloadError(f"{path} has the sha256 {digest}, its publisher's is {file.sha256}: {OTHER}")
    sums = path.with_name(SUMS)
    with _alone(sums):
        name, noted = name or path.name, _noted(path.parent)
        first = noted.get(name, digest)
        if file.sha256 is None and digest != first:
            raise DownloadError(
                f"{path} has the sha256 {digest}, the first copy's in {sums} is {first}: {OTHER}"
            )
        lines = [f"{sha256}  {of}\n" for of, sha256 in sorted((noted | {name: digest}).items())]
        write_atomically(sums, "".join(lines).encode())
    return digest


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a file's lock, once it is free: who held it before may have put another file in its place."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                yield
                return


def _noted(folder: Path) -> dict[str, str]:
    """File -> sha256, as noted before."""
    sums = folder / SUMS
    lines = sums.read_text().splitlines() if sums.exists() else []
    return {name: sha256 for sha256, found, name in (line.partition("  ") for line in lines) if found}


class _Part:
    """What has come of a file. Locked: two downloads would mix their bytes.

    Beside it stand the file's length and its version, as the server calls it (an ETag or a date). A resumed
    download asks for the rest of that version; a server that has another one by now sends all of it.
    """

    def __init__(self, path: Path):
        self.path, self.about = path, path.with_name(f"{path.name}.json")

    def __enter__(self) -> _Part:
        self.file = self.path.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise DownloadError(f"{self.path} is being written by another process: wait for it") from error
        if not (self.path.exists() and os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))):
            self.file.close()  # it got its name between the two lines above, and is no part any more
            raise DownloadError(f"{self.path} was completed by another process just now: run this again")
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def known(self) -> tuple[str | None, int | None]:
        """The version and the length of the whole file."""
        return tuple(json.loads(self.about.read_text())) if self.about.exists() else (None, None)

    def restart(self, version: str | None = None, total: int | None = None) -> None:
        """Begins again. The old bytes go before the new version is noted, should a kill come between."""
        self.file.truncate(0)
        write_atomically(self.about, json.dumps([version, total]).encode())

    def add(self, piece: bytes) -> None:
        self.file.write(piece)
        self.file.flush()

    def discard(self) -> None:
        self.path.unlink()
        self.about.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        os.fsync(self.file.fileno())
        self.path.replace(target)
        self.about.unlink(missing_ok=True)


# --- one connection -------------------------------------------------------------------------------


def _continue(file: File, part: _Part, report: Report) -> None:
    """Fetches what is lacking, as far as one connection brings it."""
    version, total = part.known()
    if version is None and file.sha256 is None:
        part.restart()  # nothing would tell a mixture of two versions
    elif part.size and part.size == (file.size or total):
        return
    with _request(file, part, version) as response:
        total = _agree(file, part, response)
        room = shutil.disk_usage(part.path.parent).free - SPARE
        if total is not None and total - part.size > room:
            needed = f"{total - part.size:,} more bytes, the disk has room for {max(room, 0):,}"
            raise DownloadError(f"{file.name} needs {needed}: free some, or name another folder")
        for piece in _pieces(response):
            part.add(piece)
            report(part.size, total)
    if total is not None and part.size < total:
        raise _Interrupted(f"the connection ended after {part.size:,} of {total:,} bytes")


def _request(file: File, part: _Part, version: str | None) -> http.client.HTTPResponse:
    """Asks for what is lacking."""
    headers = {"User-Agent": "geoclip-lite"}
    if part.size:
        headers |= {"Range": f"bytes={part.size}-"} | ({"If-Range": version} if version else {})
    try:
        return _opener().open(urllib.request.Request(file.address, headers=headers), timeout=STALLED)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing follows what is there: begin again, to be sure of it
            part.restart()
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Interrupted(f"it answers {error.code} {error.reason}") from error
        raise DownloadError(f"{file.address} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(getattr(error, "reason", None) or error) from error


def _agree(file: File, part: _Part, response: http.client.HTTPResponse) -> int | None:
    """The length of the whole file, once it is clear that the answer continues what is there.

    What is there is given up for another version only, not for the page of a login or of a proxy.
    """
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{file.address} sends a web page instead of the file: look at it in a browser")
    resumes = response.status == 206
    total = None if response.length is None else response.length + (part.size if resumes else 0)
    if None not in (total, file.size) and total != file.size:
        raise DownloadError(f"{file.address} has {total:,} bytes instead of {file.size:,}: {OTHER}")
    if not resumes:
        tag = response.headers.get("ETag", "")
        version = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        part.restart(version, total or file.size)
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
        part.restart()
        raise _Interrupted("it sends another range than it was asked for")
    return total or file.size


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read1(PIECE):
            yield piece
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(error) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, request, answer, code, message, headers, address):
        if urlsplit(request.full_url).scheme == "https" != urlsplit(address).scheme:
            raise DownloadError(f"{request.full_url} leads to {address}, which is less safe: not followed")
        return super().redirect_request(request, answer, code, message, headers, address)


def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https; what `build_opener` makes would open local files and ftp, too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener
