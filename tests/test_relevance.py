"""Relevance against the same definitions written out with sets and collections.Counter."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoclip_lite import relevance
from geoclip_lite.relevance import Target
from geoclip_lite.scenes import Scene, SceneObject

few = settings(max_examples=30, deadline=None)


def thing(phrase):
    """ "small red circle" -> the object; a phrase may leave out the size."""
    *attributes, noun = phrase.split()
    return SceneObject(noun, tuple(zip(("colour", "size"), reversed(attributes), strict=False)))


def scene(*phrases, image_id=None):
    name = image_id or ", ".join(phrases)
    return Scene(name, ", ".join(phrases), tuple(map(thing, phrases)), draw=None)


def bag(scene):
    return Counter(frozenset(o.slots.items()) for o in scene.objects)


objects = st.builds(
    "{} {} {}".format,
    st.sampled_from(["big", "small"]),
    st.sampled_from(["red", "blue"]),
    st.sampled_from(["circle", "star"]),
)
scenes = st.lists(st.lists(objects, min_size=1, max_size=5).map(lambda o: scene(*o)), min_size=1, max_size=6)


# --- against the definitions ----------------------------------------------------------------------


@few
@given(scenes, scenes)
def test_contains_and_overlap_agree_with_counter(queries, items):
    contains, overlap = relevance.contains(queries, items), relevance.overlap(queries, items)
    for q, query in enumerate(map(bag, queries)):
        for i, item in enumerate(map(bag, items)):
            common = (query & item).total()
            assert contains[q, i] == (query <= item)
            assert overlap[q, i] == pytest.approx(4 * common / max(query.total(), item.total()))


@few
@given(scenes, scenes)
def test_coverages_agree_with_sets(queries, items):
    attributes, objects = (
        relevance.attribute_coverage(queries, items),
        relevance.object_coverage(queries, items),
    )
    for q, query in enumerate(queries):
        for i, item in enumerate(items):
            wanted, shown = set(relevance.pairs_of(query)), set(relevance.pairs_of(item))
            assert attributes[q, i] == pytest.approx(len(wanted & shown) / len(wanted))
            wanted, shown = set(bag(query)), set(bag(item))
            assert objects[q, i] == pytest.approx(len(wanted & shown) / len(wanted))


@few
@given(scenes, st.sampled_from(["red", "blue", "green"]), st.sampled_from([None, "circle", "star"]))
def test_attribute_agrees_with_a_search_through_the_objects(items, colour, noun):
    grades = relevance.attribute([Target("colour", colour, noun)], items)
    expected = [any(o.slots["colour"] == colour and noun in (None, o.noun) for o in s.objects) for s in items]
    assert grades.tolist() == [expected]


@few
@given(scenes, scenes)
def test_identical_multisets_and_only_they_get_grade_4(queries, items):
    same = torch.tensor([[bag(q) == bag(i) for i in items] for q in queries])
    assert torch.equal(relevance.overlap(queries, items) == 4, same)


# --- what each choice means -----------------------------------------------------------------------


def test_exact_finds_every_copy_of_a_picture():
    copies = [scene("red star", image_id=name) for name in ("a", "b", "a")]
    assert relevance.exact([copies[0], copies[1]], copies).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_contains_counts_how_often_an_object_is_named():
    items = [scene("red star"), scene("red star", "red star", "blue star")]
    assert relevance.contains([scene("red star", "red star")], items).tolist() == [[0, 1]]


def test_binding_separates_the_two_coverages():
    query, swapped = scene("red circle", "blue star"), scene("blue circle", "red star")
    assert relevance.attribute_coverage([query], [swapped]).item() == 1
    assert relevance.object_coverage([query], [swapped]).item() == 0


def test_the_order_in_which_attributes_are_spoken_does_not_matter():
    pairs = (("colour", "red"), ("size", "big"))
    one, other = (Scene("x", "", (SceneObject("star", p),), None) for p in (pairs, pairs[::-1]))
    assert relevance.contains([one], [other]).item() == 1


def test_two_values_in_one_slot_both_count():
    striped = Scene("x", "", (SceneObject("cat", (("colour", "black"), ("colour", "white"))),), None)
    targets = [Target("colour", value) for value in ("black", "white", "grey")]
    assert relevance.attribute(targets, [striped]).tolist() == [[1], [1], [0]]


def test_synonyms_are_one_word_in_nouns_and_values():
    query, items = (
        scene("big red star"),
        [scene("large red star"), scene("big red sun"), scene("small red star")],
    )
    poles = [{"big", "large"}, {"star", "sun"}]
    assert relevance.synonym([query], items, poles).tolist() == [[1, 1, 0]]
    assert relevance.synonym([query], items, []).tolist() == relevance.contains([query], items).tolist()


def test_grades_are_bytes_and_overlap_is_a_float():
    a = [scene("red star")]
    graded = [
        relevance.exact(a, a),
        relevance.contains(a, a),
        relevance.attribute([Target("noun", "star")], a),
    ]
    assert {grades.dtype for grades in graded} == {torch.uint8}
    assert relevance.overlap(a, a).dtype == torch.float32


# --- bad inputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [relevance.contains, relevance.overlap, relevance.attribute_coverage, relevance.object_coverage],
)
def test_a_query_without_objects_is_refused(function):
    with pytest.raises(ValueError, match="query 1 names none"):
        function([scene("red star"), scene()], [scene("red star")])


def test_an_image_without_objects_is_simply_irrelevant():
    assert relevance.contains([scene("red star")], [scene()]).item() == 0
    assert relevance.overlap([scene("red star")], [scene()]).item() == 0


@pytest.mark.parametrize("function", [relevance.exact, relevance.contains, relevance.attribute_coverage])
def test_empty_sequences_are_refused(function):
    with pytest.raises(ValueError, match="items must not be empty"):
        function([scene("red star")], [])
    with pytest.raises(ValueError, match="queries must not be empty"):
        function([], [scene("red star")])


def test_a_word_in_two_poles_is_refused():
    with pytest.raises(ValueError, match="'big' in two"):
        relevance.synonym([scene("red star")], [scene("red star")], [{"big", "large"}, {"big", "grand"}])


def test_a_pole_that_is_a_bare_string_is_refused():
    with pytest.raises(ValueError, match="bare string"):
        relevance.synonym([scene("red star")], [scene("red star")], ["big", "large"])
