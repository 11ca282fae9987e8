"""The search page in a real browser: scenes are found and explained; by keyboard, in the dark, on a phone."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import quote_plus, urlencode

import open_clip
import pytest
import torch
from PIL import Image
from service_gallery import SCENES, drawn_collection, encoded, served
from test_pages import Visit, complaints_about_access

from geoclip_lite.datasets.folder import LeftOut
from geoclip_lite.encoders.mini import MiniClip
from geoclip_lite.index import UnavailableError
from geoclip_lite.service.collection import Entry
from geoclip_lite.service.load import Call, Client

SCENE = SCENES[7]
POOR_PICTURES = """() => [...document.querySelectorAll('#results img')]
    .filter(image => !image.naturalWidth || !image.alt.trim()).map(image => image.src)"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return drawn_collection(tmp_path_factory.mktemp("page"), encoders=("mini-pairs", "mini-single"))


@pytest.fixture(scope="module")
def address(collection):
    with served(collection, writable=True) as place:
        yield place


class Search(Visit):
    """The page, once it knows what there is to search."""

    def __init__(self, browser, address, asked="", **options):
        super().__init__(browser, f"{address}/{asked}", address, **options)
        self.page.wait_for_function("() => document.querySelector('#about').textContent")

    def ask(self, text):
        self.page.fill("#query", text)
        self.page.press("#query", "Enter")
        self.settled()

    def settled(self):
        self.page.wait_for_function("() => !document.body.classList.contains('busy')")
        self.page.wait_for_function("() => [...document.images].every(image => image.complete)")

    def said(self, name):
        return self.page.inner_text(f"#{name}")


def test_a_scene_is_found_by_its_description_and_explained_within_ten_seconds(browser, address):
    """As a person does it: opens the page, types, presses Enter, reads."""
    began = time.perf_counter()
    with Search(browser, address) as visit:
        assert visit.page.evaluate("document.activeElement.id") == "query"
        visit.page.keyboard.type(" and ".join(f"a {thing.phrase}" for thing in SCENE.objects), delay=20)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#why:not(:empty)")
        assert time.perf_counter() - began < 10
        assert visit.page.get_attribute("#picture", "alt") == SCENE.caption
        assert visit.said("place") == "Why it came first"
        why = visit.said("why")
        assert all(f"“{thing.phrase}”" in why for thing in SCENE.objects)
        visit.page.wait_for_selector("#boxes g")
        assert visit.page.locator("#boxes g").count() == len(SCENE.objects)
        assert visit.page.locator("#sum li").count() == len(SCENE.objects) + 1
        assert not visit.complaints


def test_frames_lie_where_the_objects_are(browser, address):
    with Search(browser, address) as visit:
        visit.ask(SCENE.caption)
        visit.page.wait_for_selector("#boxes g")
        frame = visit.page.locator(".frame").first.bounding_box()
        boxes = [b.bounding_box() for b in visit.page.locator("#boxes .line").all()]
        for thing, box in zip(sorted(SCENE.objects, key=lambda o: o.phrase), boxes, strict=True):
            x, y = (
                frame["x"] + thing.position[0] * frame["width"],
                frame["y"] + thing.position[1] * frame["height"],
            )
            assert box["x"] <= x <= box["x"] + box["width"]
            assert box["y"] <= y <= box["y"] + box["height"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_before_and_after_a_search_and_with_an_error(
    browser, address, scheme, width
):
    with Search(browser, address, scheme=scheme, width=width) as visit:
        visit.page.evaluate("document.querySelector('#options').open = true")
        assert not complaints_about_access(visit.page)
        visit.ask(f"{SCENE.caption}, unheardofwordwithoutanyendunheardofwordwithoutanyend")
        assert "never saw" in visit.said("notes")
        assert not complaints_about_access(visit.page)
        assert not visit.page.evaluate(POOR_PICTURES)
        assert not visit.complaints
        visit.ask(", ".join(["red circle"] * 30))
        assert "more than 24" in visit.said("problem")
        assert visit.page.locator("#results").is_hidden()
        assert not complaints_about_access(visit.page)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_used_by_keyboard_alone(browser, address):
    with Search(browser, address) as visit:
        keys = visit.page.keyboard
        keys.type("red circle")
        keys.press("Enter")
        visit.settled()
        visit.page.focus("#list button")
        keys.press("ArrowRight")
        keys.press("ArrowRight")
        assert visit.said("place") == "Why it is number 3"
        assert visit.page.evaluate("document.activeElement.hasAttribute('aria-current')")
        keys.press("End")
        assert visit.said("place") == "Why it is number 12"
        keys.press("Home")
        assert visit.said("place") == "Why it came first"
        keys.press("/")
        assert visit.page.evaluate("document.activeElement.id") == "query"
        keys.type("a/b")
        assert visit.page.input_value("#query") == "a/b", "a slash can be typed"


def test_every_control_is_reached_by_tab_and_shows_it(browser, address):
    with Search(browser, address) as visit:
        visit.ask("red circle")
        visit.page.evaluate("document.activeElement.blur()")
        reached = []
        for _ in range(20):
            visit.page.keyboard.press("Tab")
            active = "document.activeElement.id || document.activeElement.tagName"
            reached.append(visit.page.evaluate(active))
        assert {"query", "encoder", "reranker", "source", "target", "strength", "file"} <= set(reached)
        assert reached.count("BUTTON") > 1


def test_controls_change_what_is_asked(browser, address):
    with Search(browser, address) as visit:
        visit.ask("red circle")
        assert "mini-pairs" in visit.said("status")
        visit.page.select_option("#encoder", "mini-single")
        visit.settled()
        assert "mini-single" in visit.said("status")
        visit.page.select_option("#reranker", "none")
        visit.settled()
        assert "as a whole" in visit.said("why")
        before = visit.said("why")
        visit.page.fill("#source", "red")
        visit.page.fill("#target", "blue")
        visit.page.fill("#strength", "1.5")
        visit.page.wait_for_function(f"() => document.querySelector('#why').textContent !== {before!r}")
        assert "blue" in visit.page.get_attribute("#picture", "alt")
        assert visit.said("by") == "1.50"


def test_a_search_has_an_address_and_can_be_gone_back_to(browser, address):
    with Search(browser, address) as visit:
        visit.ask(SCENES[3].caption)
        visit.ask(SCENE.caption)
        here = visit.page.url
        visit.page.go_back()
        visit.page.wait_for_function(
            f"() => document.querySelector('#picture').alt === {SCENES[3].caption!r}"
        )
        assert visit.page.input_value("#query") == SCENES[3].caption
    with Search(browser, address, here.removeprefix(f"{address}/")) as visit:
        visit.page.wait_for_function(f"() => document.querySelector('#picture').alt === {SCENE.caption!r}")
        assert quote_plus(SCENE.caption) in here


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
        visit.page.wait_for_selector("#boxes g")
        visit.page.select_option("#encoder", index=1)
        visit.page.wait_for_function("() => document.querySelector('#notes').textContent")
        visit.settled()
        assert "whole pictures" in visit.said("notes")
        assert not visit.page.locator("#results g").count(), "there are no frames"
        assert "as a whole" in visit.said("why")
        assert visit.page.input_value("#reranker") == "none"
        assert visit.page.locator("#reranker option:disabled").count() == 2
        assert not visit.page.locator("#each").is_visible()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert not complaints_about_access(visit.page)
        visit.page.select_option("#encoder", index=0)
        visit.page.wait_for_selector("#boxes g")
        assert visit.page.input_value("#reranker") == "max-sim", "what was chosen for others comes back"
        assert not visit.complaints


def test_frames_of_a_squeezed_picture_lie_over_all_of_it(browser, tmp_path, monkeypatch):
    """On the large picture in its own shape, on the small one as far as its middle square shows them."""
    monkeypatch.setattr(MiniClip, "fit", "squash", raising=False)
    collection = drawn_collection(tmp_path / "p", SCENES[:1])
    collection.add([Entry("wide", "wide", lambda: Image.new("RGB", (600, 200), "red"))])
    collection.delete([SCENES[0].image_id])
    with served(collection) as address, Search(browser, address) as visit:
        visit.ask("red circle")
        visit.page.wait_for_selector("#boxes .line")
        large, frame = (
            visit.page.locator(place).first.bounding_box() for place in ("#boxes .line", "#boxes")
        )
        assert large["width"] / frame["width"] == pytest.approx(large["height"] / frame["height"], abs=0.03)
        visit.page.wait_for_selector("#list .line", state="attached")
        small = visit.page.locator("#list svg").get_attribute("viewBox").split()
        assert small == ["200", "0", "200", "200"]


def test_it_searches_by_a_picture_and_goes_back_to_words(browser, address):
    with Search(browser, address) as visit:
        visit.ask("red circle")
        picture = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(SCENE.image(96))}
        visit.page.set_input_files("#file", picture)
        visit.page.wait_for_function(f"() => document.querySelector('#picture').alt === {SCENE.caption!r}")
        assert "nearest to what you asked for" in visit.said("why")
        visit.page.click("#forget")
        visit.page.wait_for_function(
            "() => document.querySelector('#why').textContent.includes('red circle')"
        )
        broken = {"name": "own.png", "mimeType": "image/png", "buffer": b"no picture"}
        visit.page.set_input_files("#file", broken)
        visit.page.wait_for_selector("#problem:not(:empty)")
        assert "no picture" in visit.said("problem")
        assert not [c for c in visit.complaints if "415" not in c]


def send(address, name, content, caption=""):
    """Keeps a picture, as any client may."""
    named = urlencode({"id": name, "caption": caption})
    call = Call("PUT", f"/api/pictures?{named}", content, "image/png")
    assert Client(address).ask(call).status == 200


def test_frames_of_a_wide_picture_lie_in_its_middle_square(browser, address, collection):
    """A scene with bands beside it: frames lie where they would without the bands."""
    wide = Image.new("RGB", (192, 96), "white")
    wide.paste(Image.new("RGB", (48, 96), "gray"), (0, 0))
    wide.paste(SCENE.image(96), (48, 0))
    send(address, "wide", encoded(wide), "wide")
    try:
        with Search(browser, address) as visit:
            visit.ask(SCENE.caption)
            visit.page.click("#list button:has(img[alt=wide])")
            visit.page.wait_for_function("() => document.querySelector('#picture').naturalWidth === 192")
            visit.page.wait_for_selector('#boxes[viewBox="0 0 192 96"] g')
            frame = visit.page.locator(".frame").first.bounding_box()
            boxes = [b.bounding_box() for b in visit.page.locator("#boxes .line").all()]
            for thing, box in zip(SCENE.objects, boxes, strict=True):
                x = frame["x"] + frame["width"] * (0.25 + thing.position[0] / 2)
                y = frame["y"] + frame["height"] * thing.position[1]
                assert box["x"] <= x <= box["x"] + box["width"]
                assert box["y"] <= y <= box["y"] + box["height"]
    finally:
        collection.delete(["wide"])


def test_errors_are_shown_in_place_and_pass(browser, address, collection, monkeypatch):
    def gone(*_, **__):
        raise UnavailableError("away")

    index = collection.pipelines["mini-pairs"].pictures
    with Search(browser, address) as visit:
        with monkeypatch.context() as broken:
            broken.setattr(index, "search", gone)
            visit.ask("red circle")
            assert "try again later" in visit.said("problem")
            assert visit.page.get_attribute("#problem", "role") == "alert"
        visit.ask("red circle")
        assert visit.said("problem") == ""
        assert visit.said("why")


def test_nothing_is_lost_if_the_service_is_gone_for_a_moment(browser, collection, tmp_path):
    with served(drawn_collection(tmp_path, SCENES[:4])) as place:
        visit = Search(browser, place)
    with visit:
        visit.ask("red circle")
        assert "does not answer" in visit.said("problem")
        assert visit.page.input_value("#query") == "red circle"


def test_what_is_left_out_of_a_folder_is_named(browser, address, tmp_path):
    with Search(browser, address) as visit:
        assert not visit.page.is_visible("#left-out")
    made = drawn_collection(tmp_path, SCENES[:4])
    with served(replace(made, left_out=(LeftOut("a.heic", ""), LeftOut("<b>.jpg", "")))) as place:
        visit = Search(browser, place)
    with visit:
        assert "a.heic, <b>.jpg" in visit.said("left-out")


def test_captions_and_ids_are_shown_as_text(browser, address, collection):
    evil = "<img src=x onerror=alert(1)> & <b>bold</b>"
    content = encoded(SCENES[3].image(96).rotate(180))
    send(address, "evil", content, evil)
    try:
        with Search(browser, address) as visit:
            visit.page.set_input_files(
                "#file", {"name": "own.png", "mimeType": "image/png", "buffer": content}
            )
            visit.page.wait_for_selector("#caption:not(:empty)")
            assert visit.said("caption") == f"{evil} · evil"
            assert visit.page.locator("#caption img, #caption b").count() == 0
            assert not visit.complaints
    finally:
        collection.delete(["evil"])
