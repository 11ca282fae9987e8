"""The service as a process of its own: slow clients, stopping, kill -9, a store that goes and comes back."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import odd_pictures
import pytest
from service_gallery import SCENES, drawn_collection, served

from geoclip_lite.datasets import shapes
from geoclip_lite.service import running, sources, trials
from geoclip_lite.service.__main__ import main
from geoclip_lite.service.collection import Collection, Entry
from geoclip_lite.service.limits import Limits
from geoclip_lite.service.load import Call, Client, descriptions, drive
from geoclip_lite.service.models import Problem
from geoclip_lite.service.pictures import Shelf
from geoclip_lite.service.trials import Memory, Running

QUICK = Limits(head_seconds=0.5, body_seconds=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("process")


@pytest.fixture(scope="module")
def service(folder):
    with Running(*trials.small_gallery(folder), log=folder / "log") as started:
        yield started


@pytest.fixture(scope="module")
def slow(folder):
    """The address of a service that waits half a second for heads and bodies."""
    with served(drawn_collection(folder / "slow", SCENES[:4]), QUICK) as address:
        yield address


def raw(address, *parts, pause=0.0):
    """Sends bytes as they are; returns all that comes back until the service hangs up."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it has hung up already
                break
            time.sleep(pause)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


HEAD = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


# --- slow clients ---------------------------------------------------------------------------------


def test_a_head_that_does_not_arrive_is_answered_with_408(slow):
    answer = raw(slow, HEAD)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    problem = Problem.model_validate_json(answer.partition(b"\r\n\r\n")[2])
    assert (problem.status, problem.title) == (408, "Request Timeout")
    assert problem.detail.startswith("the request's head did not arrive in time")
    assert f"x-request-id: {problem.request_id}".encode() in answer


def test_a_head_byte_by_byte_is_answered_with_408(slow):
    began = time.perf_counter()
    answer = raw(slow, *[HEAD[i : i + 1] for i in range(len(HEAD))], pause=0.05)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.perf_counter() - began < len(HEAD) * 0.05 + 2


def test_a_connection_on_which_nothing_is_said_is_closed(slow):
    began = time.perf_counter()
    assert raw(slow).startswith(b"HTTP/1.1 408 ")
    assert time.perf_counter() - began < 5


def test_a_second_head_on_a_connection_must_arrive_in_time_too(slow):
    first = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = raw(slow, first, first[:20], pause=0.1)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


def test_a_half_sent_body_is_answered_with_408(slow):
    began = time.perf_counter()
    answer = raw(slow, HEAD + b'Content-Length: 100\r\n\r\n{"query": "red')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"the body did not arrive within 0.5 s" in answer
    assert time.perf_counter() - began < 4, "and hung up on"


def test_a_client_that_hangs_up_in_its_body_is_forgotten(slow):
    place = urlsplit(slow)
    for _ in range(5):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"query": "red')
    assert Client(slow).ask(descriptions(random.Random(0))).status == 200


def test_slow_clients_hold_up_nobody(slow):
    """More of them than the service has workers and places in its queue."""
    place = urlsplit(slow)
    idle = [socket.create_connection((place.hostname, place.port)) for _ in range(40)]
    for connection in idle:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    load = drive(slow, descriptions, clients=1, seconds=0.3)
    for connection in idle:
        connection.close()
    assert set(load.statuses) == {200}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_end_is_cut_off_with_a_reason(slow, chunked):
    """100 MB, declared or in chunks: the client reads a reason and no reset."""
    if chunked:
        head, part = HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"
    else:
        head, part = HEAD + b"Content-Length: 100000000\r\n\r\n", b" " * 65_536
    answer = raw(slow, head, *[part] * 20)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 32,000 bytes" in answer


def test_what_is_no_http_is_refused(slow):
    assert raw(slow, b"\x16\x03\x01 this is TLS, or so\r\n\r\n").startswith(b"HTTP/1.1 400 ")


# --- starting and stopping ------------------------------------------------------------------------


def test_it_listens_on_loopback_only_unless_told_otherwise(service):
    port = urlsplit(service.address).port
    assert urlsplit(service.address).hostname == "127.0.0.1"
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = [line.split()[1] for line in table.splitlines() if line.split()[3] == "0A"]
    assert [place for place in places if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_an_answer_does_not_wait_for_the_clients_word_that_it_has_the_first_part():
    with running.listening("127.0.0.1", 0) as sock:
        client = socket.create_connection(sock.getsockname())
        connection, _ = sock.accept()
        with client, connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_told_to_stop_it_finishes_what_it_has_accepted(folder):
    """In the midst of requests: each that was taken is answered in full, later ones find nobody."""
    with Running(*trials.small_gallery(folder / "stop"), log=folder / "log") as service:
        loads = []
        clients = threading.Thread(target=lambda: loads.append(drive(service.address, descriptions, 8, 3)))
        clients.start()
        time.sleep(1.5)
        status = service.stop()
        clients.join()
    assert status in (0, -signal.SIGTERM)
    [load] = loads
    assert load.statuses[200] > 0
    assert set(load.statuses) <= {0, 200}, "nothing but answers, and then nobody there"
    log = (folder / "log").read_text()
    assert "Traceback" not in log
    assert json.loads(log.splitlines()[-1])["event"].startswith("Finished")


def test_a_slow_answer_is_finished_before_it_stops(tmp_path, monkeypatch):
    collection = drawn_collection(tmp_path, SCENES[:4])
    pipeline = collection.pipelines["mini-pairs"]
    search = pipeline.search

    def slowly(*arguments, **options):
        time.sleep(1)
        return search(*arguments, **options)

    monkeypatch.setattr(pipeline, "search", slowly)
    replies = []
    with served(collection) as address:
        asking = threading.Thread(
            target=lambda: replies.append(Client(address).ask(descriptions(random.Random(0))))
        )
        asking.start()
        time.sleep(0.4)
    asking.join()
    assert [reply.status for reply in replies] == [200]
    assert json.loads(replies[0].body)["results"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-folder"], "there is no folder"),
        (["--encoder", "mini-pears"], "no encoder 'mini-pears'"),
        (["--index", "exact:somewhere"], "index must be a folder"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--host", "192.0.2.1"], "address"),
    ],
)
def test_what_cannot_be_started_says_why_and_leaves(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    assert main(["--port", "0", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_a_taken_port_is_noticed_before_any_work(service, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    assert main(["--port", str(urlsplit(service.address).port)]) == 2
    assert "in use" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- kill -9, and a store that goes and comes -----------------------------------------------------


def test_killed_while_pictures_arrive_it_loses_nothing_that_it_acknowledged(folder):
    found = trials.crash(folder / "crash", after=0.7)
    assert found.acknowledged > 0
    assert found.lost == 0
    [index] = [path for path in (folder / "crash" / "index").iterdir() if path.name != "copies"]
    pipelines = sources.opened(["mini-pairs"], str(index.parent))
    pipelines["mini-pairs"].verify()


def test_a_store_may_go_and_come_back(folder, service):
    [index] = [path for path in (folder / "index").iterdir() if path.name != "copies"]
    found = trials.outage(service, index, away=0.5, clients=2)
    assert set(found.during) == {503}
    assert (found.alive, found.ready) == (200, 503)
    assert set(found.after) == {200}
    assert found.seconds < 5
    assert service.ask(Call("GET", "/ready")).status == 200


# --- a folder of pictures -------------------------------------------------------------------------


def test_what_changes_in_a_folder_is_noticed_at_the_next_start(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    drawn = shapes.references()
    for i in range(4):
        drawn[i].image(96).save(pictures / f"{i}.png")

    def opened() -> Collection:
        return sources.of_folder(pictures, ["mini-pairs"], str(tmp_path / "index"))

    first = opened()
    first.add([entry("sent", drawn[9])])
    assert first.counts() == {"mini-pairs": 5}
    first.close()
    (pictures / "0.png").unlink()
    drawn[20].image(96).save(pictures / "1.png")
    drawn[21].image(96).save(pictures / "new.png")
    second = opened()
    pipeline = second.pipelines["mini-pairs"]
    rows = pipeline.pictures.matching("origin", ["folder", "sent"])
    assert set(rows.ids) == {"1.png", "2.png", "3.png", "new.png", "sent"}
    assert pipeline.search_picture(drawn[20].image(96), 1).results[0].id == "1.png"
    assert sorted(second.shelf.keys()) == sorted(rows.fields["copy"]), "a copy for each, and no other"
    pipeline.verify()
    second.close()


def test_the_search_page_starts_over_odd_pictures_and_names_what_it_leaves_out(tmp_path):
    good, damaged, others = odd_pictures.fill(tmp_path / "photos")
    damaged.add(odd_pictures.add_unnamed(tmp_path / "photos"))
    (tmp_path / "photos" / "phone.txt").write_bytes("Würfel".encode("cp1252"))
    good.remove("phone.avif")
    command = [
        sys.executable,
        "-m",
        "geoclip_lite.service",
        tmp_path / "photos",
        "--index",
        tmp_path / "index",
    ]
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = re.search(r"http://\S+", started.stdout.readline())[0]
        with urlopen(f"{address}/api/about") as answer:
            about = json.load(answer)
    finally:
        started.terminate()
        started.communicate(timeout=60)
    assert [encoder["pictures"] for encoder in about["encoders"]] == [len(good)]
    assert {*about["left_out"]} == {*damaged, *others, "phone.avif"}
    said = (tmp_path / "log").read_text()
    assert not [name for name in (*damaged, *others, "phone.txt") if name not in said]


def test_copies_are_not_kept_among_the_pictures(tmp_path):
    """The next start would take them for pictures of the folder."""
    shapes.references()[0].image(96).save(tmp_path / "0.png")
    for place in (tmp_path, tmp_path / "index"):
        with pytest.raises(ValueError, match=r"index: .*outside"):
            sources.of_folder(tmp_path, ["mini-pairs"], str(place))
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
    for _ in range(2):
        collection = sources.of_folder(tmp_path, ["mini-pairs"], str(tmp_path / ".index"))
        assert collection.counts() == {"mini-pairs": 1}
        collection.close()


def test_long_captions_are_not_proposed(tmp_path):
    """One of a thousand characters would fill the page."""
    for name in ("a red star", "1 essay"):
        shapes.references()[0].image(96).save(tmp_path / f"{name}.png")
    (tmp_path / "1 essay.txt").write_text("a red star " * 90)
    collection = sources.of_folder(tmp_path, ["mini-pairs"], str(tmp_path / ".index"))
    assert collection.examples == ("a red star",)
    collection.close()


def test_a_picture_that_is_damaged_later_is_taken_out(tmp_path):
    scenes = shapes.references()[:3]
    for number, scene in enumerate(scenes):
        scene.image(96).save(tmp_path / f"{number}.png")

    def held():
        collection = sources.of_folder(tmp_path, ["mini-pairs"], str(tmp_path / ".index"))
        rows = collection.pipelines["mini-pairs"].pictures.matching("origin", ["folder"])
        copies = sorted(collection.shelf.keys())
        collection.close()
        assert copies == sorted(rows.fields["copy"])
        return sorted(rows.ids), [one.name for one in collection.left_out]

    assert held() == (["0.png", "1.png", "2.png"], [])
    (tmp_path / "1.png").write_bytes(b"cut off")
    assert held() == (["0.png", "2.png"], ["1.png"])
    for number in (0, 2):
        (tmp_path / f"{number}.png").write_bytes(b"cut off")
    with pytest.raises(ValueError, match="no readable picture"):
        held()


def test_a_gallery_that_was_half_built_is_finished(tmp_path, monkeypatch):
    entries = [entry(scene.image_id, scene, "drawn") for scene in SCENES[:10]]
    collection = drawn_collection(tmp_path, SCENES[:6])
    added = []
    add = collection.pipelines["mini-pairs"].add
    monkeypatch.setattr(
        collection.pipelines["mini-pairs"], "add", lambda ids, *rest: (added.extend(ids), add(ids, *rest))
    )
    collection.sync(entries)
    assert added == [scene.image_id for scene in SCENES[6:10]]
    lost = next(collection.shelf.keys())
    collection.shelf.drop(lost)
    collection.sync(entries)
    assert len(added) == 5, "a picture without its copy is taken again"
    collection.close()


def test_the_demo_is_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "DEMO_SIZE", 24)
    first = sources.demo(["mini-pairs"])
    assert first.counts() == {"mini-pairs": 24}
    asked = first.pipelines["mini-pairs"].search(first.examples[0], 5)
    [scene] = [scene for scene in SCENES[:24] if sources.described(scene) == first.examples[0]]
    assert asked.results[0].id == scene.image_id
    first.close()
    monkeypatch.setattr(Shelf, "put", lambda *_: pytest.fail("drawn again"))
    second = sources.demo(["mini-pairs"])
    assert second.counts() == {"mini-pairs": 24}
    second.close()


def entry(name, scene, stamp=""):
    return Entry(name, scene.caption, lambda: scene.image(96), stamp)


# --- the measurements -----------------------------------------------------------------------------


def test_a_leak_is_told_from_noise():
    rng = np.random.default_rng(0)
    minutes = np.linspace(0, 10, 1200)
    noise = 500 + rng.normal(0, 2, len(minutes))
    flat, leak = (Memory(tuple(minutes), tuple(noise + grows * minutes)) for grows in (0, 1))
    slope, low, high = flat.slope()
    assert low < 0 < high
    slope, low, high = leak.slope()
    assert 0.5 < low < slope < high < 1.5


def test_clients_count_what_they_are_told(slow):
    load = drive(slow, descriptions, clients=3, seconds=0.5)
    assert load.statuses[200] == len(load.replies) == len(load.answered)
    assert 0 < load.percentile(50) <= load.percentile(99) < 1000 * load.wall
    assert load.throughput == pytest.approx(load.statuses[200] / load.wall)
    assert set(drive("http://127.0.0.1:1", descriptions, 1, 0.1).statuses) == {0}, "nobody there"
