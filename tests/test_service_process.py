"""The service as a process of its own: starting and stopping, kill -9, full disks, a store gone and back."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import _service as trials
import numpy as np
import odd_pictures
import pytest
from _service import Call, Running, descriptions, drive, png, search, sending
from service_gallery import SCENES, draw, drawn_collection, encoded

from geoclip_lite.datasets import shapes
from geoclip_lite.service import collection as collections
from geoclip_lite.service import running
from geoclip_lite.service.__main__ import main
from geoclip_lite.service.collection import Collection, Written, open_collection

DRAWN = shapes.compositions()[:50]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("process")


@pytest.fixture(scope="module")
def service(folder):
    with Running(*trials.small_gallery(folder), log=folder / "log") as started:
        yield started


def raw(address, *parts):
    """Sends bytes as they are; returns what comes back."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.recv(65_536)


# --- starting and stopping ------------------------------------------------------------------------


def test_it_listens_on_loopback_only_unless_told_otherwise(service):
    port = urlsplit(service.address).port
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = [line.split()[1] for line in table.splitlines() if line.split()[3] == "0A"]
    assert [place for place in places if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_an_answer_does_not_wait_for_the_clients_word_that_it_has_the_first_part():
    with running.listening("127.0.0.1", 0) as sock:
        sock.listen()
        with socket.create_connection(sock.getsockname()), sock.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_help_imports_nothing_heavy():
    command = "import sys; from geoclip_lite.service.__main__ import main; main(['--help'])"
    heavy = "{'torch', 'lancedb', 'PIL'}"
    check = f"try:\n {command}\nexcept SystemExit: print(sorted({heavy} & {{*sys.modules}}))"
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert "--encoder" in said
    assert said.splitlines()[-1] == "[]"


def test_told_to_stop_it_finishes_what_it_has_accepted(folder):
    """In the midst of requests: each that was taken is answered in full, later ones find nobody."""
    with Running(*trials.small_gallery(folder / "stop"), log=folder / "stop log") as service:
        loads = []
        clients = threading.Thread(target=lambda: loads.append(drive(service.address, descriptions, 8, 3)))
        clients.start()
        time.sleep(1.5)
        status = service.stop()
        clients.join()
    assert status in (0, -signal.SIGTERM)
    assert loads[0].statuses[200] > 0
    assert set(loads[0].statuses) <= {0, 200}, "nothing but answers, and then nobody there"
    log = (folder / "stop log").read_text()
    assert "Traceback" not in log
    assert json.loads(log.splitlines()[-1])["event"].startswith("Finished")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-folder"], "there is no folder"),
        (["--encoder", "mini-pears"], "mini-pears"),
        (["--workers", "0"], "workers"),
        (["--host", "192.0.2.1"], "address"),
    ],
)
def test_what_cannot_be_started_says_why_and_leaves(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(collections, "DEMO", 2)
    assert main(["--port", "0", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_a_taken_port_is_noticed_before_any_work(service, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    assert main(["--port", str(urlsplit(service.address).port)]) == 2
    assert "in use" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- rude and slow clients ------------------------------------------------------------------------

HEAD = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def test_slow_clients_hold_up_nobody(service):
    """More of them than there are workers and places in the queue; then they hang up."""
    place = urlsplit(service.address)
    idle = [socket.create_connection((place.hostname, place.port)) for _ in range(40)]
    for connection in idle:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    assert set(drive(service.address, descriptions, clients=1, seconds=0.3).statuses) == {200}
    for connection in idle:
        connection.close()
    assert service.ask(search("red circle")).status == 200


def test_a_body_without_end_is_cut_off(service):
    part = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    assert raw(service.address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", part).startswith(
        b"HTTP/1.1 413 "
    )


def test_a_head_without_end_and_what_is_no_http_are_refused(service):
    assert raw(service.address, HEAD + b"X: " + b"x" * 40_000).startswith(b"HTTP/1.1 4")
    assert raw(service.address, b"\x16\x03\x01 this is TLS, or so\r\n\r\n").startswith(b"HTTP/1.1 400 ")


# --- what was acknowledged stays ------------------------------------------------------------------


def test_writes_over_the_folder_outlive_a_restart(folder):
    """A picture that lies in the folder, replaced or taken out through the service, stays so."""
    arguments = trials.small_gallery(folder / "over")
    mine, other = png(DRAWN[40]), png(DRAWN[41])
    with Running(*arguments, log=folder / "log") as service:
        assert service.ask(put("0.png", mine)).status == 204
        assert service.ask(Call("DELETE", "/api/pictures?id=1.png")).status == 204
        for call in (Call("DELETE", "/api/pictures?id=2.png"), put("2.png", other)):
            assert service.ask(call).status == 204
        for call in (put("3.png", other), Call("DELETE", "/api/pictures?id=3.png")):
            assert service.ask(call).status == 204
        service.kill()
    for _ in range(2):
        with Running(*arguments, log=folder / "log") as service:
            found = {r["id"]: r for r in results(service, "red circle", k=50)}
            assert found.keys() == {f"{i}.png" for i in range(12)} - {"1.png", "3.png"}
            assert found["0.png"]["caption"] == found["2.png"]["caption"] == "mine"
            assert results(service, mine, k=1)[0]["id"] == "0.png"
            assert results(service, other, k=1)[0]["id"] == "2.png"
            assert service.stop() in (0, -signal.SIGTERM)
    assert len(list((folder / "over" / "pictures").iterdir())) == 12, "the folder itself is left alone"


def put(name, content):
    return Call("PUT", f"/api/pictures?id={name}&caption=mine", content, "image/png")


def results(service, asked, k):
    call = search(asked, k=k) if isinstance(asked, str) else None
    call = call or Call("POST", f"/api/search-by-picture?k={k}", asked, "image/png")
    return json.loads(service.ask(call).body)["results"]


@pytest.mark.parametrize("step", ["before", "after the first encoder"])
def test_a_write_that_was_cut_off_is_finished_at_the_next_start(tmp_path, monkeypatch, step):
    """As kill -9 leaves it: written down, but not yet, or not everywhere, in the indexes."""
    encoders = ("mini-pairs", "mini-single")
    collection = drawn_collection(tmp_path, SCENES[:4], encoders)
    collection.put("00.png", "old", encoded(SCENES[9].image(96)))
    first = collection.pipelines["mini-pairs"]
    left = dict(list(collection.pipelines.items())[: 0 if step == "before" else 1])
    collection.written.remove("01.png")
    monkeypatch.setattr(collection, "pipelines", {**left, "none": Cut()})
    with pytest.raises(CutOffError):
        collection.put("00.png", "new", encoded(SCENES[10].image(96)))
    first.close()
    again = open_collection(tmp_path / "pictures", encoders, str(tmp_path / "index"))
    for pipeline in again.pipelines.values():
        assert set(pipeline.index.values("stamp")) == {"00.png", "02.png", "03.png"}
        best = pipeline.search_picture(SCENES[10].image(96), 1).results[0]
        assert (best.id, best.fields["caption"]) == ("00.png", "new")
    again.close()


class CutOffError(Exception):
    """Here the process was killed."""


class Cut:
    """In place of a pipeline."""

    def add(self, *_):
        raise CutOffError


def test_another_encoder_later_finds_what_was_sent_in(tmp_path):
    first = drawn_collection(tmp_path, SCENES[:4])
    first.put("mine", "mine", encoded(SCENES[9].image(96)))
    first.delete("00.png")
    first.close()
    second = open_collection(tmp_path / "pictures", ["mini-single"], str(tmp_path / "index"))
    assert set(second.pipelines["mini-single"].index.values("stamp")) == {
        "01.png",
        "02.png",
        "03.png",
        "mine",
    }
    second.close()


def test_killed_while_pictures_arrive_it_loses_nothing_that_it_acknowledged(folder):
    found = trials.crash(folder / "crash", after=0.7)
    assert found.acknowledged > 0
    assert found.lost == 0
    collection = open_collection(
        folder / "crash" / "pictures", ["mini-pairs"], str(folder / "crash" / "index")
    )
    collection.pipelines["mini-pairs"].verify()
    collection.close()


def test_a_store_may_go_and_come_back(folder, service):
    found = trials.outage(service, trials.index_in(folder / "index"), away=0.5, clients=2)
    assert set(found.during) == {503}
    assert (found.alive, found.ready) == (200, 503)
    assert set(found.after) == {200}
    assert service.ask(Call("GET", "/ready")).status == 200


def test_a_full_disk_is_503_for_every_writer_and_nothing_is_lost(folder):
    """Files of the process may not grow: what is left when a disk is full."""
    with Running(*trials.small_gallery(folder / "full"), log=folder / "log") as service:
        assert service.ask(sending(DRAWN[30])).status == 204
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        with ThreadPoolExecutor(6) as pool:
            statuses = [*pool.map(lambda scene: service.ask(sending(scene)).status, DRAWN[40:46])]
        assert set(statuses) == {503}
        assert service.ask(Call("DELETE", f"/api/pictures?id={quote(DRAWN[30].image_id)}")).status == 503
        assert trials.is_there(service, DRAWN[30])
        service.kill()
    with Running(*trials.small_gallery(folder / "full"), log=folder / "log") as service:
        assert trials.is_there(service, DRAWN[30])
        assert service.ask(sending(DRAWN[40])).status == 204


def test_a_place_that_may_not_be_written_is_told_at_the_start(tmp_path):
    draw(tmp_path / "pictures", SCENES[:2])
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        open_collection(tmp_path / "pictures", ["mini-pairs"], str(tmp_path / "file" / "index"))
    (tmp_path / "written.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match=r"written\.sqlite"):
        Written(tmp_path / "written.sqlite")


# --- a folder of pictures -------------------------------------------------------------------------


def opened(folder, **about) -> Collection:
    return open_collection(folder, ["mini-pairs"], str(folder.with_name("index")), **about)


def test_what_changes_in_a_folder_is_noticed_at_the_next_start(tmp_path):
    pictures = draw(tmp_path / "pictures", SCENES[:4])
    first = opened(pictures)
    first.put("sent", "", encoded(SCENES[9].image(96)))
    first.close()
    (pictures / "00.png").unlink()
    (pictures / "03.png").write_bytes(b"cut off")
    SCENES[20].image(96).save(pictures / "01.png")
    SCENES[21].image(96).save(pictures / "new.png")
    second = opened(pictures)
    pipeline = second.pipelines["mini-pairs"]
    assert set(pipeline.index.values("stamp")) == {"01.png", "02.png", "new.png", "sent"}
    assert pipeline.search_picture(SCENES[20].image(96), 1).results[0].id == "01.png"
    assert [*second.left_out] == ["03.png"]
    second.close()
    for path in pictures.glob("*.png"):
        path.write_bytes(b"cut off")
    second.written.remove("sent")
    with pytest.raises(ValueError, match="no readable picture"):
        opened(pictures)


def test_the_page_starts_over_odd_pictures_names_what_it_leaves_out_and_shows_the_rest(tmp_path):
    """At the first start, and whatever the mini can make of photographs is said."""
    good, damaged, others = odd_pictures.fill(tmp_path / "photos")
    damaged.add(odd_pictures.add_unnamed(tmp_path / "photos"))
    (tmp_path / "photos" / "phone.txt").write_bytes("Würfel".encode("cp1252"))
    good.remove("phone.avif")
    arguments = (str(tmp_path / "photos"), "--index", str(tmp_path / "index"))
    with Running(*arguments, log=tmp_path / "log") as service:
        about = json.loads(service.ask(Call("GET", "/api/about")).body)
        shown = [
            service.ask(Call("GET", one["picture"] + size)).status
            for one in about["pictures"]
            for size in ("", "&size=full")
        ]
    assert [encoder["pictures"] for encoder in about["encoders"]] == [len(good)]
    assert {*about["left_out"]} == {*damaged, *others, "phone.avif"}
    assert about["examples"] == [], "names of files are no queries"
    assert set(shown) == {200}
    said = (tmp_path / "log").read_text()
    assert not [name for name in (*damaged, *others, "phone.txt", "--encoder") if name not in said]


def test_the_index_is_not_kept_among_the_pictures(tmp_path):
    draw(tmp_path / "pictures", SCENES[:2])
    for place in ("pictures", "pictures/index"):
        with pytest.raises(ValueError, match="index"):
            open_collection(tmp_path / "pictures", ["mini-pairs"], str(tmp_path / place))
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    open_collection(tmp_path / "pictures", ["mini-pairs"], str(tmp_path / "pictures" / ".index")).close()


def test_examples_are_short_captions_of_words_that_the_encoder_knows(tmp_path):
    draw(tmp_path / "pictures", SCENES[:3])
    for name, caption in (("00", "red star " * 90), ("01", "a dog on a beach"), ("02", "red star")):
        (tmp_path / "pictures" / f"{name}.txt").write_text(caption)
    collection = opened(tmp_path / "pictures")
    assert collection.examples == ["red star"]
    collection.close()


def test_the_demo_is_drawn_once_and_never_by_halves(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(collections, "DEMO", 6)
    with monkeypatch.context() as killed:
        killed.setattr(Path, "write_text", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collections.drawn_gallery()
    first = open_collection(None, ["mini-pairs"])
    assert first.counts() == {"mini-pairs": 6}
    assert first.notes == []
    first.close()
    monkeypatch.setattr(collections, "shapes", None)
    assert len(list(collections.drawn_gallery().glob("*.png"))) == 6


# --- the measurements -----------------------------------------------------------------------------


def test_a_leak_is_told_from_noise():
    rng, minutes = np.random.default_rng(0), np.linspace(0, 10, 1200)
    noise = 500 + rng.normal(0, 2, len(minutes))
    for grows in (0, 1):
        slope, low, high = trials.Memory(tuple(minutes), tuple(noise + grows * minutes)).slope()
        assert low < slope < high
        assert (low > 0.5) == bool(grows)
