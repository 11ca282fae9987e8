"""The search page in a real browser: scenes are found and explained; by keyboard, in the dark, on a phone."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import open_clip
import pytest
import torch
from PIL import Image
from service_gallery import SCENES, drawn_collection, encoded, served
from test_pages import Visit, complaints_about_access

from geoclip_lite.encoders.mini import MiniClip
from geoclip_lite.index import UnavailableError
from geoclip_lite.service.guard import Limits

SCENE = SCENES[7]
POOR_PICTURES = """() => [...document.querySelectorAll('#results img')]
    .filter(image => !image.naturalWidth || !image.alt.trim()).map(image => image.src)"""
FOCUS = "document.activeElement.id || document.activeElement.tagName"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return drawn_collection(tmp_path_factory.mktemp("page"), encoders=("mini-pairs", "mini-single"))


@pytest.fixture(scope="module")
def address(collection):
    with served(collection, Limits(waiting=64)) as place:
        yield place


class Search(Visit):
    """The page, once it knows what there is to search."""

    def __init__(self, browser, address, asked="", **options):
        super().__init__(browser, f"{address}/{asked}", address, **options)
        self.page.wait_for_selector("#about:not(:empty)")

    def ask(self, text):
        self.page.fill("#query", text)
        self.page.press("#query", "Enter")
        self.settled()

    def settled(self):
        self.page.wait_for_function("() => !document.body.classList.contains('busy')")
        self.page.wait_for_function("() => [...document.images].every(image => image.complete)")

    def await_best(self, caption):
        self.page.wait_for_function(f"() => document.querySelector('#picture').alt === {caption!r}")

    def said(self, name):
        return self.page.inner_text(f"#{name}")

    def send(self, name, content):
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


def test_a_scene_is_found_by_its_description_and_explained(browser, address):
    """As a person does it: opens the page, looks, types, presses Enter, reads."""
    with Search(browser, address) as visit:
        assert visit.page.evaluate(FOCUS) == "query"
        assert visit.page.locator("#sample img").count() > 10
        assert "--encoder" in visit.said("notes")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#status:not(:empty)")
        visit.page.keyboard.type(" and ".join(f"a {thing.phrase}" for thing in SCENE.objects))
        visit.page.keyboard.press("Enter")
        visit.await_best(SCENE.caption)
        assert visit.said("place") == "Why it came first"
        assert all(f"“{thing.phrase}”" in visit.said("why") for thing in SCENE.objects)
        visit.page.wait_for_selector("#answer svg g")
        assert visit.page.locator("#answer svg g").count() == len(SCENE.objects)
        assert visit.page.locator("#sum li").count() == len(SCENE.objects) + 1
        assert not visit.page.is_visible("#some")
        assert not visit.complaints


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_whatever_it_shows(browser, address, scheme, width):
    def fine():
        assert not complaints_about_access(visit.page)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width

    with Search(browser, address, scheme=scheme, width=width) as visit:
        visit.page.evaluate("document.querySelector('#options').open = true")
        fine()
        visit.ask(f"{SCENE.caption}, unheardofwordwithoutanyendunheardofwordwithoutanyend")
        assert "never saw" in visit.said("notes")
        assert not visit.page.evaluate(POOR_PICTURES)
        fine()
        visit.page.click("#enlarge")
        visit.page.wait_for_function("() => document.querySelector('#full-picture').naturalWidth")
        fine()
        visit.page.keyboard.press("Escape")
        assert not visit.complaints
        visit.ask(", ".join(["red circle"] * 30))
        assert "more than 24" in visit.said("problem")
        assert visit.page.locator("#results").is_hidden()
        fine()


def test_it_can_be_used_by_keyboard_alone(browser, address):
    with Search(browser, address) as visit:
        keys = visit.page.keyboard
        keys.type("red circle")
        keys.press("Enter")
        visit.settled()
        for key, place in (("ArrowRight", "2"), ("ArrowRight", "3"), ("End", "12"), ("Home", "first")):
            keys.press(key)
            assert place in visit.said("place")
            assert visit.page.evaluate("document.activeElement.hasAttribute('aria-current')")
        keys.press("/")
        assert visit.page.evaluate(FOCUS) == "query"
        keys.type("a/b")
        assert visit.page.input_value("#query") == "a/b", "a slash can be typed"
        visit.page.evaluate("document.activeElement.blur()")
        reached = []
        for _ in range(30):
            keys.press("Tab")
            reached.append(visit.page.evaluate(FOCUS))
        controls = {
            "query",
            "encoder",
            "reranker",
            "source",
            "target",
            "strength",
            "file",
            "enlarge",
            "like",
            "more",
        }
        assert controls <= set(reached)


def test_controls_change_what_is_asked_and_there_is_more(browser, address):
    with Search(browser, address) as visit:
        visit.ask("red circle")
        visit.page.click("#more")
        visit.page.wait_for_function("() => document.querySelectorAll('#list li').length === 24")
        visit.page.select_option("#encoder", "mini-single")
        visit.settled()
        assert "mini-single" in visit.said("status")
        visit.page.select_option("#reranker", "none")
        visit.settled()
        assert "as a whole" in visit.said("why")
        before = visit.said("why")
        visit.page.fill("#strength", "1.5")
        assert "two words" in visit.said("needs")
        visit.page.fill("#source", "red")
        visit.page.fill("#target", "blue")
        visit.page.wait_for_function(f"() => document.querySelector('#why').textContent !== {before!r}")
        assert "blue" in visit.page.get_attribute("#picture", "alt")
        assert (visit.said("needs"), visit.said("strength-value")) == ("", "1.50")


def test_a_search_has_an_address_and_can_be_gone_back_to(browser, address):
    with Search(browser, address) as visit:
        visit.ask(SCENES[3].caption)
        visit.ask(SCENE.caption)
        visit.page.click("#like")
        visit.page.wait_for_selector("#chosen:visible")
        visit.settled()
        like = visit.page.url
        visit.page.go_back()
        visit.await_best(SCENE.caption)
        visit.page.go_back()
        visit.await_best(SCENES[3].caption)
        assert visit.page.input_value("#query") == SCENES[3].caption
    with Search(browser, address, like.removeprefix(f"{address}/")) as visit:
        visit.settled()
        assert "07.png" in visit.said("by-what")
        assert SCENE.caption not in visit.page.get_attribute("#picture", "alt"), "itself is left out"


def test_it_searches_by_a_picture_without_steering_and_goes_back_to_words(browser, address):
    with Search(browser, address) as visit:
        for name, value in {"source": "red", "target": "blue", "strength": "2"}.items():
            visit.page.fill(f"#{name}", value)
        visit.ask("red circle")
        visit.send("own.png", encoded(SCENE.image(96)))
        visit.await_best(SCENE.caption)
        assert "not applied" in visit.said("needs")
        visit.page.click("#forget")
        visit.page.wait_for_function(
            "() => document.querySelector('#why').textContent.includes('red circle')"
        )
        visit.send("own.png", b"no picture")
        visit.page.wait_for_selector("#problem:not(:empty)")
        assert "no picture" in visit.said("problem")
        assert not [c for c in visit.complaints if "415" not in c]


def test_a_large_picture_is_shrunk_and_heic_explained(browser, address):
    noise = SCENE.image(96).resize((2500, 2500))
    noise.paste(Image.effect_noise((2500, 400), 90).convert("RGB"), (0, 2100))
    with Search(browser, address) as visit:
        content = encoded(noise, "BMP")
        assert len(content) > Limits().picture_bytes
        visit.send("large.bmp", content)
        visit.await_best(SCENE.caption)
        visit.send("IMG_1.HEIC", b"\0\0\0\x18ftypheic" + b"\0" * 64)
        visit.page.wait_for_selector("#problem:not(:empty)")
        assert "JPEG" in visit.said("problem")


@pytest.fixture
def without_windows(tmp_path):
    """A tower without a value path, under a name as long as that of a file can be."""
    vision = {"image_size": 64, "timm_model_name": "test_convnext", "timm_model_pretrained": False}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision | {"timm_pool": ""}, "text_cfg": text}
    (tmp_path / "page-convnext.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "page-convnext.json")
    weights = tmp_path / "weights-of-the-third-run-with-half-the-learning-rate.pt"
    torch.save(open_clip.create_model("page-convnext").state_dict(), weights)
    return f"page-convnext/{weights}"


@pytest.mark.parametrize("width", [1280, 390])
def test_an_encoder_without_windows_orders_by_the_whole_picture(browser, tmp_path, without_windows, width):
    collection = drawn_collection(tmp_path / "p", SCENES[:12], encoders=("mini-pairs", without_windows))
    with served(collection) as address, Search(browser, address, width=width) as visit:
        visit.page.evaluate("document.querySelector('#options').open = true")
        visit.page.select_option("#reranker", "max-sim")
        visit.ask(SCENE.caption)
        visit.page.wait_for_selector("#answer svg g")
        visit.page.select_option("#encoder", index=1)
        visit.page.wait_for_function(
            "() => document.querySelector('#why').textContent.includes('as a whole')"
        )
        visit.settled()
        assert "whole pictures" in visit.said("notes")
        assert not visit.page.locator("#results g").count(), "there are no frames"
        assert visit.page.input_value("#reranker") == "none"
        assert visit.page.locator("#reranker option:disabled").count() == 2
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert not complaints_about_access(visit.page)
        visit.page.select_option("#encoder", index=0)
        visit.page.wait_for_selector("#answer svg g")
        assert visit.page.input_value("#reranker") == "max-sim", "what was chosen for others comes back"
        assert not visit.complaints


@pytest.mark.parametrize("fit", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("shape", [(300, 100), (100, 300)], ids=["wide", "tall"])
def test_boxes_lie_where_the_windows_are_large_and_small(browser, tmp_path, monkeypatch, fit, shape):
    """On the screen, whatever of a picture the encoder looked at."""
    monkeypatch.setattr(MiniClip, "fit", fit, raising=False)
    picture = Image.new("RGB", shape, "white")
    picture.paste(SCENE.image(96), ((shape[0] - 96) // 2, (shape[1] - 96) // 2))
    collection = drawn_collection(tmp_path, SCENES[:1])
    collection.put("odd", "odd", encoded(picture))
    collection.delete("00.png")
    short, long = min(shape), max(shape)
    seen = {"shortest": (short, short), "squash": shape, "longest": (long, long)}[fit]
    with served(collection) as address, Search(browser, address) as visit:
        visit.ask(SCENE.objects[0].phrase)
        box = visit.page.evaluate(
            "async () => (await (await fetch('/api/search', {method: 'POST', headers:"
            " {'content-type': 'application/json'}, body: JSON.stringify({query:"
            f" {SCENE.objects[0].phrase!r}}})}})).json()).results[0].matches[0].box"
        )
        for place in ("#enlarge", "#list .frame"):
            visit.page.wait_for_selector(f"{place} .line", state="attached")
            frame, line = (
                visit.page.locator(f"{place}{part}").first.bounding_box() for part in (" img", " .line")
            )
            scale = min(frame["width"] / shape[0], frame["height"] / shape[1])
            for side, axis, (low, high) in (("width", "x", box[::2]), ("height", "y", box[1::2])):
                whole = shape[axis == "y"]
                ends = [
                    min(whole, max(0, (whole - seen[axis == "y"]) / 2 + v * seen[axis == "y"]))
                    for v in (low, high)
                ]
                start = frame[axis] + (frame[side] - whole * scale) / 2
                assert line[axis] == pytest.approx(start + ends[0] * scale, abs=2.5)
                assert line[side] == pytest.approx((ends[1] - ends[0]) * scale, abs=4)


@pytest.mark.parametrize("when", ["about", "search"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(browser, address, when, status):
    """A dozen pages opened at once are a class, and no dead service."""
    left = [2]

    def busy(route):
        left[0] -= 1
        if left[0] < 0:
            return route.continue_()
        problem = {"detail": "the service is busy: try again"}
        return route.fulfill(status=status, headers={"Retry-After": "0.1"}, json=problem)

    page = browser.new_page()
    try:
        page.route(f"**/api/{when}", busy)
        page.goto(f"{address}/?{urlencode({'q': SCENE.caption})}")
        page.wait_for_selector("#why:not(:empty)")
        assert page.get_attribute("#picture", "alt") == SCENE.caption
    finally:
        page.close()


def test_errors_are_shown_in_place_and_pass(browser, address, collection, monkeypatch):
    def gone(*_, **__):
        raise UnavailableError("away")

    with Search(browser, address) as visit:
        with monkeypatch.context() as broken:
            broken.setattr(collection.pipelines["mini-pairs"].index, "search", gone)
            visit.page.route(
                "**/api/search",
                lambda route: route.fulfill(
                    status=503,
                    headers={"Retry-After": "0.01"},
                    json={"detail": "the store cannot be used now"},
                ),
            )
            visit.ask("red circle")
            assert "store" in visit.said("problem")
            assert visit.page.get_attribute("#problem", "role") == "alert"
        visit.page.unroute("**/api/search")
        visit.ask("red circle")
        assert visit.said("problem") == ""
        assert visit.said("why")


def test_nothing_is_lost_if_the_service_is_gone_for_a_moment(browser, tmp_path):
    collection = drawn_collection(tmp_path, SCENES[:4])
    with served(collection) as place:
        visit = Search(browser, place)
        visit.settled()
    with visit:
        visit.ask("red circle")
        assert "does not answer" in visit.said("problem")
        assert visit.page.input_value("#query") == "red circle"


def test_captions_and_ids_are_shown_as_text_and_a_files_name_once(browser, tmp_path):
    evil = "<img src=x onerror=alert(1)> & <b>bold</b>"
    collection = drawn_collection(tmp_path, SCENES[:2])
    collection.left_out["<i>.jpg"] = "it is damaged"
    collection.put("evil", evil, encoded(SCENES[3].image(96).rotate(180)))
    collection.put("trip/red_circle-1.png", "red circle 1", encoded(SCENES[4].image(96)))
    with served(collection) as address, Search(browser, address) as visit:
        assert "<i>.jpg" in visit.said("left-out")
        visit.send("own.png", encoded(SCENES[3].image(96).rotate(180)))
        visit.page.wait_for_selector("#caption:not(:empty)")
        assert visit.said("caption") == f"{evil} · evil"
        visit.send("own.png", encoded(SCENES[4].image(96)))
        visit.await_best("red circle 1")
        assert visit.said("caption") == "trip/red_circle-1.png"
        assert visit.page.locator("#caption img, #caption b").count() == 0
        assert not visit.complaints
