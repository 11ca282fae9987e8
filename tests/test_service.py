"""The service: its answers are the pipeline's, and what is sent wrongly is refused with a reason."""

from __future__ import annotations

import io
import json
import logging
import re
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import odd_pictures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import EPS, HEIC
from PIL import Image
from service_gallery import SCENES, drawn_collection, encoded
from starlette.testclient import TestClient

from geoclip_lite import images
from geoclip_lite.encoders import load_encoder
from geoclip_lite.index import LockedError, UnavailableError
from geoclip_lite.service import searching, tidying
from geoclip_lite.service.app import create_app
from geoclip_lite.service.collection import Collection
from geoclip_lite.service.limits import MEDIA, Limits
from geoclip_lite.service.pictures import Shelf, fitted
from geoclip_lite.service.watching import Lines
from geoclip_lite.words import words_of

pytestmark = pytest.mark.filterwarnings("ignore::geoclip_lite.encoders.TextWarning")
MINI = load_encoder("mini-pairs", device="cpu")
LIMITS = Limits(picture_bytes=300_000)
JSON = {"content-type": "application/json"}
PNG = {"content-type": "image/png"}
SCENE = SCENES[7]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return drawn_collection(tmp_path_factory.mktemp("service"), encoders=("mini-pairs", "mini-single"))


@pytest.fixture(scope="module")
def client(collection):
    with TestClient(create_app(collection, LIMITS, writable=True), raise_server_exceptions=False) as made:
        yield made


def ask(client, **wishes):
    return client.post("/api/search", json={"query": SCENE.caption, **wishes})


def problem(response, status):
    """The reason of a refusal, which is told in one form whatever it is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == status
    assert said["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    return said["detail"]


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["mini-pairs", "mini-single"])
@pytest.mark.parametrize("reranker", ["assignment", "max-sim"])
def test_an_answer_is_the_pipelines(client, collection, encoder, reranker):
    pipeline = collection.pipelines[encoder]
    chosen = replace(pipeline.settings, matcher=reranker, weight=0.3)
    wanted = pipeline.search(SCENE.caption, 7, settings=chosen)
    found = ask(client, encoder=encoder, reranker=reranker, weight=0.3, k=7).json()
    assert found["phrases"] == list(wanted.phrases)
    assert [r["id"] for r in found["results"]] == [r.id for r in wanted.results]
    for ours, theirs in zip(found["results"], wanted.results, strict=True):
        assert ours["score"] == pytest.approx(theirs.score, abs=1e-6)
        assert [m["box"] for m in ours["matches"]] == [
            pytest.approx(m.focus, abs=1e-4) for m in theirs.matches
        ]
        assert ours["caption"] == theirs.fields["caption"]


def test_without_a_reranker_the_order_is_the_cosines(client):
    found = ask(client, reranker="none", k=20).json()
    cosines = [r["cosine"] for r in found["results"]]
    assert cosines == sorted(cosines, reverse=True)
    assert [r["first_rank"] for r in found["results"]] == list(range(1, 21))
    assert found["weight"] == 1


def test_steering_finds_more_of_what_it_is_steered_to(client):
    def blue(**wishes):
        found = client.post(
            "/api/search", json={"query": "red circle", "reranker": "none", "k": 10, **wishes}
        )
        return sum("blue" in r["caption"] for r in found.json()["results"])

    push = {"source": "red", "target": "blue", "strength": 1.0}
    assert blue(push=push) > blue()
    assert blue(push=push | {"strength": 0.0}) == blue()


def test_a_picture_can_be_steered_too(client):
    content = encoded(Image.new("RGB", (96, 96), (222, 32, 40)))

    def blue(**push):
        found = client.post("/api/search-by-picture", params={"k": 10, **push}, content=content, headers=PNG)
        return sum("blue" in r["caption"] for r in found.json()["results"])

    assert blue() == blue(source="red", target="blue", strength=0)
    assert blue() < blue(source="red", target="blue", strength=2)
    half = client.post("/api/search-by-picture?source=red", content=content, headers=PNG)
    assert "both source and target" in problem(half, 422)
    unknown = client.post("/api/search-by-picture?source=red&target=dog", content=content, headers=PNG)
    assert "never saw “dog”" in problem(unknown, 422)
    endless = client.post(
        "/api/search-by-picture?source=red&target=blue&strength=nan", content=content, headers=PNG
    )
    assert "strength" in problem(endless, 400)


def test_a_picture_finds_itself_and_its_copy_can_be_seen(client):
    found = client.post("/api/search-by-picture?k=3", content=encoded(SCENE.image(96)), headers=PNG).json()
    assert found["results"][0]["id"] == SCENE.image_id
    assert found["results"][0]["score"] == pytest.approx(1, abs=1e-3)
    copy = client.get(found["results"][0]["picture"])
    assert copy.headers["content-type"] == "image/webp"
    assert "immutable" in copy.headers["cache-control"]
    assert Image.open(io.BytesIO(copy.content)).size == (96, 96)


def test_reasons_agree_with_the_scores(client):
    results = ask(client, k=5).json()["results"]
    first, second = results[:2]
    gaps = {
        a["phrase"]: a["cosine"] - b["cosine"]
        for a, b in zip(first["matches"], second["matches"], strict=True)
    }
    widest = max(gaps, key=gaps.get)
    assert first["why"].startswith("It fits your words best")
    assert all(m["phrase"] in first["why"] and m["place"] in first["why"] for m in first["matches"])
    assert f"“{widest}”: " in first["why"]
    for number, result in enumerate(results, start=1):
        assert (f"number {result['first_rank']}." in result["why"]) == (result["first_rank"] != number)


def test_about_says_what_there_is(client):
    about = client.get("/api/about").json()
    assert {e["name"]: e["pictures"] for e in about["encoders"]} == {"mini-pairs": 60, "mini-single": 60}
    assert set(about["examples"]) <= {scene.caption for scene in SCENES}


def test_words_that_an_encoder_never_saw_are_named(client):
    [note] = client.post("/api/search", json={"query": "red circle, dog on a beach"}).json()["notes"]
    assert all(f"“{word}”" in note for word in ("dog", "on", "beach"))
    assert "red" not in note
    found = client.post("/api/search", json={"query": "an orange star and a red circle"}).json()
    assert found["notes"] == [], "an article is no part of an object"
    found = client.post("/api/search", json={"query": "an orange star", "reranker": "none"}).json()
    assert "“an”" in found["notes"][0], "but it is read with the whole"


@given(st.text(min_size=1, max_size=60).filter(words_of))
@settings(max_examples=100, deadline=None)
def test_unknown_words_are_those_that_the_encoder_warns_of(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MINI.tokenizer([text])
    said = [str(w.message) for w in caught if "never saw" in str(w.message)]
    unknown = searching.unknown_words(MINI, text)
    assert bool(said) == bool(unknown)
    assert all(word[:30] in said[0] for word in unknown[:5])


def test_punctuation_changes_no_answer_and_needs_no_note(client):
    def ask(query, **more):
        found = client.post("/api/search", json={"query": query, **more}).json()
        return (
            [(result["id"], result["score"]) for result in found["results"]],
            found["phrases"],
            found["notes"],
        )

    for more in ({}, {"reranker": "none"}):
        plain = ask("red circle, blue star", **more)
        for query in ("red circle, blue star.", "“Red circle”, (blue star)!", "red circle、blue-star,"):
            answer = ask(query, **more)
            assert answer[0] == plain[0]
            assert answer[2] == plain[2] == []
        assert ask("red circle, blue star.", **more) == plain


def test_notes_of_many_unknown_words_are_short(client):
    query = ", ".join(f"{'x' * 60}{i} star" for i in range(20))
    [note] = client.post("/api/search", json={"query": query}).json()["notes"]
    assert len(note) < 400


# --- bad requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "query: Field required"),
        ({"query": ""}, 400, "query: String should have at least 1 character"),
        ({"query": " \t\n\u3000"}, 400, "query: String should match"),
        ({"query": "!?"}, 422, "query"),
        ({"query": "\u200b", "reranker": "none"}, 422, "query"),
        ({"query": "red", "push": {"source": "...", "target": "red", "strength": 1}}, 422, "source"),
        ({"query": "x" * 2001}, 400, "query: String should have at most 2000"),
        ({"query": "x" * 100_000}, 413, "at most 32,000 bytes"),
        ({"query": 3}, 400, "query: Input should be a valid string"),
        ({"query": ["red circle"]}, 400, "query: Input should be a valid string"),
        ({"query": None}, 400, "query: Input should be a valid string"),
        ({"query": "red", "k": "3"}, 400, "k: Input should be a valid integer"),
        ({"query": "red", "k": True}, 400, "k: Input should be a valid integer"),
        ({"query": "red", "k": 0}, 400, "k: Input should be greater"),
        ({"query": "red", "k": 10**30}, 400, "k: "),
        ({"query": "red", "weight": 1.5}, 400, "weight: Input should be less"),
        (
            {"query": "red", "reranker": "best"},
            400,
            "reranker: Input should be 'assignment', 'max-sim' or 'none'",
        ),
        ({"query": "red", "colour": "blue"}, 400, "colour: Extra inputs are not permitted"),
        ({"query": "red", "encoder": "../../etc/passwd"}, 404, "there are mini-pairs, mini-single"),
        ({"query": ", ".join(["red circle"] * 25)}, 422, "lists 25 objects, more than 24"),
        ({"query": "red", "push": {"source": "red", "target": "blue"}}, 400, "push.strength: Field required"),
        ({"query": "red", "push": {"source": "red", "target": "RED", "strength": 1}}, 422, "the same mean"),
        ({"query": "red", "push": {"source": "red", "target": "dog", "strength": 1}}, 422, "never saw “dog”"),
        (
            {"query": "red", "push": {"source": "red", "target": "blue", "strength": 1e9}},
            400,
            "push.strength",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_request_is_refused_with_a_reason(client, body, status, reason):
    assert reason in problem(client.post("/api/search", json=body), status)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"query": ', b"\xff\xfe", b'{"query": "red", "weight": NaN}', b'{"query": "\\ud800"}'],
)
def test_what_is_no_json_is_refused(client, body):
    assert problem(client.post("/api/search", content=body, headers=JSON), 400), "it says why"


def test_deep_json_and_endless_numbers_are_refused(client):
    deep = b'{"query": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    endless = b'{"query": "red", "k": %s}' % (b"9" * 5000)
    for body in (deep, endless):
        assert problem(client.post("/api/search", content=body, headers=JSON), 400), "it says why"


@pytest.mark.parametrize("kind", [{}, {"content-type": "text/plain"}, {"content-type": "image/png"}])
def test_another_kind_of_body_is_refused(client, kind):
    """A page of another site may send text/plain unasked, but not JSON."""
    assert "application/json" in problem(
        client.post("/api/search", content=b'{"query": "red"}', headers=kind), 415
    )


ODD = [
    "rеd cіrcle",
    "red\u202e elcric",
    "👩‍🚀🟥",
    "\u0000red",
    "ｒｅｄ",
    "r̸̢e̸d̸",
    "'; DROP TABLE rows; --",
    "{} star",
    "%s",
    "a\u200b",
    "red,,,",
]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_odd_text_is_searched_for_like_any_other(client, text):
    found = client.post("/api/search", json={"query": text})
    assert found.status_code == 200
    assert found.json()["query"] == text


def test_unknown_paths_and_methods_are_refused_in_the_same_form(client):
    problem(client.get("/nothing"), 404)
    problem(client.get("/page/..%2fapp.py"), 404)
    problem(client.get("/page/app.py"), 404)
    refused = client.get("/api/search")
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"
    assert client.get("/api/pictures").headers["allow"] == "DELETE, PUT", "of all routes of the path"


# --- pictures -------------------------------------------------------------------------------------


def bomb(side):
    """The head of a PNG of side x side pixels, and next to nothing behind it."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100_000, 9)), (b"IEND", b"")]
    sealed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


PICTURE = encoded(SCENE.image(96))


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 415, "no picture"),
        (b"GIF, or so they say", 415, "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "no picture"),
        (EPS, 415, "no picture"),
        (HEIC, 415, "save it as JPEG"),
        (PICTURE[: len(PICTURE) // 2], 422, "damaged or cut off"),
        (PICTURE[:20], 422, "damaged"),
        (PICTURE[:200] + b"\0" * 50 + PICTURE[250:], 422, "damaged"),
        (bomb(7000), 413, "7,000 x 7,000 pixels, more than 40,000,000"),
        (bomb(60_000), 413, "more than 40,000,000 pixels"),
        (b"\0" * 300_001, 413, "at most 300,000 bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("place", ["/api/search-by-picture", "/api/pictures?id=bad"])
def test_a_bad_picture_is_refused_with_a_reason(client, place, content, status, reason):
    method = "PUT" if "id=" in place else "POST"
    assert reason in problem(client.request(method, place, content=content, headers=PNG), status)
    assert client.delete("/api/pictures?id=bad").status_code == 404


@pytest.mark.parametrize(
    "kind", [{}, {"content-type": "application/json"}, {"content-type": "image/svg+xml"}]
)
def test_a_picture_must_be_sent_as_one(client, kind):
    assert "image/png" in problem(client.post("/api/search-by-picture", content=PICTURE, headers=kind), 415)


@pytest.mark.parametrize("kind", MEDIA)
def test_a_picture_is_taken_whatever_clients_call_its_kind(client, kind):
    answer = client.post("/api/search-by-picture", content=PICTURE, headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["image/jpg", "image/jpeg", *odd_pictures.good()])
def test_whatever_can_be_read_from_a_folder_can_be_sent_in(client, name):
    kind = {"content-type": name if name in MEDIA else "image/jpeg"}
    content = odd_pictures.good().get(name, encoded(SCENE.image(96), "JPEG"))
    assert client.post("/api/search-by-picture", content=content, headers=kind).status_code == 200


def test_the_page_offers_every_format(client):
    offered = re.search(r'type="file"[^>]* accept="([^"]*)"', client.get("/").text)[1].split(",")
    assert {f"image/{name.lower()}" for name in images.FORMATS} <= set(offered)


@pytest.mark.parametrize("kind", images.FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 900), (200, 100)])
def test_pictures_of_every_kind_and_size_are_taken(client, kind, size):
    content = encoded(Image.new("RGB", size, "red"), kind)
    assert client.post("/api/search-by-picture", content=content, headers=PNG).status_code == 200


def test_the_size_is_known_before_a_pixel_is_unpacked(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(images.TooManyPixelsError, match="40,000,000"):
        images.read(bomb(7000), most_pixels=40_000_000)


def test_a_copy_is_small_and_holds_nothing_that_a_camera_wrote(tmp_path):
    photo = Image.new("RGB", (1600, 800), "blue")
    exif = photo.getexif()
    exif[0x010F] = "a maker's name"
    shelf, file = Shelf(tmp_path), io.BytesIO()
    photo.save(file, "JPEG", exif=exif)
    key = shelf.put(fitted(images.read(file.getvalue())))
    content = shelf.path(key).read_bytes()
    assert b"maker" not in content
    assert Image.open(io.BytesIO(content)).size == (640, 320)
    assert shelf.put(fitted(images.read(file.getvalue()))) == key
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


# --- writing --------------------------------------------------------------------------------------


def keep(client, picture, **named):
    return client.put("/api/pictures", params=named, content=encoded(picture), headers=PNG)


def test_a_picture_is_kept_replaced_and_taken_out(client, collection):
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))

    def found_by(picture):
        results = client.post("/api/search-by-picture?k=1", content=encoded(picture), headers=PNG).json()[
            "results"
        ]
        return results[0]

    before = len(list(collection.shelf.folder.rglob("*.webp")))
    assert keep(client, red, id="my/own 1.png", caption="all red").json() == {"id": "my/own 1.png"}
    assert (found_by(red)["id"], found_by(red)["caption"]) == ("my/own 1.png", "all red")
    old = found_by(red)["picture"]
    keep(client, blue, id="my/own 1.png")
    assert (found_by(blue)["id"], found_by(blue)["caption"]) == ("my/own 1.png", "")
    assert client.get(old).status_code == 404, "the copy of a replaced picture is gone"
    new = found_by(blue)["picture"]
    assert client.delete("/api/pictures", params={"id": "my/own 1.png"}).status_code == 204
    assert found_by(blue)["id"] != "my/own 1.png"
    assert client.get(new).status_code == 404
    problem(client.delete("/api/pictures", params={"id": "my/own 1.png"}), 404)
    assert len(list(collection.shelf.folder.rglob("*.webp"))) == before


def test_equal_pictures_share_a_copy_until_the_last_is_gone(client):
    green = Image.new("RGB", (64, 64), "green")
    for name in ("one", "two"):
        keep(client, green, id=name)
    client.delete("/api/pictures?id=one")
    found = client.post("/api/search-by-picture?k=1", content=encoded(green), headers=PNG).json()["results"][
        0
    ]
    assert found["id"] == "two"
    assert client.get(found["picture"]).status_code == 200
    client.delete("/api/pictures?id=two")


def test_where_the_store_is_gone_nothing_is_kept_and_nothing_is_left(tmp_path):
    """A disk that is not mounted: its folder is not made anew, and once it is back all goes on."""
    place, hidden = tmp_path / "index", tmp_path / "hidden"
    with TestClient(create_app(drawn_collection(place, SCENES[:3]), writable=True)) as client:
        place.rename(hidden)
        assert "try again later" in problem(keep(client, SCENE.image(64), id="new"), 503)
        assert not place.exists()
        hidden.rename(place)
        assert keep(client, SCENE.image(64), id="new").status_code == 200
        [encoder] = client.get("/api/about").json()["encoders"]
        assert (encoder["name"], encoder["pictures"]) == ("mini-pairs", 4)


def test_many_writes_are_tidied_up_after(tmp_path, monkeypatch):
    """As often as writes ask for it, but not before it has rested; an error does not end it."""
    monkeypatch.setattr(tidying, "WRITES", 3)
    monkeypatch.setattr(tidying, "REST", 0)
    collection = drawn_collection(tmp_path, SCENES[:3])
    calls = []

    def optimise():
        calls.append(len(collection.pipelines["mini-pairs"]))
        if len(calls) == 2:
            raise UnavailableError("no room")

    monkeypatch.setattr(collection.pipelines["mini-pairs"], "optimise", optimise)
    with TestClient(create_app(collection, writable=True)) as client:
        wait_for(lambda: len(calls) == 1)  # when it starts: nobody knows what was left
        for number in range(10):
            keep(client, Image.new("RGB", (8, 8), (number, 0, 0)), id=f"n{number}")
            wait_for(lambda many=1 + (number + 1) // 3: len(calls) >= many)
        monkeypatch.setattr(tidying, "REST", 1e9)
        for number in range(10):
            client.delete(f"/api/pictures?id=n{number}")
    assert len(calls) <= 5


TRICKS = [
    "../up",
    "a/../../b",
    "/etc/passwd",
    "..",
    ".",
    "a//b",
    "a\\b",
    ".hidden",
    "a/.hidden",
    "a\0b",
    "a\nb",
    "",
    "a/",
    "~/x",
]


@pytest.mark.parametrize("name", TRICKS, ids=ascii)
def test_ids_with_tricks_are_refused_and_lead_nowhere(client, collection, name):
    root = collection.shelf.folder.parents[1]
    before = sorted(root.rglob("*"))
    problem(keep(client, Image.new("RGB", (8, 8)), id=name), 400)
    problem(client.delete("/api/pictures", params={"id": name}), 400)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "key", ["../../secret", "%2e%2e%2fsecret", "A" * 64, "0" * 63, "0" * 64 + "%0a", "0" * 65]
)
def test_copies_have_no_other_names_than_their_keys(client, key):
    assert client.get(f"/api/pictures/{key}").status_code in (400, 404)


def test_ids_captions_and_parameters_have_limits(client):
    red = Image.new("RGB", (8, 8), "red")
    assert "512 bytes" in problem(keep(client, red, id="ü" * 300), 400)
    assert "at most 1000" in problem(keep(client, red, id="x", caption="x" * 1001), 400)
    assert "colour: Extra" in problem(keep(client, red, id="x", colour="red"), 400)


def test_a_service_that_only_reads_says_so(tmp_path):
    with TestClient(create_app(drawn_collection(tmp_path, SCENES[:3]))) as reading:
        assert "--writable" in problem(keep(reading, SCENE.image(64), id="x"), 403)
        assert "--writable" in problem(reading.delete("/api/pictures?id=x"), 403)


# --- too much, too slow, gone ---------------------------------------------------------------------


class Held:
    """A pipeline whose searches wait until they are let go."""

    def __init__(self, pipeline):
        self.pipeline, self.go, self.begun = pipeline, threading.Event(), threading.Semaphore(0)

    def __getattr__(self, name):
        return getattr(self.pipeline, name)

    def __len__(self):
        return len(self.pipeline)

    def search(self, *arguments, **options):
        self.begun.release()
        assert self.go.wait(30)
        return self.pipeline.search(*arguments, **options)


@pytest.fixture
def held(collection):
    """The collection with a pipeline that waits; the collection itself stays open."""
    pipeline = Held(collection.pipelines["mini-pairs"])
    yield pipeline, replace(collection, pipelines={"mini-pairs": pipeline})
    pipeline.go.set()


@pytest.fixture
def unclosed(monkeypatch):
    monkeypatch.setattr(Collection, "close", lambda _: None)


def test_who_finds_workers_and_queue_full_is_sent_away_at_once(held, unclosed):
    pipeline, waiting = held
    limits = Limits(workers=2, waiting=3)
    with TestClient(create_app(waiting, limits)) as client, ThreadPoolExecutor(5) as pool:
        accepted = [pool.submit(ask, client) for _ in range(5)]
        for _ in range(2):
            assert pipeline.begun.acquire(timeout=10)
        wait_for(lambda: "geoclip_accepted 5.0" in client.get("/metrics").text)
        began = time.perf_counter()
        refused = ask(client)
        assert time.perf_counter() - began < 1
        assert "try again" in problem(refused, 429)
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        pipeline.go.set()
        assert [future.result().status_code for future in accepted] == [200] * 5
        assert ask(client).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up_and_its_place_is_free_later(held, unclosed):
    pipeline, waiting = held
    limits = Limits(workers=1, waiting=1, seconds=0.2)
    with TestClient(create_app(waiting, limits)) as client:
        assert "in time" in problem(ask(client), 503)
        problem(ask(client), 503)
        assert "geoclip_accepted 1.0" in client.get("/metrics").text, "what has begun counts until it ends"
        pipeline.go.set()
        wait_for(lambda: "geoclip_accepted 0.0" in client.get("/metrics").text)
        wait_for(lambda: ask(client).status_code == 200)


def test_an_error_that_is_a_timeout_of_the_store_is_the_stores(collection, unclosed, monkeypatch):
    def locked(*_, **__):
        raise LockedError("locked for 10 s")

    monkeypatch.setattr(collection.pipelines["mini-pairs"], "search", locked)
    with TestClient(create_app(collection)) as client:
        assert "vector store" in problem(ask(client), 503)


def test_bodies_together_have_a_limit(collection, unclosed):
    limits = Limits(picture_bytes=300_000, held_bytes=1000)
    with TestClient(create_app(collection, limits)) as client:
        assert "arriving at once" in problem(
            client.post("/api/search-by-picture", content=b"x" * 2000, headers=PNG), 429
        )
        assert ask(client).status_code == 200, "what was refused is not held any more"


def test_a_store_that_is_gone_is_told_without_its_place(collection, unclosed, monkeypatch, caplog):
    def gone(*_, **__):
        raise UnavailableError("/secret/place cannot be used")

    with TestClient(create_app(collection)) as client, monkeypatch.context() as broken:
        for index in (
            collection.pipelines["mini-pairs"].pictures,
            collection.pipelines["mini-pairs"].windows,
        ):
            broken.setattr(index, "search", gone)
            broken.setattr(index, "count", gone)
        assert "try again later" in (said := problem(ask(client), 503))
        assert "secret" not in said
        assert client.get("/ready").status_code == 503
        assert "secret" not in client.get("/ready").text
        assert client.get("/health").status_code == 200
        assert any("secret" in str(getattr(r, "about", "")) for r in caplog.records), "the log has it"
        broken.undo()
        assert client.get("/ready").status_code == 200
        assert ask(client).status_code == 200


def test_what_nobody_expected_has_its_traceback_in_the_log_alone(collection, unclosed, monkeypatch, caplog):
    with TestClient(create_app(collection)) as client, monkeypatch.context() as broken:
        broken.setattr(collection.pipelines["mini-pairs"], "search", lambda *_, **__: 1 / 0)
        said = problem(ask(client), 500)
        assert "division" not in said
        [record] = [r for r in caplog.records if r.exc_info]
        assert record.exc_info[0] is ZeroDivisionError
        assert record.about["request_id"] in said


def test_a_picture_that_is_taken_out_while_it_is_found_does_no_harm(collection, unclosed, monkeypatch):
    pipeline = collection.pipelines["mini-pairs"]
    search, calls = pipeline.search, []

    def racing(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("ids must be in the index")
        return search(*arguments, **options)

    monkeypatch.setattr(pipeline, "search", racing)
    with TestClient(create_app(collection)) as client:
        assert ask(client).status_code == 200


# --- what an operator sees ------------------------------------------------------------------------


def test_every_request_is_a_line_of_json_and_a_count_and_no_word_of_a_client(client, caplog):
    caplog.set_level(logging.INFO, "geoclip_lite.service")
    ask(client, query="red circle, unheard-of")
    problem(client.post("/api/search", json={"query": "red", "secretly": 1}), 400)
    lines = [json.loads(Lines().format(record)) for record in caplog.records if record.msg == "request"]
    assert [(line["route"], line["status"]) for line in lines] == [("/api/search", 200), ("/api/search", 400)]
    assert all(line["ms"] > 0 and line["request_id"] for line in lines)
    assert "unheard" not in str(lines)
    assert "secretly" not in str(lines)
    figures = client.get("/metrics").text
    assert 'geoclip_requests_total{route="/api/search",status="200"}' in figures
    assert 'geoclip_stage_seconds_count{stage="rerank"}' in figures


def test_a_service_is_called_by_its_own_names_only(collection, unclosed):
    with TestClient(create_app(collection, hosts=("127.0.0.1", "localhost"))) as client:
        for name in ("127.0.0.1", "127.0.0.1:8000", "localhost:80"):
            assert client.get("/health", headers={"host": name}).status_code == 200
        for name in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
            problem(client.get("/health", headers={"host": name}), 421)


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/page/page.js", "/api/about", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_limits_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="workers must be at least 1"):
        Limits(workers=0)
    with pytest.raises(ValueError, match="stop_seconds must be above seconds"):
        Limits(seconds=30, stop_seconds=30)


def wait_for(condition, seconds=30):
    until = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < until, "it did not come true"
        time.sleep(0.01)
