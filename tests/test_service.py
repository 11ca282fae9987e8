"""The service: its answers are the pipeline's, and what is sent wrongly is refused with a reason."""

from __future__ import annotations

import io
import json
import logging
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import odd_pictures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import EPS, HEIC
from PIL import Image
from service_gallery import SCENES, drawn_collection, encoded, wait_for
from starlette.testclient import TestClient

from geoclip_lite.encoders import load_encoder
from geoclip_lite.index import LockedError, UnavailableError
from geoclip_lite.service import app
from geoclip_lite.service.app import create_app
from geoclip_lite.service.guard import PICTURES, Limits
from geoclip_lite.service.running import JsonLines
from geoclip_lite.service.why import unknown_words
from geoclip_lite.words import words_of

pytestmark = pytest.mark.filterwarnings("ignore::geoclip_lite.encoders.TextWarning")
MINI = load_encoder("mini-pairs", device="cpu")
LIMITS = Limits(picture_bytes=300_000)
JSON = {"content-type": "application/json"}
PNG = {"content-type": "image/png"}
SCENE, NAME = SCENES[7], "07.png"
PICTURE = encoded(SCENE.image(96))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return drawn_collection(tmp_path_factory.mktemp("service"), encoders=("mini-pairs", "mini-single"))


@pytest.fixture(scope="module")
def client(collection):
    with clients(collection, limits=LIMITS, writable=True) as made:
        yield made


def clients(collection, limits=None, **options):
    """A client of a service of its own, which leaves the collection open."""
    made = create_app(replace(collection), limits, **options)
    return TestClient(made, "http://localhost", raise_server_exceptions=False)


@pytest.fixture(autouse=True, scope="module")
def unclosed(collection):
    """Several services share the collection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(collection), "close", lambda _: None)
        yield


def ask(client, query=SCENE.caption, **wishes):
    return client.post("/api/search", json={"query": query, **wishes})


def by_picture(client, content, kind="image/png", **named):
    return client.post(
        "/api/search-by-picture", params=named, content=content, headers={"content-type": kind}
    )


def keep(client, content, **named):
    return client.put("/api/pictures", params=named, content=content, headers=PNG)


def delete(client, name):
    return client.delete("/api/pictures", params={"id": name})


def problem(response, status):
    """The reason of a refusal, in one form whatever it is, with nothing of the inside."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert (said["status"], said["request_id"]) == (status, response.headers["x-request-id"])
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
    answer = ask(client, encoder=encoder, reranker=reranker, weight=0.3, k=7).json()
    assert answer["phrases"] == list(wanted.phrases)
    assert [r["id"] for r in answer["results"]] == [r.id for r in wanted.results]
    for ours, theirs in zip(answer["results"], wanted.results, strict=True):
        assert ours["score"] == pytest.approx(theirs.score, abs=1e-6)
        assert ours["caption"] == theirs.fields["caption"]
        for match, focus in zip(ours["matches"], (m.focus for m in theirs.matches), strict=True):
            assert match["box"] == pytest.approx(focus, abs=1e-4)


def test_without_a_reranker_the_order_is_the_cosines(client):
    answer = ask(client, reranker="none", k=20).json()
    cosines = [r["cosine"] for r in answer["results"]]
    assert cosines == sorted(cosines, reverse=True)
    assert [r["first_rank"] for r in answer["results"]] == list(range(1, 21))


def test_steering_finds_more_of_what_it_is_steered_to(client):
    def blue(**wishes):
        results = ask(client, "red circle", reranker="none", k=10, **wishes).json()["results"]
        return sum("blue" in r["caption"] for r in results)

    push = {"source": "red", "target": "blue", "strength": 1.0}
    assert blue(push=push) > blue()
    assert blue(push=push | {"strength": 0.0}) == blue()
    assert "dog" in problem(ask(client, push=push | {"target": "dog"}), 422)
    assert "push" in problem(ask(client, push=push | {"target": "Red"}), 422)
    assert any("Steering" in note for note in ask(client, push=push).json()["notes"])


def test_a_picture_finds_itself_and_more_like_it(client):
    first, *_ = by_picture(client, PICTURE, k=3).json()["results"]
    assert (first["id"], first["score"]) == (NAME, pytest.approx(1, abs=1e-3))
    alike = client.get("/api/search-like", params={"id": NAME, "k": 5}).json()["results"]
    assert len(alike) == 5
    assert NAME not in [r["id"] for r in alike]
    problem(client.get("/api/search-like?id=nothing"), 404)


def test_a_picture_is_shown_small_and_in_full_and_kept_by_browsers(client, tmp_path):
    photo = Image.new("RGB", (3000, 1500), "blue")
    exif = photo.getexif()
    exif[0x010F], exif[0x0112] = "a maker's name", 6  # turned by a quarter
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=exif)
    assert keep(client, file.getvalue(), id="photo").status_code == 204
    try:
        address = by_picture(client, file.getvalue(), k=1).json()["results"][0]["picture"]
        for size, kind, shape in (("small", "webp", (256, 512)), ("full", "jpeg", (1024, 2048))):
            shown = client.get(f"{address}&size={size}")
            assert shown.headers["content-type"] == f"image/{kind}"
            assert "immutable" in shown.headers["cache-control"]
            assert Image.open(io.BytesIO(shown.content)).size == shape
            assert b"maker" not in shown.content
            again = client.get(f"{address}&size={size}", headers={"if-none-match": shown.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
    finally:
        delete(client, "photo")
    problem(client.get(address), 404)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "00.txt", "nothing", NAME])
def test_no_stranger_becomes_a_path_or_fills_the_disk(client, collection, name):
    cached = sorted(collection.thumbnails.folder.rglob("*"))
    for size in ("small", "full"):
        problem(client.get("/api/picture", params={"id": name, "version": "0" * 16, "size": size}), 404)
    assert sorted(collection.thumbnails.folder.rglob("*")) == cached


def test_reasons_agree_with_the_scores(client):
    results = ask(client, k=5).json()["results"]
    first, second = results[:2]
    pairs = zip(first["matches"], second["matches"], strict=True)
    gaps = {a["phrase"]: a["cosine"] - b["cosine"] for a, b in pairs}
    assert "fits your words best" in first["why"]
    assert all(m["phrase"] in first["why"] and m["place"] in first["why"] for m in first["matches"])
    assert f"“{max(gaps, key=gaps.get)}”: " in first["why"]
    for number, result in enumerate(results, start=1):
        assert (f"number {result['first_rank']}." in result["why"]) == (result["first_rank"] != number)


def test_words_that_an_encoder_never_saw_are_named_and_nothing_is_claimed_of_them(client):
    answer = ask(client, "red circle, dog on a beach").json()
    assert all(f"“{word}”" in answer["notes"][0] for word in ("dog", "on", "beach"))
    assert "red" not in answer["notes"][0]
    assert "fits your words best" not in answer["results"][0]["why"]
    assert ask(client, "an orange star and a red circle").json()["notes"] == [], "articles are left out"
    assert len(ask(client, ", ".join(f"{'x' * 60}{i} star" for i in range(20))).json()["notes"][0]) < 400


@given(st.text(min_size=1, max_size=60).filter(words_of))
@settings(max_examples=100, deadline=None)
def test_unknown_words_are_those_that_the_encoder_warns_of(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MINI.tokenizer([text])
    said = [str(w.message) for w in caught if "never saw" in str(w.message)]
    unknown = unknown_words(MINI, text)
    assert bool(said) == bool(unknown)
    assert all(word[:30] in said[0] for word in unknown[:5])


def test_about_says_what_there_is(client):
    about = client.get("/api/about").json()
    assert {e["name"]: e["pictures"] for e in about["encoders"]} == {"mini-pairs": 60, "mini-single": 60}
    assert about["examples"]
    assert set(about["examples"]) <= {scene.caption for scene in SCENES}
    assert "--encoder" in about["notes"][0], "a mini over a folder: somebody may have photographs in it"
    shown = client.get(about["pictures"][0]["picture"])
    assert shown.headers["content-type"] == "image/webp"


# --- bad requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "query"),
        ({"query": " \t\n\u3000"}, 400, "query"),
        ({"query": "!?"}, 422, "query"),
        ({"query": "\u200b", "reranker": "none"}, 422, "query"),
        ({"query": "x" * 2001}, 400, "query"),
        ({"query": "x" * 100_000}, 413, "32,000 bytes"),
        ({"query": ", ".join(["red circle"] * 25)}, 422, "more than 24"),
        ({"query": "red", "k": 51}, 400, "k"),
        ({"query": "red", "encoder": "nope"}, 404, "mini-pairs"),
        ({"query": "red", "secretly": 1}, 400, "secretly"),
        ({"query": "red", "push": {"source": "...", "target": "red", "strength": 1}}, 422, "source"),
        ({"query": "red", "push": {"source": "red", "target": "blue", "strength": 9}}, 400, "strength"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_is_refused_with_a_reason(client, body, status, reason):
    assert reason in problem(client.post("/api/search", json=body), status)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"red"', b'{"query": NaN}', b"\xff", b"[" * 20_000], ids=ascii
)
def test_what_is_no_json_is_refused(client, body):
    problem(client.post("/api/search", content=body, headers=JSON), 400)
    problem(
        client.post("/api/search", content=b'{"query": "red"}', headers={"content-type": "text/plain"}), 400
    )


@pytest.mark.parametrize("path", ["/nothing", "/page/..%2fapp.py", "/page/app.py", "/api/picture/x"])
def test_unknown_paths_are_refused_in_the_same_form(client, path):
    problem(client.get(path), 404)
    refused = client.get("/api/pictures")
    problem(refused, 405)
    assert refused.headers["allow"] == "DELETE, PUT"


# --- pictures -------------------------------------------------------------------------------------


def bomb(side):
    """The head of a PNG of side x side pixels, and next to nothing behind it."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100_000, 9)), (b"IEND", b"")]
    sealed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 415, "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "no picture"),
        (EPS, 415, "no picture"),
        (HEIC, 415, "save it as JPEG"),
        (PICTURE[: len(PICTURE) // 2], 422, "damaged or cut off"),
        (PICTURE[:200] + b"\0" * 50 + PICTURE[250:], 422, "damaged"),
        (bomb(7000), 413, "40,000,000"),
        (bomb(60_000), 413, "40,000,000"),
        (b"\0" * 300_001, 413, "300,000 bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_picture_is_refused_with_a_reason_and_leaves_nothing(
    client, collection, content, status, reason
):
    assert reason in problem(by_picture(client, content), status)
    assert reason in problem(keep(client, content, id="bad"), status)
    assert "bad" not in collection.written.stamps()
    problem(delete(client, "bad"), 404)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_taken_whatever_clients_call_its_kind(client, kind):
    assert by_picture(client, PICTURE, kind).status_code == 200
    assert "image/png" in problem(by_picture(client, PICTURE, f"text/{kind}"), 415)


@pytest.mark.parametrize("name", odd_pictures.good(), ids=ascii)
def test_whatever_can_be_read_from_a_folder_can_be_sent_in(client, name):
    assert by_picture(client, odd_pictures.good()[name]).status_code == 200


# --- writing --------------------------------------------------------------------------------------


def test_a_picture_is_kept_replaced_and_taken_out(client):
    red, blue = (encoded(Image.new("RGB", (64, 64), colour)) for colour in ("red", "blue"))

    def nearest(content):
        return by_picture(client, content, k=1).json()["results"][0]

    assert keep(client, red, id="my/own 1.png", caption="all red").status_code == 204
    old = nearest(red)
    assert (old["id"], old["caption"]) == ("my/own 1.png", "all red")
    assert client.get(old["picture"]).status_code == 200
    keep(client, blue, id="my/own 1.png")
    new = nearest(blue)
    assert (new["id"], new["caption"]) == ("my/own 1.png", "")
    problem(client.get(old["picture"]), 404)
    assert client.get(new["picture"]).status_code == 200
    assert delete(client, "my/own 1.png").status_code == 204
    assert nearest(blue)["id"] != "my/own 1.png"
    problem(client.get(new["picture"]), 404)
    problem(delete(client, "my/own 1.png"), 404)


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
    "~/x",
]


@pytest.mark.parametrize("name", [*TRICKS, "x" * 513, "ü" * 300], ids=lambda name: ascii(name[:20]))
def test_ids_with_tricks_are_refused_and_lead_nowhere(client, collection, name):
    before = collection.written.stamps(), sorted(collection.folder.parent.rglob("*"))
    answer = keep(client, PICTURE, id=name)
    assert "id" in problem(answer, 422 if "ü" in name else 400)
    assert delete(client, name).status_code in (400, 404, 422)
    assert "caption" in problem(keep(client, PICTURE, id="x", caption="x" * 1001), 400)
    assert (collection.written.stamps(), sorted(collection.folder.parent.rglob("*"))) == before


def test_many_writes_are_optimised_after_and_an_error_does_not_end_it(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "WRITES", 3)
    small, calls = drawn_collection(tmp_path, SCENES[:3]), []

    def optimise():
        calls.append(1)
        if len(calls) == 1:
            raise UnavailableError("no room")

    monkeypatch.setattr(small.pipelines["mini-pairs"], "optimise", optimise)
    with clients(small, writable=True) as client:
        for number in range(9):
            keep(client, PICTURE, id=f"n{number}")
            wait_for(lambda many=(number + 1) // 3: len(calls) == many)


# --- too much, too slow, gone ---------------------------------------------------------------------


@pytest.fixture
def held(collection, monkeypatch):
    """Searches wait until they are let go."""
    pipeline = collection.pipelines["mini-pairs"]
    search, go = pipeline.search, threading.Event()
    monkeypatch.setattr(pipeline, "search", lambda *a, **k: go.wait(30) and search(*a, **k))
    yield go
    go.set()


def accepted(client):
    [line] = [x for x in client.get("/metrics").text.splitlines() if x.startswith("geoclip_accepted ")]
    return float(line.split()[1])


def test_who_finds_workers_and_queue_full_is_sent_away_at_once(collection, held):
    with clients(collection, Limits(workers=2, waiting=3)) as client, ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(ask, client) for _ in range(5)]
        wait_for(lambda: accepted(client) == 5)
        refused = ask(client)
        assert "try again" in problem(refused, 429)
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        assert not any(future.done() for future in waiting)
        held.set()
        assert [future.result().status_code for future in waiting] == [200] * 5
        assert ask(client).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up_and_its_place_is_free_later(collection, held):
    with clients(collection, Limits(workers=1, waiting=0, seconds=1)) as client:
        problem(ask(client), 503)
        problem(ask(client), 429)
        assert accepted(client) == 1, "what has begun counts until it ends"
        held.set()
        wait_for(lambda: accepted(client) == 0)
        wait_for(lambda: ask(client).status_code == 200)


def test_bodies_together_have_a_limit(collection):
    with clients(collection, Limits(held_bytes=1000)) as client:
        assert "at once" in problem(by_picture(client, b"x" * 2000), 429)
        assert ask(client).status_code == 200, "what was refused is not held any more"


@pytest.mark.parametrize(
    "error", [UnavailableError("/secret"), LockedError("/secret"), OSError(28, "/secret")]
)
def test_a_store_that_is_gone_or_full_is_told_without_its_place(collection, monkeypatch, caplog, error):
    def gone(*_, **__):
        raise error

    with clients(collection, writable=True) as client, monkeypatch.context() as broken:
        for name in ("search", "count", "upsert"):
            broken.setattr(collection.pipelines["mini-pairs"].index, name, gone)
        for answer in (
            ask(client),
            keep(client, PICTURE, id="x"),
            client.get("/ready"),
            client.get("/api/about"),
        ):
            assert "secret" not in problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/health").status_code == 200
        assert any("secret" in str(getattr(record, "details", "")) for record in caplog.records)
        broken.undo()
        assert client.get("/ready").status_code == 200
        assert keep(client, PICTURE, id="x").status_code == delete(client, "x").status_code == 204


def test_what_nobody_expected_has_its_traceback_in_the_log_alone(collection, monkeypatch, caplog):
    with clients(collection) as client, monkeypatch.context() as broken:
        broken.setattr(collection.pipelines["mini-pairs"], "search", lambda *_, **__: 1 / 0)
        answer = ask(client)
        assert "division" not in problem(answer, 500)
        assert "content-security-policy" in answer.headers
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[0] is ZeroDivisionError
    assert json.loads(JsonLines().format(record))["request_id"] == answer.headers["x-request-id"]


# --- who asks, and what an operator sees ----------------------------------------------------------

OWN = ("127.0.0.1", "localhost", "::1", "photos.example")


def test_a_service_is_called_by_its_own_names_only(collection):
    with clients(collection, readers=OWN) as client:
        for name in ("127.0.0.1:8000", "LocalHost:80", "[::1]:8000", "[::1]", "Photos.Example"):
            assert client.get("/health", headers={"host": name}).status_code == 200
        for name in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[", ":80"):
            problem(client.get("/health", headers={"host": name}), 421)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "photos.example"}, True),
        (
            {"host": "LOCALHOST:8000", "origin": "http://localhost:8000", "sec-fetch-site": "same-origin"},
            True,
        ),
        ({"host": "192.0.2.7:8000", "origin": "http://192.0.2.7:8000"}, True),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({"host": "localhost", "origin": "http://evil.example"}, False),
        ({"host": "localhost", "origin": "http://localhost:81"}, False),
        ({"host": "localhost", "origin": "null"}, False),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, False),
        ({"host": "localhost", "sec-fetch-site": "same-site"}, False),
    ],
    ids=str,
)
def test_a_write_is_always_checked_whoever_may_read(collection, headers, allowed):
    with clients(collection, writable=True, writers=OWN) as client:
        assert client.get("/health", headers=headers).status_code == 200
        put = client.put("/api/pictures?id=x", content=PICTURE, headers=PNG | headers)
        gone = client.delete("/api/pictures?id=x", headers=headers)
        statuses = (put.status_code, gone.status_code)
        assert statuses == (204, 204) if allowed else set(statuses) <= {403, 421}
    with clients(collection, writers=OWN) as reading:
        put = reading.put("/api/pictures?id=x", content=PICTURE, headers=PNG | headers)
        assert "--writable" in problem(put, 403)


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/page/page.js", "/api/about", "/nothing"):
        headers = client.get(path, headers={"origin": "http://evil.example"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_every_request_is_a_line_of_json_and_a_count_and_no_word_of_a_client(client, caplog):
    caplog.set_level(logging.INFO, "geoclip_lite.service")
    ask(client, "red circle, unheard-of")
    problem(client.post("/api/search", json={"query": "red", "secretly": 1}), 400)
    client.get(f"/api/search-like?id={quote('private name')}")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.msg == "request"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/api/search", 200),
        ("/api/search", 400),
        ("/api/search-like", 404),
    ]
    assert all(line["ms"] > 0 and line["request_id"] for line in lines)
    assert not any(word in str(lines) for word in ("unheard", "secretly", "private"))
    figures = client.get("/metrics").text
    assert 'geoclip_request_seconds_count{route="/api/search",status="200"}' in figures
    assert 'geoclip_stage_seconds_count{stage="rerank"}' in figures
