"""Explorers: as many frames as positions, a still picture without script, small, and alive in a browser."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_book import PAGES, built_pages
from PIL import Image
from test_pages import AXE_RULES, WEIGHT, Visit

from geoclip_lite.explorers import Control, Curves, Drawing, Explorer, Strip, drawings
from geoclip_lite.explorers.panels import COLUMNS, SIDE
from geoclip_lite.scenes import Scene

PICTURES = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue", "white")]


def strip_explorer():
    """One slider, a strip and curves."""
    cells = [[(0, True, "a red one"), (i % 4, False, f"number {i}")] for i in range(5)]
    control = Control("strength", ["0", "0.1", "0.2", "0.3", "0.4"], start=1)
    panels = [Strip(PICTURES, cells), Curves([0, 1, 2, 3, 4], {"R@1": [0.9, 0.8, 0.5, 0.2, 0.1]}, "strength")]
    captions = [f"At {value} it is {i}." for i, value in enumerate(control.values)]
    return Explorer("Push it", [control], panels, captions, reveal="It falls from 0.2 on.")


def map_explorer():
    """Two sliders and a drawing to pick from."""
    controls = [Control("across", list("abcd")), Control("down", list("xyz"), start=2)]
    frames = [f'<circle cx="{30 + 60 * (i // 3)}" cy="{30 + 60 * (i % 3)}" r="9"/>' for i in range(12)]
    drawing = Drawing(frames, 240, 180, "a map of twelve places", picked=(0, 0, 240, 180))
    return Explorer("A map", controls, [drawing], [f"place {i}" for i in range(12)])


def choice_explorer():
    """A list to choose from; words that HTML could misread."""
    control = Control("query", ["plain", "</script><b>bold & 'quoted'"], choice=True)
    drawing = Drawing(["<text y='20'>one</text>", "<text y='20'>two</text>"], 90, 30, "a word")
    return Explorer("Choose", [control], [drawing], ["first", "second </section>"])


# --- what it is made of ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("panels", "captions", "message"),
    [
        ([Drawing(["<g/>"] * 3, 9, 9, "x")], ["a"] * 2, r"2 positions, got \[2, 3\] frames"),
        ([Drawing(["<g/>"] * 2, 9, 9, "x")], ["a"], r"2 positions, got \[1, 2\] frames"),
        ([Drawing(["<g/>" * 50_000] * 2, 9, 9, "x")], ["a"] * 2, r"bytes, more than 150,000: take fewer"),
    ],
)
def test_frames_must_fit_the_controls(panels, captions, message):
    with pytest.raises(ValueError, match=message):
        Explorer("x", [Control("c", ["1", "2"])], panels, captions)


def test_a_control_needs_a_choice():
    with pytest.raises(ValueError, match="'c' needs two positions or more"):
        Control("c", ["1"])
    with pytest.raises(ValueError, match="must start at one of them, got 2 and 2"):
        Control("c", ["1", "2"], start=2)


def test_a_strip_shows_equally_many_pictures():
    with pytest.raises(ValueError, match="equally many"):
        Strip(PICTURES, [[(0, True, "x")], []])


def test_two_strips_are_one_too_many():
    strip = Strip(PICTURES, [[(0, True, "x")]] * 2)
    with pytest.raises(ValueError, match="one strip"):
        Explorer("x", [Control("c", ["1", "2"])], [strip, strip], ["a", "b"])


def test_the_same_explorer_is_the_same_bytes():
    assert strip_explorer().html == strip_explorer().html
    assert len({each().html for each in (strip_explorer, map_explorer, choice_explorer)}) == 3


def test_the_curves_stand_where_their_numbers_are():
    curves = Curves([0, 5, 10], {"a": [0.0, 0.5, 1.0]}, "x")
    first, middle, last = curves.data()
    assert middle["x"] == pytest.approx((first["x"] + last["x"]) / 2)
    assert middle["dots"][0] == pytest.approx((first["dots"][0] + last["dots"][0]) / 2)
    assert first["dots"][0] > last["dots"][0], "up is a smaller y"


def test_drawings_have_a_frame_each_and_stand_in_their_box():
    ways = [[(0, 0), (1, 1)], [(0, 1), (1, 0)]]
    named = ["a <b>", "c"], ["d", "e"]
    each = {
        "matchings": drawings.matchings(*named, ways, [[0.1, 0.2], [0.3, 0.4]]),
        "plans": drawings.plans(*named, [[[0.5, 0], [0, 0.5]], [[0, 0.5], [0.5, 0]]]),
        "map": drawings.map_of_ranks([[1], [250]], "ranks"),
        "boxes": drawings.boxes_on(PICTURES[0], [(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)]),
        "bars": drawings.bars(["x", "y"], [[-1, 1], [0.5, -0.5]], "bars"),
    }
    for name, drawing in each.items():
        assert len(drawing.data()) == 2, name
        assert drawing.data()[0] != drawing.data()[1], name
        ends = [float(x) for x in re.findall(r' x="([-\d.]+)"', drawing.still + "".join(drawing.frames))]
        assert all(0 <= x <= drawing.width for x in ends), name
    assert "a &lt;b&gt;" in each["matchings"].still
    assert "0.300" in each["matchings"].data()[1]
    assert each["plans"].data()[0].count('fill-opacity="1.00"') == 2
    assert each["map"].picked == (0, 0, 68, 34)
    assert 'x="0"' in each["boxes"].data()[0]
    assert 'x="96"' in each["boxes"].data()[1]


def test_a_strip_of_scenes_holds_each_picture_once():
    scenes = [Scene(str(i), f"scene {i}", (), lambda size: PICTURES[0]) for i in range(9)]
    strip = Strip.of_scenes(scenes, [[7, 2], [2, 5]], right=[2, -1])
    assert len(strip.pictures) == 3
    assert strip.frames == [[(2, False, "scene 7"), (0, True, "scene 2")],
                            [(0, False, "scene 2"), (1, False, "scene 5")]]  # fmt: skip


def test_names_of_lines_do_not_cover_each_other():
    curves = Curves([0, 1], {"a": [0.0, 0.0], "b": [1.0, 0.0], "c": [0.5, 0.01]}, "x")
    heights = sorted(y for _, y in curves._labels())
    assert all(b - a >= 12.9 for a, b in pairwise(heights))
    assert heights[-1] <= curves.HEIGHT - curves.BOTTOM


def test_no_word_can_end_the_script():
    html = choice_explorer().html
    data = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(data)["captions"] == ["first", "second </section>"]
    assert html.count("<script") == html.count("</script>") == 2


def test_nothing_is_fetched():
    assert not re.search(r"https?://|@import|src=", strip_explorer().html)


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def page_with(browser, tmp_path):
    """Opens explorers in a page: width and whether scripts run can be chosen."""
    contexts = []

    def opened(*explorers, width=1000, scripts=True, scheme="light"):
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>t</title>'
        body = "".join(explorer.html for explorer in explorers)
        file = tmp_path / "page.html"
        file.write_text(f'<!doctype html><html lang="en">{head}<main><h1>Explorers</h1>{body}</main></html>')
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


def test_arrows_move_everything(page_with):
    page = page_with(strip_explorer())
    slider, caption = page.get_by_role("slider", name="strength"), page.locator(".gcl-caption")
    assert caption.inner_text() == "At 0.1 it is 1."
    cursor = page.locator(".cursor").get_attribute("x1")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert caption.inner_text() == "At 0.3 it is 3."
    assert slider.get_attribute("aria-valuetext") == "0.3"
    assert page.locator("output").inner_text() == "0.3"
    assert page.locator(".cursor").get_attribute("x1") != cursor
    second = page.get_by_role("listitem").nth(1)
    assert second.get_by_role("img").get_attribute("aria-label") == "number 3"
    where = second.get_by_role("img").evaluate("e => e.style.backgroundPosition")
    assert where == f"-{3 % COLUMNS * SIDE}px 0px"
    assert page.locator(".hit").count() == 1
    assert not page.complaints


def test_the_pointer_picks_from_a_drawing(page_with):
    page = page_with(map_explorer())
    drawing = page.get_by_role("img", name="a map of twelve places")
    assert page.locator(".gcl-caption").inner_text() == "place 2"
    drawing.hover(position={"x": 200, "y": 100})
    assert page.locator(".gcl-caption").inner_text() == "place 10"
    assert page.get_by_label("across").input_value() == "3"
    drawing.click(position={"x": 20, "y": 20})
    assert page.locator(".gcl-caption").inner_text() == "place 0"


def test_a_choice_is_made_by_keyboard(page_with):
    page = page_with(choice_explorer())
    page.get_by_label("query").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".gcl-caption").inner_text() == "second </section>"
    assert page.locator("svg text").inner_html() == "two"


def test_explorers_do_not_move_each_other(page_with):
    page = page_with(strip_explorer(), map_explorer())
    page.get_by_role("slider", name="strength").fill("4")
    captions = page.locator(".gcl-caption").all_inner_texts()
    assert captions == ["At 0.4 it is 4.", "place 2"]


def test_without_script_the_first_frame_stands(page_with):
    page = page_with(strip_explorer(), scripts=False)
    assert page.locator(".gcl-caption").inner_text() == "At 0.1 it is 1."
    assert page.get_by_role("listitem").count() == 2
    assert not page.locator("input").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_accessible_and_fits(page_with, width, scheme):
    page = page_with(strip_explorer(), map_explorer(), choice_explorer(), width=width, scheme=scheme)
    page.locator("summary").click()
    found = Axe().run(page, options=AXE_RULES).response["violations"]
    assert not [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- in the book ----------------------------------------------------------------------------------

MOST_BYTES_OF_A_PAGE = 1_200_000
WITH_EXPLORERS = [page for page in built_pages() if 'class="gcl"' in (PAGES / page).read_text()]


def test_these_chapters_have_an_explorer():
    numbers = {page.removeprefix("notebooks/")[:2] for page in WITH_EXPLORERS}
    assert numbers == {"01", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"}


@pytest.mark.parametrize("page", WITH_EXPLORERS or ["no book: run `make book` first"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_explorer_of_the_book_moves(browser, site, page, scheme, width):
    with Visit(browser, f"{site}/{page}", site, scheme, width) as visit:
        explorers = visit.page.locator(".gcl")
        for explorer in explorers.all():
            first = explorer.inner_text()
            control = explorer.locator("input, select").first
            control.focus()
            visit.page.keyboard.press("ArrowDown" if control.evaluate("c => c.type") != "range" else "End")
            by_keyboard = explorer.inner_text()
            assert by_keyboard != first, "the arrow keys change nothing"
            slider = explorer.locator("input[type=range]")
            if slider.count():
                box = slider.first.bounding_box()
                slider.first.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
                assert explorer.inner_text() not in (first, by_keyboard), "the mouse changes nothing"
        assert not visit.complaints
        assert visit.page.evaluate(WEIGHT) < MOST_BYTES_OF_A_PAGE
