"""The world of products: what can be seen, what sellers write, what shoppers ask for, what the web says."""

import warnings
from collections import defaultdict
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from geoclip_lite.datasets import products
from geoclip_lite.datasets.products import CATEGORIES, SLOTS, VALUES, Look, Product, shop, web
from geoclip_lite.datasets.products.pictures import DRAW
from geoclip_lite.datasets.products.surfaces import MATERIALS, PATTERNS
from geoclip_lite.encoders.tokenizer import WordTokenizer

NAMES = {name: category for category, names in shop.SYNONYMS.items() for name in names}
SAID_BY = {value: (slot, value) for slot in SLOTS[:-1] for value in VALUES[slot]}
SAID_BY |= {name: ("category", category) for name, category in NAMES.items()}  # word -> what it says
FILLERS = {"something", "and", *" ".join(shop.USES).split()}


@pytest.fixture(scope="module")
def listings():
    return shop.catalogue(3000, seed=1)


@pytest.fixture(scope="module")
def asked(listings):
    return shop.queries(listings, 150, seed=2)


def said(text):
    """What the words of a text say, read word by word."""
    assert {*text.split()} <= SAID_BY.keys() | FILLERS
    return {SAID_BY[word] for word in text.split() if word in SAID_BY}


def use_in(text):
    """What a text says that the product is for."""
    found = [use for use in shop.USES if text.endswith(use)]
    assert len(found) <= 1
    return found[0] if found else None


def pixels(product, size=64, **look):
    """The product in the middle of an even picture, as large as its size is on average."""
    step = float(np.mean(products.SIZES[product.size]))
    look = replace(Look(0, step, 0.5, 0.88, 1.0, False), **look)
    return np.asarray(products.draw(product, look, size)).astype(int)


# --- what can be seen -----------------------------------------------------------------------------


def test_it_is_as_large_as_it_says():
    assert set(DRAW) == set(CATEGORIES) == set(shop.SYNONYMS)
    assert set(MATERIALS) == set(VALUES["material"])
    assert set(PATTERNS) == set(VALUES["pattern"])
    assert tuple(VALUES) == SLOTS
    assert {category for served in shop.USES.values() for category in served} == set(CATEGORIES)
    assert {slot: len(values) for slot, values in VALUES.items()} == {
        "size": 2,
        "colour": 10,
        "pattern": 5,
        "material": 6,
        "category": 12,
    }


def test_no_word_says_two_things():
    values = [value for slot in SLOTS[:-1] for value in VALUES[slot]]
    names = [name for names in shop.SYNONYMS.values() for name in names]
    words = values + names
    assert len(words) == len(set(words))
    assert not FILLERS & set(words)
    assert all(category in names for category, names in shop.SYNONYMS.items())


def one_slot_apart(products):
    """Every two that differ in one slot alone, by that slot."""
    pairs = defaultdict(list)
    for a, b in combinations(products, 2):
        apart = [slot for slot in SLOTS if getattr(a, slot) != getattr(b, slot)]
        if len(apart) == 1:
            pairs[apart[0]].append((a, b))
    return pairs


@pytest.mark.parametrize("slot", SLOTS)
def test_every_value_is_seen_at_64_pixels(slot):
    rng = np.random.default_rng(SLOTS.index(slot))
    bases = [products.random_product(rng) for _ in range(12)]
    changed = {replace(base, **{slot: value}) for base in bases for value in VALUES[slot]}
    drawn = {p: pixels(p) for p in changed if p.material in CATEGORIES[p.category]}
    pairs = one_slot_apart(drawn)[slot]
    assert {getattr(p, slot) for pair in pairs for p in pair} == set(VALUES[slot])
    for a, b in pairs:
        seen = (np.abs(drawn[a] - drawn[b]).sum(2) > 30).mean()
        assert seen > 0.015, f"{a} looks like {b}"


@pytest.mark.parametrize("background", range(len(products.BACKGROUNDS)))
def test_a_product_stands_out_from_every_background(background):
    rng = np.random.default_rng(background)
    wall, floor = products.BACKGROUNDS[background]
    empty = np.where((np.arange(64) < (0.88 - 0.1) * 64)[:, None, None], wall, floor)
    for category, materials in CATEGORIES.items():
        product = replace(products.random_product(rng), category=category, material=materials[0])
        seen = np.abs(pixels(product, background=background) - empty).sum(2) > 30
        assert 0.03 < seen.mean() < 0.8, product


class Ruler:
    """A brush that draws nothing and remembers how high it was led."""

    def __init__(self):
        self.top = 0.0

    def dress(self, *outlines):
        self.top = max(self.top, *(np.max(np.asarray(outline)[:, 1]) for outline in outlines))

    def fill(self, outline, *_, **__):
        self.dress(outline)

    def line(self, points, colour, width):
        self.dress(np.asarray(points) + width / 2)

    def glow(self, *_):
        pass

    def shaded(self, light):
        pass


@pytest.mark.parametrize("category", CATEGORIES)
def test_no_product_is_cut_at_the_top(category):
    ruler, rng = Ruler(), np.random.default_rng(0)
    DRAW[category](ruler)
    product = Product(category, CATEGORIES[category][0], "red", "plain", "large")
    looks = [products.random_look(product, rng) for _ in range(500)]
    assert 0 < min(look.ground - ruler.top * look.step for look in looks) < 0.5


def test_large_ones_are_larger_than_small_ones_in_every_photograph():
    rng = np.random.default_rng(0)
    steps = {size: [] for size in products.SIZES}
    for _ in range(300):
        product = products.random_product(rng)
        look = products.random_look(product, rng)
        steps[product.size].append(look.step)
        assert 0 <= look.background < len(products.BACKGROUNDS)
    assert max(steps["small"]) < 0.75 * min(steps["large"])


def test_prints_stand_out_from_their_ground():
    for colour, rgb in products.COLOURS.items():
        assert np.abs(np.subtract(rgb, products.second_colour(colour))).max() > 40


def test_a_mirrored_photograph_is_the_mirror_image():
    shoe = Product("shoe", "leather", "blue", "plain", "large")
    picture, mirrored = pixels(shoe, 128), pixels(shoe, 128, mirrored=True)
    assert (np.abs(picture[:, ::-1] - mirrored).sum(2) > 60).mean() < 0.1
    assert (np.abs(picture - mirrored).sum(2) > 60).mean() > 0.1


def test_random_products_are_made_of_what_such_things_are_made_of():
    rng = np.random.default_rng(0)
    drawn = [products.random_product(rng) for _ in range(3000)]
    made = {(p.category, p.material) for p in drawn}
    assert made == {(category, m) for category, materials in CATEGORIES.items() for m in materials}
    for slot in ("category", "colour", "pattern", "size"):
        counts = np.array([sum(getattr(p, slot) == value for p in drawn) for value in VALUES[slot]])
        assert np.abs(counts / 3000 * len(counts) - 1).max() < 0.3


def test_a_product_is_said_with_its_noun_last():
    product = Product("mug", "metal", "red", "dotted", "small")
    assert product.thing().phrase == "small red dotted metal mug"
    assert product.slots() == {
        "size": "small",
        "colour": "red",
        "pattern": "dotted",
        "material": "metal",
        "category": "mug",
    }


# --- sellers --------------------------------------------------------------------------------------


def test_listings_are_a_function_of_the_seed():
    first, again, other = (shop.catalogue(40, seed) for seed in (3, 3, 4))
    assert first == again
    assert first[:20] == shop.catalogue(20, seed=3)
    assert [x.title for x in first] != [x.title for x in other]
    a, b = (np.asarray(x[5].scene().image(64)) for x in (first, again))
    assert (a == b).all()


def test_two_seeds_share_no_picture(listings):
    parts = [listings, shop.catalogue(3000, seed=5), shop.catalogue(3000, seed=6)]
    for a, b in combinations(parts, 2):
        assert not {x.number for x in a} & {x.number for x in b}
        assert not {(x.product, x.look) for x in a} & {(x.product, x.look) for x in b}
    diet = {s.image_id for s in (*web.evaluation_scenes(), *web.validation_scenes(), *web.references())}
    assert not diet & {x.number for seed in (4004, 5005) for x in shop.catalogue(1000, seed)}


def test_a_title_says_what_it_is_on_record_to_say(listings):
    for listing in listings:
        assert said(listing.title) == set(listing.said), listing
        assert "category" in dict(listing.said)


def test_titles_leave_out_as_often_as_they_say(listings):
    for slot, rate in shop.OMITS.items():
        left_out = np.mean([slot not in dict(x.said) for x in listings])
        assert abs(left_out - rate) < 3.5 * np.sqrt(rate * (1 - rate) / len(listings)) + 1e-9, slot


def test_titles_are_wrong_as_often_as_they_say_and_in_one_slot(listings):
    wrong = [sum(getattr(x.product, slot) != value for slot, value in x.said) for x in listings]
    assert set(wrong) == {0, 1}
    assert abs(np.mean(wrong) - shop.WRONG) < 3.5 * np.sqrt(shop.WRONG * (1 - shop.WRONG) / len(listings))
    assert [bool(n) for n in wrong] == [x.is_misleading for x in listings]


def test_titles_say_what_it_is_for_as_often_as_they_say(listings):
    uses = [use_in(x.title) for x in listings]
    rate, n = shop.NAMES_USE, len(listings)
    assert abs(np.mean([use is not None for use in uses]) - rate) < 3.5 * np.sqrt(rate * (1 - rate) / n)
    for listing, use in zip(listings, uses, strict=True):
        assert use is None or dict(listing.said)["category"] in shop.USES[use]


def test_all_names_of_a_category_are_used(listings):
    assert {word for x in listings for word in x.title.split()} >= NAMES.keys()


def test_a_listing_is_a_scene_with_its_title_and_what_is_true(listings):
    listing = next(x for x in listings if x.is_misleading)
    scene = listing.scene()
    assert (scene.image_id, scene.caption) == (listing.number, listing.title)
    assert scene.objects == (listing.product.thing(),)
    drawn = products.draw(listing.product, listing.look, 64)
    assert (np.asarray(scene.image(64)) == np.asarray(drawn)).all()


# --- shoppers -------------------------------------------------------------------------------------


def test_there_are_as_many_queries_of_every_kind(listings, asked):
    assert [query.kind for query in asked] == [kind for kind in shop.KINDS for _ in range(150)]
    assert asked == shop.queries(listings, 150, seed=2)
    assert asked != shop.queries(listings, 150, seed=3)


def test_a_query_accepts_what_its_words_say(asked):
    for query in asked:
        wanted = {slot: {value} for slot, value in said(query.text)}
        if use := use_in(query.text):
            wanted["category"] = set(shop.USES[use])
        assert {slot: set(values) for slot, values in query.wants} == wanted, query
        assert (use is not None) == (query.kind == "vague")


@pytest.mark.parametrize(
    ("kind", "slots"),
    [
        ("category", {"category"}),
        ("composed", set(SLOTS)),
        ("vague", {"colour", "category"}),
        ("misleading", set(SLOTS)),
    ],
)
def test_a_kind_of_query_is_about_its_slots(asked, kind, slots):
    assert all({slot for slot, _ in query.wants} == slots for query in asked if query.kind == kind)


def test_attribute_queries_name_two_properties_and_no_noun(asked):
    pairs = {frozenset(s for s, _ in query.wants) for query in asked if query.kind == "attribute"}
    assert pairs == {frozenset(pair) for pair in combinations(("colour", "pattern", "material"), 2)}


def test_relevance_is_what_the_products_are(listings, asked):
    some = listings[:400]
    expected = torch.tensor([[query.accepts(x.product) for x in some] for query in asked])
    found = shop.relevance(asked, some)
    assert found.dtype == torch.uint8
    assert torch.equal(found, expected.to(torch.uint8))
    assert 0 < expected.double().mean() < 0.5


def test_relevance_does_not_read_titles(listings, asked):
    untitled = [replace(x, title="", said=()) for x in listings]
    assert torch.equal(shop.relevance(asked, untitled), shop.relevance(asked, listings))


def test_a_query_accepts_by_hand():
    mug = Product("mug", "metal", "red", "dotted", "small")
    query = shop.Query("", "vague", (("colour", ("red", "blue")), ("category", ("mug", "bottle"))))
    assert query.accepts(mug)
    assert query.accepts(replace(mug, colour="blue", category="bottle"))
    assert not query.accepts(replace(mug, colour="green"))
    assert not query.accepts(replace(mug, category="bowl"))


def test_every_query_is_satisfied_by_some_listing(listings, asked):
    assert (shop.relevance(asked, listings).sum(1) > 0).all()


def test_what_satisfies_a_misleading_query_has_wrong_titles_only(listings, asked):
    relevant = shop.relevance(asked, listings).bool()
    wrong = torch.tensor([x.is_misleading for x in listings])
    for query, row in zip(asked, relevant, strict=True):
        if query.kind == "misleading":
            assert wrong[row].all(), query
    others = [row for query, row in zip(asked, relevant, strict=True) if query.kind == "composed"]
    assert not all(wrong[row].all() for row in others)


def test_queries_about_titles_that_are_all_right_cannot_mislead(listings):
    right = [x for x in listings if not x.is_misleading]
    with pytest.raises(ValueError, match=f"all titles of these {len(right)} are right, none can mislead"):
        shop.queries(right, 5, seed=0)


def test_the_vocabulary_covers_every_title_and_every_query(listings, asked):
    texts = [x.title for x in listings] + [query.text for query in asked]
    used = {word for text in texts for word in text.split()}
    assert used <= shop.vocabulary() <= web.words()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WordTokenizer(sorted(web.words()))(texts)


# --- the web --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages():
    rng = np.random.default_rng(0)
    return [web.random_scene(rng) for _ in range(2000)]


def test_an_alternative_text_names_one_property_at_most(pages):
    named = [[slot for slot, _ in page.objects[0].attributes] for page in pages]
    assert max(map(len, named)) == 1
    assert {slot for slots in named for slot in slots} == {"colour", *web.DETAILS}


def test_alternative_texts_are_as_generic_as_they_say(pages):
    named = [{slot for slot, _ in page.objects[0].attributes} for page in pages]
    detail = np.mean([bool(slots & set(web.DETAILS)) for slots in named])
    assert detail == pytest.approx(web.NAMES_DETAIL, abs=0.035)
    colour = np.mean(["colour" in slots for slots in named])  # a detail is named in the colour's stead
    assert colour == pytest.approx(web.NAMES_COLOUR * (1 - web.NAMES_DETAIL), abs=0.035)
    unusual = np.mean([page.objects[0].noun not in CATEGORIES for page in pages])
    assert 0 < unusual < web.USES_SYNONYM


def test_what_an_alternative_text_names_is_what_the_picture_shows(pages):
    for page in pages[:300]:
        product = page.draw.args[0]
        (thing,) = page.objects
        assert NAMES[thing.noun] == product.category
        assert all(getattr(product, slot) == value for slot, value in thing.attributes)
        assert page.caption == f"a photo of the {thing.phrase}"


def test_the_web_says_only_words_that_are_known(pages):
    texts = [page.caption for page in (*pages, *web.evaluation_scenes())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = WordTokenizer(sorted(web.words()))(texts)
    assert len(ids) == len(texts)
    assert {word for text in texts for word in text.replace(",", " ").split()} <= web.words()


def test_a_web_picture_shows_one_product():
    with pytest.raises(ValueError, match="n_objects must be 1: a picture shows one product, got 2"):
        web.random_scene(np.random.default_rng(0), 2)


def test_evaluation_and_validation_are_different_pictures():
    evaluation, validation = web.evaluation_scenes(), web.validation_scenes()
    ids = {scene.image_id for scene in (*evaluation, *validation)}
    assert len(evaluation) == len(validation) == 1000
    assert len(ids) == 2000
    looks = [{scene.draw.args for scene in scenes} for scenes in (evaluation, validation)]
    assert not looks[0] & looks[1]


def test_references_show_every_category_in_every_colour():
    kinds = {(s.objects[0].noun, dict(s.objects[0].attributes)["colour"]) for s in web.references()}
    assert kinds == {(category, colour) for category in CATEGORIES for colour in products.COLOURS}
    assert len(web.references()) == len(kinds)
