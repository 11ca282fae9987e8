"""Downloads from a local server that fails in every way it can, and archives that mean harm."""

import hashlib
import io
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoclip_lite.datasets import __main__, archives, downloads
from geoclip_lite.datasets.archives import ArchiveError, unpack
from geoclip_lite.datasets.catalogue import SOURCES, File, Source
from geoclip_lite.datasets.downloads import SUMS, DownloadError, check_and_note, fetch, get

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


# --- a server -------------------------------------------------------------------------------------


@dataclass
class Site:
    """What the server does.

    Args:
        breaks: bytes after which a connection is cut, one number a connection; then it is whole.
        pause: seconds between pieces.
        silence: seconds before an answer.
        asked: the Range header of every request that was answered with a file.
    """

    content: bytes = CONTENT
    kind: str = "application/zip"
    etag: str | None = '"one"'
    ranges: bool = True
    status: int | None = None
    announced: int | None = None
    wrong_range: bool = False
    breaks: list[int] = field(default_factory=list)
    pause: float = 0
    silence: float = 0
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def file(self, name="data.bin", **known):
        return File(f"{self.address}/{name}", **known)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site, where = self.server.site, self.path[1:]
        time.sleep(site.silence)
        if where.startswith("to/"):
            self.send_response(302)
            self.send_header("Location", where[3:].replace("LOOP", self.path))
            self.end_headers()
        elif site.status:
            site.asked.append(self.headers.get("Range"))
            self.send_error(site.status)
        else:
            self.answer(site)

    def answer(self, site):
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        site.asked.append(wanted)
        start = int(wanted.split("=")[1][:-1]) if wanted and site.ranges else 0
        if start >= len(site.content) and start:
            self.send_error(416)
            return
        start = start if version in (None, site.etag) else 0
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            shown = start + site.wrong_range
            self.send_header("Content-Range", f"bytes {shown}-{len(site.content) - 1}/{len(site.content)}")
        self.send_header("Content-Type", site.kind)
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(site.announced or len(body)))
        self.end_headers()
        self.send(site, body[: site.breaks.pop(0)] if site.breaks else body)

    def send(self, site, body):
        piece = 4096 if site.pause else 2**20
        for at in range(0, len(body), piece):
            self.wfile.write(body[at : at + piece])
            time.sleep(site.pause)

    def log_message(self, *args):
        """Stay silent."""


@contextmanager
def serving(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site, server.handle_error = site, lambda *about: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No pauses between tries, and no proxy between here and here."""
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site():
    with serving(Site()) as site:
        yield site


def source(*files, name="some"):
    return Source(
        name, "Some data", "https://example.org/home", "Free for all.", files, "coco.read('{here}')"
    )


def left(folder):
    """Everything in a folder, by name."""
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{}, {"size": len(CONTENT), "sha256": DIGEST}])
def test_a_file_comes_whole_and_its_checksum_is_noted(site, tmp_path, known):
    told = []
    digest = fetch(site.file(**known), tmp_path, lambda done, total: told.append((done, total)))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert digest == DIGEST
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert (tmp_path / SUMS).read_text() == f"{DIGEST}  data.bin\n"
    assert left(tmp_path) == ["data.bin", SUMS]
    assert subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.parametrize("known", [{}, {"sha256": DIGEST}])
def test_connections_that_break_are_taken_up_where_they_ended(site, tmp_path, known):
    site.breaks = [100_000, 0, 1, 77_777]
    fetch(site.file(**known), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    starts = [None, "bytes=100000-", "bytes=100000-", "bytes=100001-", "bytes=177778-"]
    assert site.asked == starts


def test_after_some_connections_without_a_byte_it_gives_up_and_keeps_what_came(site, tmp_path):
    site.breaks = [5000] + [0] * downloads.PATIENCE
    with pytest.raises(DownloadError, match=r"out of reach.*5,000 bytes are kept in .*data\.bin\.part"):
        fetch(site.file(), tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:5000]
    fetch(site.file(), tmp_path)
    assert site.asked[-1] == "bytes=5000-"
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_that_never_gets_beyond_a_point_is_given_up(site, tmp_path):
    """Each connection brings bytes, but no new ones: nothing to resume by, so each one starts anew."""
    site.etag, site.breaks = None, [1000, 500] * 50
    with pytest.raises(DownloadError, match="out of reach"):
        fetch(site.file(), tmp_path)
    assert len(site.asked) == downloads.PATIENCE + 1


def test_a_server_without_ranges_sends_all_of_it_again(site, tmp_path):
    site.ranges, site.breaks = False, [1000, 2000]
    fetch(site.file(), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_two_versions_are_never_mixed(site, tmp_path):
    site.breaks = [1000] + [0] * downloads.PATIENCE
    with pytest.raises(DownloadError):
        fetch(site.file(), tmp_path)
    site.content, site.etag = CONTENT[::-1], '"two"'
    fetch(site.file(), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[::-1]


def test_without_a_version_and_a_checksum_it_begins_again(site, tmp_path):
    site.etag, site.breaks = None, [1000]
    fetch(site.file(), tmp_path)
    assert site.asked == [None, None]


def test_a_range_that_nobody_asked_for_is_not_used(site, tmp_path):
    site.breaks, site.wrong_range = [1000], True
    fetch(site.file(), tmp_path)
    assert site.asked == [None, "bytes=1000-", None]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("about", ['["\\"one\\"", 300000]', '["\\"one\\"", null]'])
def test_a_download_that_was_complete_is_not_begun_again(site, tmp_path, about):
    """A kill came between the last byte and the name. Where the length is not known, the server is asked."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    (tmp_path / "data.bin.part.json").write_text(about)
    fetch(site.file(), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert site.asked == ([] if "300000" in about else ["bytes=300000-", None])


def test_a_server_that_falls_silent_is_left(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "STALLED", 0.2)
    site.silence = 1
    with pytest.raises(DownloadError, match=r"out of reach \(.*timed out"):
        fetch(site.file(), tmp_path)


# --- what must not come ---------------------------------------------------------------------------


def test_another_length_is_refused_before_a_byte_is_written(site, tmp_path):
    with pytest.raises(
        DownloadError, match="has 300,000 bytes instead of 299,999: it is damaged, or another"
    ):
        fetch(site.file(size=299_999), tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert (tmp_path / "data.bin.part").stat().st_size == 0


@pytest.mark.parametrize("page", [{"kind": "text/html"}, {"content": b"please log in"}])
def test_a_web_page_in_place_of_the_file_costs_nothing_that_came_before(site, tmp_path, page):
    """As the networks of hotels send it."""
    site.breaks = [1000] + [0] * downloads.PATIENCE
    file = site.file(size=len(CONTENT))
    with pytest.raises(DownloadError, match="1,000 bytes are kept"):
        fetch(file, tmp_path)
    says = pytest.raises(DownloadError, match=r"sends a web page|has 13 bytes instead of 300,000")
    with serving(replace(site, etag=None, ranges=False, breaks=[], **page)) as hotel, says:
        fetch(replace(file, address=f"{hotel.address}/data.bin"), tmp_path)
    fetch(file, tmp_path)
    assert site.asked[-1] == "bytes=1000-"


def test_fewer_bytes_than_announced_are_not_a_file(site, tmp_path):
    site.announced = len(CONTENT) + 1
    with pytest.raises(DownloadError, match="out of reach"):
        fetch(site.file(), tmp_path)
    assert not (tmp_path / "data.bin").exists()


def test_another_checksum_is_refused_and_the_next_call_begins_again(site, tmp_path):
    file = site.file(sha256=DIGEST)
    site.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=f"has the sha256 .*, its publisher's is {DIGEST}"):
        fetch(file, tmp_path)
    assert left(tmp_path) == []
    site.content = CONTENT
    assert fetch(file, tmp_path) == DIGEST


def test_a_second_copy_is_held_against_the_first(site, tmp_path):
    fetch(site.file(), tmp_path)
    (tmp_path / "data.bin").unlink()
    site.content, site.etag = CONTENT[::-1], '"two"'
    with pytest.raises(DownloadError, match=f"the first copy's in .*{SUMS} is {DIGEST}"):
        fetch(site.file(), tmp_path)
    assert left(tmp_path) == [SUMS]


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (410, 1), (503, 5), (429, 5)])
def test_what_a_server_refuses_is_said(site, tmp_path, status, tries):
    site.status = status
    with pytest.raises(DownloadError, match=f"answers {status} "):
        fetch(site.file(), tmp_path)
    assert len(site.asked) == tries
    assert not (tmp_path / "data.bin").exists()


def test_a_full_disk_is_noticed_before_a_byte_comes(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=archives.SPARE + 1000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match="needs 300,000 more bytes, the disk has room for 1,000"):
        fetch(site.file(), tmp_path)
    assert (tmp_path / "data.bin.part").stat().st_size == 0


def test_files_that_are_completed_at_once_are_all_noted(tmp_path, monkeypatch):
    """Between reading the notes and writing them anew, another process may want to add a line."""
    read = downloads._noted

    def slowly(folder):
        found = read(folder)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(downloads, "_noted", slowly)
    files = [tmp_path / f"{n}.bin" for n in range(6)]
    for path in files:
        path.write_bytes(path.name.encode())
    with ThreadPoolExecutor(len(files)) as pool:
        digests = list(pool.map(lambda path: check_and_note(File(path.name), path), files))
    assert read(tmp_path) == {path.name: digest for path, digest in zip(files, digests, strict=True)}
    assert left(tmp_path) == [*(path.name for path in files), SUMS]


def test_two_downloads_of_one_file_do_not_mix(site, tmp_path):
    site.pause = 0.02
    first = threading.Thread(target=fetch, args=(site.file(), tmp_path))
    first.start()
    while not (tmp_path / "data.bin.part.json").exists():
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="is being written by another process: wait"):
        fetch(site.file(), tmp_path)
    first.join()
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_part_that_another_process_has_just_completed_is_left_alone(site, tmp_path, monkeypatch):
    """It took its name after this process had opened it and before the lock was free."""
    part, whole = tmp_path / "data.bin.part", tmp_path / "data.bin"
    part.write_bytes(CONTENT)
    monkeypatch.setattr(downloads.fcntl, "flock", lambda *about: part.rename(whole))
    with pytest.raises(DownloadError, match="was completed by another process just now"):
        fetch(site.file(), tmp_path)
    assert whole.read_bytes() == CONTENT


# --- redirects ------------------------------------------------------------------------------------


def test_another_host_may_be_redirected_to_and_the_rest_is_asked_for_there(site, tmp_path):
    elsewhere = site.address.replace("127.0.0.1", "localhost")
    site.breaks = [1000]
    fetch(File(f"{site.address}/to/{elsewhere}/data.bin", sha256=DIGEST), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=1000-"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/passwd", "data:,hello", "LOOP"])
def test_other_redirects_are_refused(site, tmp_path, target):
    with pytest.raises(DownloadError, match=r"answers 302|out of reach"):
        fetch(replace(File(f"{site.address}/to/{target}")), tmp_path)
    assert all((tmp_path / name).stat().st_size == 0 for name in left(tmp_path) if name.endswith(".part"))


@pytest.mark.parametrize(
    ("before", "after", "followed"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("http://a.org/x", "https://b.org/x", True),
        ("http://a.org/x", "http://b.org/x", True),
        ("https://a.org/x", "http://a.org/x", False),
        ("https://a.org/x", "ftp://a.org/x", False),
    ],
)
def test_a_redirect_never_leads_from_https_to_less(before, after, followed):
    (handler,) = [
        h for h in downloads._opener().handlers if isinstance(h, urllib.request.HTTPRedirectHandler)
    ]
    about = (urllib.request.Request(before), None, 302, "Found", {}, after)
    if followed:
        assert handler.redirect_request(*about).full_url == after
    else:
        with pytest.raises(DownloadError, match="less safe: not followed"):
            handler.redirect_request(*about)


# --- a data set -----------------------------------------------------------------------------------


def zipped(members):
    """An archive; a name may come twice, and a ZipInfo may stand for a name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


PICTURES = [("set/", ""), *((f"set/image/{n}.jpg", random.Random(n).randbytes(5000)) for n in range(40))]


def test_an_archive_is_unpacked_once_and_needs_not_be_kept(site, tmp_path):
    site.content = zipped(PICTURES)
    file = site.file("set.zip")
    got = get(source(file), file, tmp_path / "some")
    assert (got.is_new, got.unpacked) == (True, 40)
    assert all((tmp_path / "some" / name).read_bytes() == content for name, content in PICTURES[1:])
    again = get(source(file), file, tmp_path / "some")
    assert (again.is_new, again.unpacked, again.digest) == (False, 0, got.digest)
    assert "remove .set.zip.unpacked" in __main__.outcome(file, again)
    got.path.unlink()
    assert get(source(file), file, tmp_path / "some").unpacked == 0
    assert len(site.asked) == 1


def test_offline_a_file_that_was_put_there_is_checked_and_unpacked(tmp_path):
    content = zipped(PICTURES)
    file = File("http://127.0.0.1:9/set.zip", len(content), hashlib.sha256(content).hexdigest())
    with pytest.raises(DownloadError) as caught:
        get(source(file), file, tmp_path)
    assert "out of reach" in str(caught.value)
    assert f"see https://example.org/home), put it at {tmp_path / 'set.zip'} and run this" in str(
        caught.value
    )
    (tmp_path / "set.zip").write_bytes(content)
    assert get(source(file), file, tmp_path).unpacked == 40


def test_a_wrong_file_that_was_put_there_is_refused_and_left_alone(tmp_path):
    file = File("http://127.0.0.1:9/set.zip", sha256=DIGEST)
    (tmp_path / "set.zip").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="it is damaged, or another release"):
        get(source(file), file, tmp_path)
    assert (tmp_path / "set.zip").read_bytes() == b"something else"


def test_a_folder_that_cannot_be_written_to_is_named(site, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="file"):
        get(source(site.file()), site.file(), tmp_path / "file" / "some")


DOWNLOAD = """
import sys
from pathlib import Path
from geoclip_lite.datasets import downloads
from geoclip_lite.datasets.catalogue import File, Source
downloads.PIECE, file = 4096, File(sys.argv[1], sha256=sys.argv[3] or None)
source = Source("some", "Some data", "https://example.org", "Free.", (file,), "")
downloads.get(source, file, Path(sys.argv[2]), lambda done, total: print(done, flush=True))
print("done", flush=True)
"""


@pytest.mark.parametrize("vouched", [False, True])
def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(site, tmp_path, vouched):
    """Real kills, after random times: while it starts, connects, receives, checks and unpacks."""
    site.content, site.pause = zipped(PICTURES), 0.008
    digest, chance = hashlib.sha256(site.content).hexdigest(), random.Random(int(vouched))
    code = [
        sys.executable,
        "-c",
        DOWNLOAD,
        f"{site.address}/set.zip",
        str(tmp_path),
        digest if vouched else "",
    ]
    part, acknowledged, kills, finished = tmp_path / "set.zip.part", 0, 0, False
    while not finished:
        process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
        threading.Timer(chance.uniform(0, 0.15 * (kills + 1)), process.kill).start()
        said = process.stdout.read().split()
        process.wait()
        kills, finished = kills + 1, "done" in said
        for line in said:
            if line.isdecimal():
                assert int(line) > acknowledged
                acknowledged = int(line)
        there = part if part.exists() else tmp_path / "set.zip"
        if acknowledged:
            assert there.stat().st_size >= acknowledged
    assert kills >= 3
    starts = [int(asked.split("=")[1][:-1]) for asked in site.asked if asked]
    assert starts == sorted(starts)
    assert (tmp_path / "set.zip").read_bytes() == site.content
    assert all((tmp_path / name).read_bytes() == content for name, content in PICTURES[1:])
    assert not part.exists()


# --- archives -------------------------------------------------------------------------------------


def entry(name, mode=0, encrypted=False):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.flag_bits |= encrypted
    return info


def tarred(*members, mode="w"):
    """members: a name, or a TarInfo, with its content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = ("good.txt", b"good")
ESCAPES = [
    "../evil",
    "a/../../evil",
    "/evil",
    "a\\..\\..\\evil",
    "C:/evil",
    "C:evil",
    "\\\\host\\evil",
    "x" * 2000,
]
HOSTILE = {
    **{f"zip {name[:20]}": (zipped([GOOD, (name, b"!")]), "no path inside a folder") for name in ESCAPES},
    **{f"tar {name[:20]}": (tarred(GOOD, (name, b"!")), "no path inside a folder") for name in ESCAPES},
    "zip link": (zipped([GOOD, (entry("l", stat.S_IFLNK | 0o777), "/etc")]), "is a link, a device or encr"),
    "zip pipe": (zipped([GOOD, (entry("p", stat.S_IFIFO), "")]), "is a link, a device or encrypted"),
    "tar link": (tarred(GOOD, (special("l", tarfile.SYMTYPE, "/etc"), b"")), "is a link or a device"),
    "tar hard link": (
        tarred(GOOD, (special("l", tarfile.LNKTYPE, "good.txt"), b"")),
        "is a link or a device",
    ),
    "tar pipe": (tarred(GOOD, (special("p", tarfile.FIFOTYPE), b"")), "is a link or a device"),
    "tar device": (tarred(GOOD, (special("d", tarfile.CHRTYPE), b"")), "is a link or a device"),
    "tar link, then a file in it": (
        tarred((special("l", tarfile.SYMTYPE, ".."), b""), ("l/evil", b"!")),
        "is a link or a device",
    ),
    "twice": (tarred(GOOD, GOOD), "holds two things called good.txt"),
    "twice but for case": (zipped([GOOD, ("GOOD.txt", b"!")]), "holds two things called GOOD.txt"),
    "twice, in other words": (tarred(("a/b", b"1"), ("a/./b", b"2")), "holds two things called a/b"),
    "a file that is a folder": (tarred(("a", b"1"), ("a/b", b"2")), "holds two things called a/b"),
    "a folder that is a file": (tarred(("a/b", b"1"), ("a", b"2")), "holds two things called a"),
    "zip bomb": (zipped([("zeros", bytes(30_000_000))]), "would unpack to more than"),
    "tar bomb": (tarred(("zeros", bytes(30_000_000)), mode="w:gz"), "would unpack to more than"),
    "many bombs": (
        zipped([(f"{n}", bytes(200_000)) for n in range(200)]),
        "would unpack to more than",
    ),
    "no archive": (b"<html>404</html>", "is neither a zip nor a tar archive"),
    "empty": (b"", "is neither a zip nor a tar archive"),
}


@pytest.fixture
def place(tmp_path):
    """A folder to unpack in, beside something that must stay as it is."""
    (tmp_path / "evil").write_text("untouched")
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_before_anything_is_written(place, name):
    content, says = HOSTILE[name]
    archive = place.parent / "archive"
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=says):
        unpack(archive, place)
    assert left(place.parent) == ["archive", "evil", "in"]
    assert (place.parent / "evil").read_text() == "untouched"


def test_an_encrypted_archive_is_refused(place):
    packed = bytearray(zipped([GOOD]))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    (place / "a.zip").write_bytes(packed)
    with pytest.raises(ArchiveError, match="encrypted"):
        unpack(place / "a.zip", place)


def test_too_many_members_are_refused(place, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    (place / "a.zip").write_bytes(zipped([(f"{n}", b"") for n in range(4)]))
    with pytest.raises(ArchiveError, match="more than 3 files"):
        unpack(place / "a.zip", place)


def test_a_small_disk_is_noticed_before_anything_is_written(place, monkeypatch):
    usage = shutil.disk_usage(place)._replace(free=archives.SPARE + 3)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage)
    (place / "a.zip").write_bytes(zipped([GOOD]))
    with pytest.raises(ArchiveError, match=r"unpacks to 4 bytes, .* has room for 3"):
        unpack(place / "a.zip", place)
    assert left(place) == ["a.zip"]


@pytest.mark.parametrize("pack", [zipped, lambda members: tarred(*members, mode="w:gz")])
def test_a_damaged_archive_is_never_taken_for_a_whole_one(place, pack):
    """One byte changed, or the end cut off, anywhere: it is refused, or all files in it are right."""
    members = [(f"{n}.bin", random.Random(n).randbytes(3000)) for n in range(5)]
    whole, chance = pack(members), random.Random(0)
    for trial in range(120):
        broken = bytearray(whole)
        if trial % 3:
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        else:
            del broken[chance.randrange(1, len(broken)) :]
        shutil.rmtree(place)
        place.mkdir()
        (place / "archive").write_bytes(broken)
        try:
            unpack(place / "archive", place)
        except ArchiveError:
            assert not [name for name in left(place) if name.endswith(".unpacking")]
            continue
        found = {path.read_bytes() for path in place.rglob("*") if path.name != "archive" and path.is_file()}
        assert found <= {content for _, content in members}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.lists(
            st.sampled_from(["a", "b", "..", ".", "", "/", "C:", "\\", "~", "é"]), min_size=1, max_size=5
        ),
        min_size=1,
        max_size=4,
    ),
    pack=st.sampled_from([zipped, lambda members: tarred(*members)]),
)
def test_whatever_members_are_called_nothing_leaves_the_folder(place, names, pack):
    shutil.rmtree(place.parent)
    place.mkdir(parents=True)
    archive = place.parent / "archive"
    members = [("/".join(parts), b"!") for parts in names]
    archive.write_bytes(pack([(name, content) for name, content in members if name]))
    try:
        count = unpack(archive, place)
    except (ArchiveError, OSError):
        count = 0
    written = [path for path in place.parent.rglob("*") if path.is_file() and path != archive]
    assert len(written) == count
    assert all(path.is_relative_to(place) for path in written)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def catalogue(site, monkeypatch):
    files = (site.file("one.bin", size=len(CONTENT), sha256=DIGEST), site.file("two.bin"))
    monkeypatch.setitem(SOURCES, "coco", source(*files, name="coco"))
    return SOURCES


def test_nothing_is_downloaded_before_the_licence_is_shown_and_accepted(catalogue, site, tmp_path, capsys):
    assert __main__.main(["get", "coco", "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "Licence: Free for all." in said.out
    assert "0.3 MB" in said.out
    assert "no published checksum" in said.out
    assert "add --accept-licence" in said.err
    assert (site.asked, left(tmp_path)) == ([], [])


def test_a_data_set_is_downloaded_and_it_says_how_to_read_it(catalogue, site, tmp_path, capsys):
    command = ["get", "coco", "--accept-licence", "--folder", str(tmp_path)]
    assert __main__.main(command) == 0
    said = capsys.readouterr().out
    assert "one.bin: downloaded, with its publisher's sha256\n" in said
    assert (
        f"two.bin: downloaded, with the sha256 that {tmp_path / 'coco' / SUMS} has from the first copy"
        in said
    )
    assert DIGEST in said
    assert said.endswith(f"coco.read('{tmp_path / 'coco'}')\n")
    assert left(tmp_path / "coco") == ["one.bin", SUMS, "two.bin"]
    assert __main__.main(command) == 0
    assert "one.bin: already there" in capsys.readouterr().out
    assert len(site.asked) == 2


def test_one_file_that_fails_does_not_keep_the_others_away(catalogue, site, tmp_path, capsys, monkeypatch):
    lost = replace(catalogue["coco"].files[0], address="http://127.0.0.1:9/one.bin")
    monkeypatch.setitem(SOURCES, "coco", source(lost, site.file("two.bin"), name="coco"))
    assert __main__.main(["get", "coco", "--accept-licence", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "put it at" in said.err
    assert "two.bin: downloaded" in said.out
    assert "coco.read" not in said.out


def test_some_files_can_be_asked_for(catalogue, site, tmp_path, capsys):
    command = ["get", "coco", "--accept-licence", "--folder", str(tmp_path), "--only"]
    assert __main__.main([*command, "two.bin"]) == 0
    assert left(tmp_path / "coco") == [SUMS, "two.bin"]
    with pytest.raises(SystemExit) as caught:
        __main__.main([*command, "three.bin"])
    assert caught.value.code == 2
    assert "has no file 'three.bin', it has one.bin, two.bin" in capsys.readouterr().err


def test_a_data_set_without_addresses_says_where_it_is(tmp_path, capsys):
    assert __main__.main(["get", "clevr-hope", "--folder", str(tmp_path)]) == 1
    assert "see https://github.com/ikb-a/systematicity-gap-in-vqa" in capsys.readouterr().err


def test_the_list_names_every_licence():
    command = [sys.executable, "-m", "geoclip_lite.datasets", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f"{s.name}: {s.title}\n  Licence: {s.licence}" in said for s in SOURCES.values())


# --- the catalogue --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_can_be_fetched_checked_and_read(name):
    known = SOURCES[name]
    assert known.name == name
    module, function = known.read.split("(")[0].split(".")
    assert callable(getattr(import_module(f"geoclip_lite.datasets.official.{module}"), function))
    assert len({file.name for file in known.files}) == len(known.files)
    for file in known.files:
        assert file.address.startswith(("https://", "http://"))
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
