"""Downloads from a local server that misbehaves in every way it can, and archives that mean harm."""

import hashlib
import io
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from types import SimpleNamespace

import filelock
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoclip_lite.datasets import __main__, archives, downloads
from geoclip_lite.datasets.archives import ArchiveError, unpack
from geoclip_lite.datasets.catalogue import SOURCES, File, Source
from geoclip_lite.datasets.downloads import DownloadError, get

SIZE = 60_000
CONTENT = random.Random(0).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KNOWN = [{}, {"sha256": DIGEST}, {"size": SIZE}, {"size": SIZE, "sha256": DIGEST}]
NEVER = [0] * downloads.ATTEMPTS
many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- a server -------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answers well, or with what the next trick makes of that; a number cuts the connection."""
        site, asked = self.server, self.headers.get("Range")
        site.asked.append(asked)
        start = int(asked.split("=")[1][:-1]) if asked else 0
        answer = SimpleNamespace(status=200, body=site.content[start:], headers={"ETag": site.etag})
        answer.headers |= {"Content-Type": "application/zip", "Content-Length": len(answer.body)}
        if asked:
            spread(answer, start, len(site.content), answer.body, total=len(site.content))
            answer.status = 206 if answer.body else 416
        trick = site.tricks.pop(0) if site.tricks else site.trick
        body = trick(answer, start) if callable(trick) else None
        body = answer.body[:trick] if isinstance(trick, int) else answer.body if body is None else body
        self.send_response(answer.status)
        for name, value in (answer.headers | {"Connection": "close"}).items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        for at in range(0, len(body), 4096):
            self.wfile.write(body[at : at + 4096])
            time.sleep(site.pause)

    def log_message(self, *_):
        """Stay silent."""


def spread(answer, first, last, body=None, status=206, total=SIZE):
    """Makes an answer a range of the file."""
    answer.body = CONTENT[first:last] if body is None else body
    answer.status, answer.headers["Content-Length"] = status, len(answer.body)
    answer.headers["Content-Range"] = f"bytes {first}-{last - 1}/{total}"


def change(answer, body=None, status=None, **headers):
    answer.status = status or answer.status
    answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return body


LOGIN = b"<html>please log in</html>"
TRICKS = {
    "less than the rest": lambda answer, at: spread(answer, at, min(SIZE, at + 20_000)),
    "less than it says": lambda answer, at: change(
        answer, answer.body[:99], Content_Length=99 if at else SIZE
    ),
    "a short total": lambda answer, at: spread(answer, at, at + 99, total=at + 99),
    "another range": lambda answer, at: spread(answer, at + 9, SIZE),
    "another file": lambda answer, at: change(answer, CONTENT[::-1][at:], ETag='"two"'),
    "no range": lambda answer, at: change(answer, status=206, Content_Range=None),
    "a slice as all": lambda answer, at: (
        spread(answer, max(at, 9), SIZE, status=200),
        change(answer, Content_Range=None if at else "bytes"),
    )[-1],
    "a slice and its range": lambda answer, at: spread(answer, max(at, 9), SIZE, status=200),
    "no length": lambda answer, at: change(answer, answer.body[:-99], Content_Length=None),
    "too large a length": lambda answer, at: change(answer, Content_Length=len(answer.body) + 1),
    "no end": lambda answer, at: change(answer, answer.body + bytes(9 * SIZE), Content_Length=None),
    "encoded": lambda answer, at: change(answer, answer.body[::-1], Content_Encoding="gzip"),
    "encoded in transfer": lambda answer, at: change(answer, Transfer_Encoding="gzip", Content_Length=None),
    "a web page": lambda answer, at: change(answer, LOGIN, 200, Content_Type="text/html", Content_Length=26),
    "a text": lambda answer, at: change(answer, LOGIN, 200, ETag=None, Content_Length=26),
    "trouble": lambda answer, at: change(answer, b"", 503, Content_Length=0),
}


@pytest.fixture
def site(monkeypatch):
    """No pauses between connections, and no proxy between here and here."""
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *about: None
    server.content, server.etag, server.pause = CONTENT, '"one"', 0
    server.asked, server.tricks, server.trick = [], [], None
    server.file = lambda name="data.bin", **known: File(
        f"http://127.0.0.1:{server.server_port}/{name}", **known
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def visible(folder):
    """Everything in a folder, by name."""
    return sorted(path.name for path in folder.rglob("*") if not path.name.startswith("."))


def parts(folder):
    return [path.read_bytes() for path in folder.glob("*.part")]


def succeeds(file, folder):
    """Whether the file can be had, whole and noted; if not, nothing looks like it."""
    try:
        get(file, folder)
    except (DownloadError, ArchiveError, OSError):
        assert all(name.endswith(".part") for name in visible(folder))
        return False
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert (folder / "data.bin.sha256").read_text() == f"{DIGEST}  data.bin\n"
    return True


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", KNOWN)
def test_a_file_comes_whole_over_connections_that_break_and_its_checksum_is_noted(site, tmp_path, known):
    steps, site.tricks = [], [20_000, 0, 1, 7_777]
    assert get(site.file(**known), tmp_path, lambda *step: steps.append(step)) == (DIGEST, 0)
    assert site.asked == [None, "bytes=20000-", "bytes=20000-", "bytes=20001-", "bytes=27778-"]
    assert steps == sorted(steps)
    assert steps[-1] == (SIZE, SIZE)
    assert visible(tmp_path) == ["data.bin", "data.bin.sha256"]
    assert subprocess.run(["sha256sum", "-c", "data.bin.sha256"], cwd=tmp_path).returncode == 0


def test_a_server_that_never_gets_beyond_a_point_is_given_up(site, tmp_path):
    """Each connection brings bytes, but no new ones: without a version, each begins anew."""
    site.etag, site.tricks = None, [1000, 500] * 50
    assert not succeeds(site.file(), tmp_path)
    assert set(site.asked) == {None}


@pytest.mark.parametrize("known", KNOWN[:2])
@pytest.mark.parametrize("trick", TRICKS)
def test_an_answer_that_does_not_go_on_costs_nothing_that_was_there(site, tmp_path, trick, known):
    site.tricks = [1000, *NEVER]
    assert not succeeds(site.file(**known), tmp_path)
    assert parts(tmp_path) == [CONTENT[:1000]]
    site.trick = lambda answer, at: TRICKS[trick](answer, at) if at else None
    if not succeeds(site.file(**known), tmp_path):
        assert max(map(len, parts(tmp_path))) >= 1000
        assert all(part == CONTENT[: len(part)] for part in parts(tmp_path))
        site.trick = None
        assert succeeds(site.file(**known), tmp_path)
        assert site.asked[-1] is not None, "it went on"


@pytest.mark.parametrize("known", KNOWN[1:])
@pytest.mark.parametrize("trick", TRICKS)
def test_an_answer_to_begin_with_is_the_whole_file_or_refused(site, tmp_path, trick, known):
    if trick == "another file" and "sha256" not in known:
        pytest.skip("nothing would tell")
    site.trick = TRICKS[trick]
    assert not succeeds(site.file(**known), tmp_path)
    assert sum(map(len, parts(tmp_path))) <= SIZE, "nothing is written past what was promised"
    site.trick = None
    assert succeeds(site.file(**known), tmp_path)


@many
@given(
    st.lists(st.one_of(st.sampled_from([*TRICKS.values()]), st.integers(0, SIZE)), max_size=12),
    st.sampled_from([KNOWN[1], KNOWN[3]]),
)
def test_whatever_happens_in_whatever_order_the_file_is_right_or_absent(site, tmp_path, tricks, known):
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    site.tricks, calls = list(tricks), 0
    while not succeeds(site.file(**known), tmp_path):
        calls += 1
        assert calls <= len(tricks)


def test_two_versions_are_never_mixed_nor_taken_for_each_other(site, tmp_path):
    """The second one comes after a part, and again after all of the first."""
    site.tricks = [1000, *NEVER]
    assert not succeeds(site.file(), tmp_path)
    site.content, site.etag = CONTENT[::-1], '"two"'
    get(site.file(), tmp_path)
    assert visible(tmp_path) == ["data.bin", "data.bin.sha256"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[::-1]
    (tmp_path / "data.bin").unlink()
    site.content, site.etag = CONTENT, '"one"'
    with pytest.raises(DownloadError, match=rf"{DIGEST}.*data\.bin\.sha256"):
        get(site.file(), tmp_path)
    assert visible(tmp_path) == ["data.bin.sha256"]
    (tmp_path / "data.bin.sha256").unlink()
    assert succeeds(site.file(), tmp_path)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (204, 1), (503, 5), (429, 5), (408, 5)])
def test_a_refusal_is_final_and_trouble_is_not(site, tmp_path, status, tries):
    site.trick = lambda answer, at: change(answer, b"", status, Content_Length=0)
    with pytest.raises((DownloadError, ConnectionError), match=str(status)):
        get(site.file(), tmp_path)
    assert len(site.asked) == tries


@pytest.mark.parametrize("place", ["/data.bin", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", None])
def test_a_redirect_leads_to_a_server_or_nowhere(site, tmp_path, place):
    lead = lambda answer, at: change(answer, b"", 302, Location=place or "/", Content_Length=0)  # noqa: E731
    site.tricks = [lead] if place else [lead] * 50
    assert succeeds(site.file(), tmp_path) is (place == "/data.bin")


def test_a_redirect_never_leads_from_https_to_less(site, tmp_path, monkeypatch):
    def ask(address, **about):
        response = requests.Session().get(site.file().address, **about)
        response.history = [requests.Response()]
        response.history[0].url = address
        return response

    monkeypatch.setattr(requests, "get", ask)
    assert not succeeds(File("https://example.org/data.bin"), tmp_path)
    assert succeeds(File("http://example.org/data.bin"), tmp_path)


# --- this machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["127.0.0.1:9", "no-such-host.invalid"])
def test_without_a_network_it_is_clear_at_once(tmp_path, monkeypatch, server):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(ConnectionError, match=server):
        get(File(f"http://{server}/data.bin"), tmp_path)


def test_a_server_that_falls_silent_is_tried_again(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "WAIT", (1, 0.2))
    site.tricks = [lambda answer, at: time.sleep(0.5)]
    assert succeeds(site.file(), tmp_path)
    assert len(site.asked) == 2


def test_a_full_disk_loses_nothing_that_came(site, tmp_path, monkeypatch):
    """Nothing can be written past a limit, as on a disk that is full; then its room is known before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    assert not succeeds(site.file(), tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert parts(tmp_path) == [CONTENT[:30_000]]
    usage = shutil.disk_usage(tmp_path)._replace(free=archives.SPARE + 1000)
    with monkeypatch.context() as small:
        small.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DownloadError, match=r"30,000 bytes more.* 1,000"):
            get(site.file(), tmp_path)
    assert parts(tmp_path) == [CONTENT[:30_000]]
    assert succeeds(site.file(), tmp_path)


def test_two_downloads_of_one_file_do_not_mix(site, tmp_path):
    site.pause, started = 0.02, threading.Event()
    first = threading.Thread(target=get, args=(site.file(), tmp_path, lambda *step: started.set()))
    first.start()
    started.wait()
    with pytest.raises(filelock.Timeout):
        get(site.file(), tmp_path)
    first.join()
    assert succeeds(site.file(), tmp_path)
    assert len(site.asked) == 1


DOWNLOAD = """
import signal, sys, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from geoclip_lite.datasets import catalogue, downloads
file = catalogue.File(sys.argv[1])
downloads.get(file, pathlib.Path(sys.argv[2]), lambda done, total: print(done, flush=True))
print("done", flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(site, tmp_path, end):
    """Real ones, after random times: while it starts, connects, receives, checks and unpacks."""
    site.content, site.pause, chance = zipped(PICTURES), 0.008, random.Random(end)
    command = [sys.executable, "-c", DOWNLOAD, site.file("set.zip").address, str(tmp_path)]
    safe, kills, finished = 0, 0, False
    while not finished:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Timer(chance.uniform(0, 0.15 * (kills + 1)), process.send_signal, [end]).start()
        lines = process.stdout.read().split()
        process.wait()
        kills, finished = kills + 1, "done" in lines
        numbers = [int(line) for line in lines if line.isdecimal()]
        assert all(number > safe for number in numbers)
        safe = max([safe, *numbers])
        assert max((path.stat().st_size for path in tmp_path.glob("set.zip*")), default=0) >= safe
    assert kills >= 3
    assert (tmp_path / "set.zip").read_bytes() == site.content
    assert all((tmp_path / name).read_bytes() == content for name, content in PICTURES)
    assert not parts(tmp_path)


# --- archives -------------------------------------------------------------------------------------


def zipped(members):
    """An archive; a name may come twice, and a ZipInfo may stand for a name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def entry(name, mode=0, compression=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, compression
    return info


PICTURES = [(f"set/image/{n}.jpg", random.Random(n).randbytes(5000)) for n in range(40)]
GOOD = ("good.txt", b"good")
ESCAPES = [
    "../evil",
    "a/../../evil",
    "/evil",
    "a\\..\\evil",
    "C:/evil",
    "C:evil",
    "\\\\host\\evil",
    ".",
    "x" * 2000,
]
HOSTILE = {
    **{f"path {name[:20]}": (zipped([GOOD, (name, b"!")]), "inside a folder") for name in ESCAPES},
    "link": (zipped([GOOD, (entry("l", stat.S_IFLNK | 0o777), "/etc")]), "is a link, a device"),
    "pipe": (zipped([GOOD, (entry("p", stat.S_IFIFO), "")]), "is a link, a device"),
    "bzip2": (zipped([GOOD, (entry("b", 0, zipfile.ZIP_BZIP2), "")]), "compressed unusually"),
    "twice": (zipped([GOOD, ("./good.txt", b"!")]), "two things called ./good.txt"),
    "twice but for case": (zipped([GOOD, ("GOOD.txt", b"!")]), "two things called GOOD.txt"),
    "a file that is a folder": (zipped([("a", b"1"), ("a/b", b"2")]), "two things called a/b"),
    "a folder that is a file": (zipped([("a/b", b"1"), ("a", b"2")]), "two things called a"),
    "bomb": (zipped([("zeros", bytes(30_000_000))]), "unpack to more than"),
    "many bombs": (zipped([(f"{n}", bytes(200_000)) for n in range(200)]), "unpack to more than"),
    "shorter than it says": (zipped([("a", b"1234")]).replace(b"\4\0\0\0\1\0", b"\5\0\0\0\1\0"), "damaged"),
    "no archive": (b"<html>404</html>", "no zip archive"),
    "empty": (b"", "no zip archive"),
}


@pytest.fixture
def place(tmp_path):
    """A folder to unpack in, beside something that must stay as it is."""
    (tmp_path / "evil").write_text("untouched")
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("name", [*HOSTILE, "encrypted"])
def test_a_hostile_archive_is_refused_before_anything_is_written(place, name):
    content, message = HOSTILE.get(name, (bytearray(zipped([GOOD])), "encrypted"))
    if name == "encrypted":
        content[6] = content[content.index(b"PK\1\2") + 8] = 1
    (place.parent / "archive").write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        unpack(place.parent / "archive", place)
    assert visible(place.parent) == ["archive", "evil", "in"]
    assert (place.parent / "evil").read_text() == "untouched"


def test_too_many_files_or_too_small_a_disk_are_noticed_before_anything_is_written(place, monkeypatch):
    (place / "a.zip").write_bytes(zipped([(f"{n}", b"1234") for n in range(4)]))
    usage = shutil.disk_usage(place)._replace(free=archives.SPARE + 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"16 bytes, .* has room for 3"):
        unpack(place / "a.zip", place)
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(ArchiveError, match="more than 3 files"):
        unpack(place / "a.zip", place)
    assert visible(place) == ["a.zip"]


def test_an_archive_is_unpacked_once_needs_not_be_kept_and_may_come_by_hand(site, tmp_path):
    site.content, file = zipped(PICTURES), site.file("set.zip")
    assert [get(file, tmp_path)[1] for _ in range(2)] == [40, 0]
    assert all((tmp_path / name).read_bytes() == content for name, content in PICTURES)
    (tmp_path / "set.zip").unlink()
    assert get(file, tmp_path)[1] == 0
    assert len(site.asked) == 1
    (tmp_path / "set.zip").write_bytes(site.content)
    (tmp_path / "set.zip.sha256").unlink()
    assert get(File("http://127.0.0.1:9/set.zip", len(site.content)), tmp_path)[1] == 40
    (tmp_path / "set.zip").write_bytes(b"something else")
    with pytest.raises(DownloadError, match=DIGEST):
        get(File("http://127.0.0.1:9/set.zip", sha256=DIGEST), tmp_path)
    assert (tmp_path / "set.zip").read_bytes() == b"something else"


def test_an_archive_cut_short_is_fetched_again_and_one_that_finds_no_room_is_not(site, tmp_path, monkeypatch):
    """Its server takes the cut one for whole, and nobody has published a checksum."""
    good, file = zipped(PICTURES), site.file("set.zip")
    site.content = good[:-1000]
    with pytest.raises(ArchiveError, match="damaged"):
        get(file, tmp_path)
    assert visible(tmp_path) == []
    site.content = good
    with monkeypatch.context() as small:
        usage, free = shutil.disk_usage(tmp_path), archives.SPARE + len(good)
        left = lambda path: usage._replace(free=free - 5000 * (parts(path) == [good]))  # noqa: E731
        small.setattr(shutil, "disk_usage", left)
        with pytest.raises(OSError, match="has room for"):
            get(file, tmp_path)
    assert parts(tmp_path) == [good]
    assert get(file, tmp_path)[1] == 40


def test_a_damaged_archive_is_never_taken_for_a_whole_one(place):
    """One byte changed, or the end cut off, anywhere: it is refused, or all files in it are right."""
    members = [(f"{n}.bin", random.Random(n).randbytes(3000)) for n in range(5)]
    content, chance = zipped(members), random.Random(0)
    for trial in range(240):
        broken = bytearray(content)
        if trial % 3:
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        else:
            del broken[chance.randrange(1, len(broken)) :]
        shutil.rmtree(place)
        place.mkdir()
        (place.parent / "archive").write_bytes(broken)
        with suppress(ArchiveError):
            unpack(place.parent / "archive", place)
        assert {path.read_bytes() for path in place.rglob("*") if path.is_file()} <= {c for _, c in members}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@many
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "..", ".", "", "/", "C:", "\\", "é"]), max_size=5), max_size=4
    )
)
def test_whatever_files_are_called_nothing_leaves_the_folder(place, names):
    shutil.rmtree(place.parent)
    place.mkdir(parents=True)
    archive, count = place.parent / "archive", 0
    archive.write_bytes(zipped([(name, b"!") for name in map("/".join, names) if name]))
    with suppress(ArchiveError):
        count = unpack(archive, place)
    written = [path for path in place.parent.rglob("*") if path.is_file() and path != archive]
    assert len(written) == count
    assert all(path.is_relative_to(place) for path in written)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def run(site, tmp_path, monkeypatch, capsys):
    """Arguments -> exit status, output and errors, with a data set of two files."""
    files = (site.file("one.bin", size=SIZE, sha256=DIGEST), site.file("two.bin"))
    about = ("Some data", "https://example.org/home", "Free for all.")
    monkeypatch.setitem(SOURCES, "coco", Source("coco", *about, files, "coco.read('{here}')"))

    def command(*arguments):
        return __main__.main(["get", "coco", "--folder", str(tmp_path), *arguments]), *capsys.readouterr()

    return command


def test_nothing_is_downloaded_before_the_licence_is_shown_and_accepted(run, site, tmp_path):
    status, out, err = run()
    assert (status, site.asked, visible(tmp_path)) == (2, [], [])
    assert all(words in out for words in ("Licence: Free for all.", "no published checksum"))
    assert "--accept-licence" in err


def test_a_data_set_is_downloaded_and_it_says_how_to_read_it(run, site, tmp_path):
    status, out, _ = run("--accept-licence")
    assert status == 0
    assert all(words in out for words in (DIGEST, "one.bin: downloaded"))
    assert out.endswith(f"coco.read('{tmp_path / 'coco'}')\n")
    assert "one.bin: already there" in run("--accept-licence")[1]
    assert len(site.asked) == 2


def test_one_file_that_fails_keeps_only_those_of_its_server_away(run, tmp_path, monkeypatch):
    lost = tuple(File(f"http://127.0.0.1:9/{name}") for name in ("lost.bin", "also.bin"))
    monkeypatch.setitem(SOURCES, "coco", replace(SOURCES["coco"], files=lost + SOURCES["coco"].files))
    status, out, err = run("--accept-licence")
    assert status == 1
    assert all(
        words in err for words in (f"put it at {tmp_path / 'coco' / 'lost.bin'}", "also.bin: not tried")
    )
    assert "two.bin: downloaded" in out
    assert "coco.read" not in out


def test_some_files_can_be_asked_for_and_some_sets_have_none(run, tmp_path, capsys):
    assert run("--accept-licence", "--only", "two.bin")[0] == 0
    assert visible(tmp_path / "coco") == ["two.bin", "two.bin.sha256"]
    with pytest.raises(SystemExit, match="2"):
        run("--accept-licence", "--only", "three.bin")
    assert "three.bin" in capsys.readouterr().err
    assert __main__.main(["get", "clevr-hope", "--folder", str(tmp_path)]) == 1
    assert SOURCES["clevr-hope"].home in capsys.readouterr().err


def test_an_archive_is_said_to_be_unpacked_and_where_from(run, site, monkeypatch):
    site.content = zipped(PICTURES)
    monkeypatch.setitem(SOURCES, "coco", replace(SOURCES["coco"], files=(site.file("set.zip"),)))
    assert "40 files unpacked" in run("--accept-licence")[1]
    assert "set.zip.sha256" in run("--accept-licence")[1]


def test_ctrl_c_says_that_the_command_goes_on(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "get", interrupted)
    status, _, err = run("--accept-licence")
    assert status == 130
    assert "the same command" in err


def test_the_list_names_every_licence():
    command = [sys.executable, "-m", "geoclip_lite.datasets", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f"{s.name}: {s.title}\n  Licence: {s.licence}" in listed for s in SOURCES.values())


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
