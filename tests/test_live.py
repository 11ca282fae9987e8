"""The page "Try it live" against the package, in a real browser, and the files that it loads."""

from __future__ import annotations

import importlib.util
import io
import json
import random
import sys
from functools import cache, partial
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
import torch
from built_book import PAGES, ROOT
from PIL import Image
from test_pages import Visit, complaints_about_access

from geoclip_lite.composition import MERGES, merge
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.regions import Centring, listed_phrases, phrase_sets, rerank, value_regions
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.steering import concept_direction, steer
from geoclip_lite.transport import PointSets
from geoclip_lite.words import words_of

PAGE = "book/try_live.html"
TOLERANCE = 5e-4  # of scores, against the package in full precision
MOST_BYTES = 6_000_000
SMALLER = {"refine": 4, "window": 3}  # chapter 7's windows
DEFAULTS = {"diet": "mini-pairs", "how": "caption", "merge": "average", "strength": 0}
DEFAULTS |= {"from": "hexagon", "to": "pentagon", "query": "blue square, purple triangle, red hexagon"}
RANKED = """async states => Promise.all(states.map(async state => {
    const answers = await LIVE.rank(state);
    return [answers.map(a => a.item), answers.map(a => a.score)];
}))"""
REFUSED = """async texts => Promise.all(texts.map(async query => {
    const state = {query, how: 'bag', merge: 'average', diet: 'mini-pairs', strength: 0};
    try { await LIVE.rank(state); return false; } catch { return true; }
}))"""
SETTLED = """() => {
    const [said, error] = ["said", "error"].map(name => document.getElementById(`live-${name}`));
    return said.textContent || !error.hidden;
}"""


def load_script(name: str):
    """A script of the book's build, which is not part of an installed package."""
    spec = importlib.util.spec_from_file_location(f"book_{Path(name).name}", ROOT / "book" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


export = load_script("live/export")
each_diet = pytest.mark.parametrize("diet", export.DIETS)
each_way = pytest.mark.parametrize("how", ["caption", "bag", "match"])


# ---- the package's answers, in full precision --------------------------------------------------------


@cache
def scenes():
    return tuple(shapes.evaluation_scenes())


@cache
def pictures():
    return tuple(scene.image() for scene in scenes())


@cache
def gallery(diet: str) -> Gallery:
    return Gallery(encoder(diet).encode_images(pictures()), scenes())


@cache
def regions(diet: str):
    return export.windows(encoder(diet), pictures())


@cache
def encoder(diet: str):
    return load_encoder(diet, device="cpu")


def steered(vectors, state):
    encode = partial(encode_with_templates, encoder(state["diet"]))
    return steer(vectors, concept_direction(encode, [state["from"]], [state["to"]]), state["strength"])


def expected(state: dict) -> Ranking:
    """What the package makes of a state of the page's controls."""
    clip, items = encoder(state["diet"]), gallery(state["diet"])
    caption = steered(clip.encode_texts([state["query"]]), state)
    if state["how"] == "caption":
        return Ranking.of_scores(caption @ items.vectors.T)
    phrases = steered(encode_with_templates(clip, listed_phrases(state["query"])), state)
    if state["how"] == "bag":
        return Ranking.of_scores(merge(phrases @ items.vectors.T, state["merge"])[None])
    first = shortlist(caption, items, export.SHORTLIST)
    return rerank(first, PointSets.of([phrases]), regions(state["diet"]))


def random_query(rng: random.Random) -> str:
    """A list of one to six phrases, most of them of this world, as a reader may write it."""
    pool = [thing.phrase for thing in shapes.PRIMITIVES] + ["red", "star", "large metal cube", "pink circle"]
    phrases = [
        rng.choice(["", "", "a ", "the "]) + rng.choice(pool)
        for _ in range(rng.choice([1, 2, 3, 3, 3, 4, 6]))
    ]
    listed = ", ".join(phrases[:-1]) + rng.choice([", ", " and ", ", and "]) + phrases[-1]
    text = (listed if len(phrases) > 1 else phrases[0]).strip()
    return rng.choice(["{}", "{}", "{}.", "a photo of {}", "  {}", "“{}”!", "({},)", "{}\u200b…"]).format(
        rng.choice([text, text, text.upper()])
    )


def random_state(rng: random.Random, diet: str, how: str) -> dict:
    start, end = rng.sample([*shapes.COLOURS, *shapes.SHAPES], 2)
    choice = {
        "merge": rng.choice(MERGES),
        "strength": rng.choice([0, 0, -1, 0.5, 1.5]),
        "from": start,
        "to": end,
    }
    return {**choice, "diet": diet, "how": how, "query": random_query(rng)}


def complaints_about_ranking(
    items: list[int], scores: list[float], right: Ranking, near_cut: set[int]
) -> list[str]:
    """How a ranking of the page differs from the package's, both cut after the same number of pictures.

    Every score must agree within the tolerance. Rounding may swap near ties: along the page's order the
    package's scores may rise, but by less than the tolerance.

    Args:
        near_cut: pictures that may stand on either side of a shortlist's end, see `near_the_cut`.
    """
    known = dict(zip(right.indices[0].tolist(), right.scores[0].tolist(), strict=True))
    shared = [(known[item], score) for item, score in zip(items, scores, strict=True) if item in known]
    theirs, ours = np.array(shared).T
    found = []
    if len(items) != right.k or len(set(items)) != right.k:
        found.append(f"{len(set(items))} pictures instead of {right.k}")
    if strangers := (set(items) ^ set(known)) - near_cut:
        found.append(f"only one of the two ranks {sorted(strangers)}")
    if (error := abs(theirs - ours).max()) > TOLERANCE:
        found.append(f"scores differ by {error:.5f}")
    if (rise := (theirs - np.minimum.accumulate(theirs)).max()) > TOLERANCE:
        found.append(f"pictures {rise:.5f} apart changed places")
    return found


def near_the_cut(state: dict) -> set[int]:
    """Pictures whose cosine with the caption is, within the tolerance, that of the shortlist's last one."""
    if state["how"] != "match":
        return set()
    first = expected({**state, "how": "caption"})
    near = abs(first.scores[0] - first.scores[0, export.SHORTLIST - 1]) < TOLERANCE
    return set(first.indices[0, near].tolist())


# ---- the page ----------------------------------------------------------------------------------------


def open_page(browser, home: str, scheme: str = "light", width: int = 1280, **state) -> Visit:
    """The page in a state named by its address, once it has answered and settled.

    It settles a while after its answer; what is typed in between would be taken for its first state.
    """
    visit = Visit(browser, f"{home}/{PAGE}#{urlencode(state)}", home, scheme, width)
    visit.page.wait_for_function(SETTLED)
    return visit


def first_pictures(visit: Visit) -> list[str]:
    """The alternative texts of the pictures, best first."""
    return visit.page.locator("#live-results svg").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )


def shows(visit: Visit, state: dict) -> bool:
    """Whether the pictures on the page are the package's first ones, up to swaps of near ties."""
    number_of = {scene.caption: item for item, scene in enumerate(scenes())}
    shown = [number_of[caption] for caption in first_pictures(visit)]
    right = expected(state)
    known = dict(zip(right.indices[0].tolist(), right.scores[0].tolist(), strict=True))
    due = right.scores[0, : len(shown)].tolist()
    return len(shown) == 12 and all(
        abs(known[i] - score) < TOLERANCE for i, score in zip(shown, due, strict=True)
    )


def wait_for_answer(visit: Visit, change) -> None:
    """Do something and wait until the page has settled: its address names the new state."""
    before = visit.page.url
    change()
    visit.page.wait_for_function("before => location.href !== before", arg=before)


@pytest.fixture(scope="module")
def asked(browser, site):
    """One open page that is asked for whole rankings."""
    with open_page(browser, site) as visit:
        yield visit.page


@pytest.mark.filterwarnings("ignore:words this encoder never saw")
@each_way
@each_diet
def test_ranks_as_the_package_does(asked, diet, how):
    rng = random.Random(f"{diet} {how}")
    states = [random_state(rng, diet, how) for _ in range(200)]
    answers = zip(states, asked.evaluate(RANKED, states), strict=True)
    assert not [
        (state, complaints)
        for state, (items, scores) in answers
        if (complaints := complaints_about_ranking(items, scores, expected(state), near_the_cut(state)))
    ]


def test_a_wrong_ranking_is_noticed():
    right = expected(DEFAULTS)
    items, scores = right.indices[0].tolist(), right.scores[0].tolist()
    assert not complaints_about_ranking(items, scores, right, near_cut=set())
    assert complaints_about_ranking([items[-1], *items[1:-1], items[0]], scores, right, near_cut=set())
    assert complaints_about_ranking(items, [score + 0.002 for score in scores], right, near_cut=set())
    assert complaints_about_ranking(items[:-1], scores[:-1], right, near_cut=set())


def test_more_phrases_than_windows_leave_some_alone(asked):
    phrases = [thing.phrase for thing in shapes.PRIMITIVES[:11]]
    state = {**DEFAULTS, "how": "match", "query": ", ".join(phrases)}
    [(items, scores)] = asked.evaluate(RANKED, [state])
    assert not complaints_about_ranking(items, scores, expected(state), near_the_cut(state))


def test_refuses_what_the_package_refuses(asked):
    texts = [
        "red circle on blue star",
        "red circle,",
        "red circle and",
        ", star",
        "a",
        "a photo of a",
        "red star.",
        "“red circle”, (blue star);",
        ", ,",
        "red circle、",
        "...",
    ]
    texts += ["red circle with stars", "Photo of a red star", "the star and the circle", "candy", "an and"]

    def refuses(text):
        try:
            return not listed_phrases(text)
        except ValueError:
            return True

    assert asked.evaluate(REFUSED, texts) == [refuses(text) for text in texts]


def test_reads_the_words_that_the_package_reads(asked):
    rng = random.Random(0)
    pieces = [
        "red",
        "CUBE",
        "é",
        "e\u0301",
        "ß",
        "ｒ",
        "赤い",
        "हिन्दी",
        "2",
        "½",
        "🟥",
        "❤\ufe0f",
        "’s",
        "'s",
        *"™®©¦℠",
        "_",
    ]
    pieces += [
        *" ,.!?:;'\"()-/+|",
        "…",
        "—",
        "“",
        "、",
        "，",
        "。",
        "\n",
        *"\u00a0\u200b\u200d\u00ad\ufeff\x00",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randint(1, 12))) for _ in range(2000)]
    assert asked.evaluate("texts => texts.map(text => LIVE.wordsOf(text))", texts) == [*map(words_of, texts)]


def test_pictures_are_those_that_the_encoder_saw(asked):
    numbers = {scene.caption: scene for scene in scenes()}
    for number in range(3):
        canvas = asked.locator("#live-results svg").nth(number)
        canvas.evaluate("e => { e.style.width = '128px'; e.style.border = '0'; e.style.borderRadius = '0'; }")
        seen = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB").resize((128, 128))
        drawn = numbers[canvas.get_attribute("aria-label")].image(128)
        assert np.abs(np.asarray(seen, float) - np.asarray(drawn, float)).mean() < 3


# ---- by hand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["server", "disk"])
def test_typing_ranks_anew(browser, site, book, source):
    home = site if source == "server" else book.as_uri()
    with open_page(browser, home) as visit:
        assert shows(visit, DEFAULTS)
        visit.page.focus("#live-query")
        visit.page.keyboard.press("Control+A")
        wait_for_answer(visit, lambda: visit.page.keyboard.type("green star, black circle"))
        assert shows(visit, {**DEFAULTS, "query": "green star, black circle"})
        assert first_pictures(visit)[0] in visit.page.inner_text("#live-said")
        assert not visit.complaints


@pytest.mark.parametrize("source", ["server", "disk"])
def test_keyboard_reaches_every_control(browser, site, book, source):
    """From the query on: the way, the diet, the words of the direction and its strength, the link."""
    home = site if source == "server" else book.as_uri()
    with open_page(browser, home) as visit:
        press = visit.page.keyboard.press
        visit.page.focus("#live-query")
        press("Tab")
        wait_for_answer(visit, lambda: (press("ArrowRight"), press("ArrowRight")))  # one-to-one
        press("Tab")
        wait_for_answer(visit, lambda: press("ArrowLeft"))  # mini-single
        visit.page.wait_for_function("() => document.activeElement.value === 'mini-single'")
        press("Tab")
        press("Tab")
        press("Tab")
        wait_for_answer(visit, lambda: [press("ArrowRight") for _ in range(5)])
        state = {**DEFAULTS, "how": "match", "diet": "mini-single", "strength": 0.5}
        assert visit.page.inner_text("#live-strength-value") == "0.5"
        assert shows(visit, state)
        press("Tab")
        assert visit.page.evaluate("document.activeElement.id") == "live-share"
        assert not visit.complaints


def test_every_control_has_a_name(browser, site):
    with open_page(browser, site) as visit:
        names = visit.page.locator("#live-app :is(input, select)").evaluate_all(
            "all => all.map(e => e.labels[0]?.innerText)"
        )
        assert len(names) == 10
        assert all(names)


def test_unknown_words_are_marked_and_alike(browser, site):
    with open_page(browser, site, query="a red dodecahedron") as visit:
        assert visit.page.locator("#live-reading mark").all_inner_texts() == ["dodecahedron"]
        assert "never saw: dodecahedron" in visit.page.inner_text("#live-reading")
        assert "never saw: dodecahedron" in visit.page.inner_text("#live-said")
        before = first_pictures(visit)
        wait_for_answer(visit, lambda: visit.page.fill("#live-query", "“a red” spoon."))
        assert first_pictures(visit) == before
        assert visit.page.locator("#live-reading mark").all_inner_texts() == ["spoon."]


def test_a_text_that_is_cut_is_reported(browser, site):
    state = {**DEFAULTS, "query": "red circle " * 40}
    with open_page(browser, site, query=state["query"]) as visit:
        assert "Only the first 62 words are read" in visit.page.inner_text("#live-reading")
        with pytest.warns(UserWarning, match="1 of 1 texts cut to 62 words"):
            assert shows(visit, state)


def test_frames_show_the_matches(browser, site):
    with open_page(browser, site, how="match") as visit:
        first = visit.page.locator("#live-results > li").first
        assert first.locator("svg text").all_text_contents() == ["1", "2", "3"]
        assert first.locator(".live-window").count() == 3
        assert first.locator(".live-pairs li").count() == 3
        assert "as asked" in first.inner_text()  # chapter 7's lesson, for this query


def test_only_one_to_one_draws_frames_and_only_the_bag_merges(browser, site):
    with open_page(browser, site, how="bag", merge="min") as visit:
        assert visit.page.locator(".live-window").count() == 0
        assert visit.page.locator("#live-merge").is_visible()
        assert shows(visit, {**DEFAULTS, "how": "bag", "merge": "min"})
        wait_for_answer(visit, lambda: visit.page.check("input[value=caption]"))
        assert not visit.page.locator("#live-merge").is_visible()


def test_an_error_is_shown_in_place_and_goes_away(browser, site):
    with open_page(browser, site, how="bag", query="red circle on blue star") as visit:
        assert "no list of objects" in visit.page.inner_text("#live-error")
        assert visit.page.get_attribute("#live-query", "aria-invalid") == "true"
        assert not complaints_about_access(visit.page)
        wait_for_answer(visit, lambda: visit.page.fill("#live-query", "red circle, blue star"))
        assert visit.page.locator("#live-error").is_hidden()
        wait_for_answer(visit, lambda: visit.page.fill("#live-query", "  "))
        assert "Type what" in visit.page.inner_text("#live-error")
        assert not visit.complaints


def test_a_missing_file_is_reported_in_place(browser, site):
    with open_page(browser, site) as visit:
        visit.page.route("**/mini-single.js", lambda route: route.abort())
        visit.page.check("input[value=mini-single]")
        visit.page.wait_for_selector("#live-error:not([hidden])")
        assert "mini-single.js could not be loaded" in visit.page.inner_text("#live-error")


@pytest.mark.parametrize("source", ["server", "disk"])
def test_an_address_restores_a_state(browser, site, book, source):
    home = site if source == "server" else book.as_uri()
    state = {"query": "red star & cube, blue circle", "how": "bag", "merge": "max", "diet": "mini-single"}
    state |= {"from": "red", "to": "green", "strength": "-1.5"}
    with open_page(browser, home, **state) as visit:
        visit.page.wait_for_timeout(1000)  # until the page has written its own address
        shared = visit.page.evaluate("document.getElementById('live-share').href")
        assert shared == visit.page.url
        assert {k: v for k, [v] in parse_qs(urlsplit(shared).fragment).items()} == state
        assert visit.page.input_value("#live-query") == state["query"]
        wait_for_answer(
            visit, lambda: visit.page.evaluate("location.hash = 'query=red+star&how=nonsense&strength=x'")
        )
        assert visit.page.input_value("#live-query") == "red star"
        assert visit.page.input_value("#live-strength") == "-1.5"
        assert visit.page.is_checked("input[value=bag]")
        assert not visit.complaints


def test_says_what_would_be_here_without_script(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/{PAGE}")
    assert "They need JavaScript" in page.inner_text("noscript")
    assert page.locator("#live-app").is_hidden()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@each_way
def test_accessible_and_within_the_window(browser, site, scheme, width, how):
    query = "red circle, blue stair, green hexagon"
    with open_page(browser, site, scheme, width, how=how, query=query, strength=1) as visit:
        assert not visit.complaints + complaints_about_access(visit.page)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate("document.body.scrollWidth") <= width


# ---- what is loaded ----------------------------------------------------------------------------------


def test_everything_together_is_small(browser, site):
    """On the disk, and over a connection: the page with the theme's files and both diets."""
    assert sum(path.stat().st_size for path in (PAGES / "_static" / "live").iterdir()) < MOST_BYTES
    with open_page(browser, site) as visit:
        wait_for_answer(visit, lambda: visit.page.check("input[value=mini-single]"))
        sizes = "performance.getEntries().map(entry => entry.decodedBodySize ?? 0)"
        assert sum(visit.page.evaluate(sizes)) < MOST_BYTES
        assert not visit.complaints


def test_no_other_page_loads_it(book):
    loading = [path.relative_to(book) for path in book.rglob("*.html") if "_static/live/" in path.read_text()]
    assert list(map(str, loading)) == [PAGE]


# ---- export.py ---------------------------------------------------------------------------------------


@pytest.fixture
def compact():
    generator = torch.Generator().manual_seed(0)
    scale = 0.6 ** torch.arange(16.0)
    items, texts = (torch.randn(n, 16, generator=generator) * scale for n in (300, 200))
    return export.Compact.of(items, texts, step=1e-3), items, texts


def test_compact_vectors_answer_dot_products(compact):
    small, items, texts = compact
    assert np.abs(small.scores(texts) - (texts @ items.T).numpy()).max() < 0.02
    assert 0 < small.wide < small.codes.shape[1] < 16  # two bytes, one byte, left out


def test_a_step_that_is_too_fine_is_refused(compact):
    _, items, texts = compact
    with pytest.raises(ValueError, match="too fine"):
        export.Compact.of(items, texts, step=1e-6)


def test_compact_vectors_come_back_as_they_were(compact):
    small, *_ = compact
    again = export.Compact.unpacked(json.loads(json.dumps(small.packed())))
    for name in ("basis", "middle", "codes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(small, name))
    assert (again.step, again.wide) == (small.step, small.wide)


def test_bases_keep_dot_products():
    items, texts = (torch.randn(50, 8, dtype=torch.float64, generator=torch.manual_seed(n)) for n in (1, 2))
    to_text, to_item = export.balanced_bases(items, texts)
    torch.testing.assert_close((texts @ to_text) @ (items @ to_item).T, texts @ items.T)
    torch.testing.assert_close((texts @ to_text).square().mean(0), torch.ones(8, dtype=torch.float64))


def test_the_tower_is_not_rounded():
    """The package ships half precision, and half precision is what the page gets."""
    clip = encoder("mini-pairs")
    for name, packed in export.text_tower(clip).items():
        tensor = clip.model.state_dict()[name]
        np.testing.assert_array_equal(export.decoded(packed, "<f2"), tensor.numpy().ravel())


@each_diet
def test_windows_are_no_worse_than_smaller_ones_or_centred_ones(diet):
    """What export.py says of its windows, on held-out scenes: R@1 of their captions."""
    held_out, clip = shapes.validation_scenes(), encoder(diet)
    views = [scene.image() for scene in held_out]
    captions = [scene.caption for scene in held_out]
    first = shortlist(clip.encode_texts(captions), clip.encode_images(views), export.SHORTLIST)
    phrases = phrase_sets(captions, partial(encode_with_templates, clip))
    large, small = (value_regions(clip, views, **s, progress=False) for s in (export.WINDOWS, SMALLER))
    centring = Centring.fit(phrases.vectors, large)
    right = torch.arange(len(held_out))
    ours, smaller, centred = (
        float((rerank(first, *pair).indices[:, 0] == right).double().mean())
        for pair in [
            (phrases, large),
            (phrases, small),
            (centring.phrase_sets(phrases), centring.regions(large)),
        ]
    )
    assert ours >= max(smaller, centred)


@each_diet
def test_same_data_each_time(diet):
    once, again = (json.dumps(export.diet(diet, pictures()[:40])) for _ in range(2))
    assert once == again


def test_built_files_are_those_of_the_package():
    """What lies in the book was made from these scenes and these weights."""
    text = (PAGES / "_static" / "live" / "mini-single.js").read_text()
    built = json.loads(text.split("=", 1)[1].rstrip(";\n"))
    assert built["text"] == export.text_tower(encoder("mini-single"))
    assert built["words"] == list(encoder("mini-single").tokenizer.words)


def test_changed_weights_rebuild_the_page(monkeypatch):
    build = load_script("build")
    read = []
    monkeypatch.setattr(build, "digest", lambda *parts: read.extend(parts))
    build.digest_of_pages([])
    weights = {
        ROOT / "geoclip_lite" / "encoders" / "weights" / f"{diet}.safetensors" for diet in export.DIETS
    }
    assert weights | {ROOT / "book" / "live" / "export.py", ROOT / "book" / "live" / "live.js"} <= set(read)
