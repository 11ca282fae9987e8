"""Wrong answers, twins, merging and interference, each by examples that a reader can check by eye."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize
from torch.testing import assert_close

from geoclip_lite import composition
from geoclip_lite.composition import KINDS, ObjectVectors, kind_of_answer, kinds_of_answers, merge
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.relevance import pairs_of
from geoclip_lite.retrieval import Gallery, Ranking


def scene(*phrases):
    by_phrase = {primitive.phrase: primitive for primitive in shapes.PRIMITIVES}
    return shapes.composition([by_phrase[phrase] for phrase in phrases])


QUERY = ("blue star", "red circle", "red circle")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (("red circle", "blue star", "red circle"), "right"),
        (("red star", "blue circle", "red circle"), "binding error"),
        (("blue star", "red circle", "red hexagon"), "substitution"),
        (("blue star", "red circle", "green circle"), "substitution"),
        (("blue star", "red circle", "green hexagon"), "omission"),
        (("blue star", "blue star", "red circle"), "omission"),
    ],
)
def test_kinds(answer, kind):
    assert kind_of_answer(scene(*QUERY), scene(*answer)) == kind


def test_a_ranking_is_judged_by_its_first_column():
    items = [scene(*QUERY), scene("red star", "blue circle", "red circle")]
    scores = torch.tensor([[0.9, 0.8], [0.7, 0.9]])
    kinds = kinds_of_answers(Ranking.of_scores(scores), [items[0], items[0]], items)
    assert kinds == ["right", "binding error"]
    assert set(kinds) <= set(KINDS)


# --- substitutions --------------------------------------------------------------------------------


def answered(query, answer):
    """Substitutions of one query that got one answer."""
    items = [scene(*query), scene(*answer)]
    return composition.substitutions(Ranking.of_scores(torch.tensor([[0.0, 1.0]])), items[:1], items)


def test_a_substitution_is_counted_where_the_colour_is_the_same():
    counts = answered(("blue star", "red circle", "red circle"), ("blue star", "red circle", "red hexagon"))
    assert counts.loc["circle", "hexagon"] == 1
    assert counts.to_numpy().sum() == 1


@pytest.mark.parametrize(
    "answer",
    [
        ("blue star", "red circle", "green square"),  # another colour too
        ("blue star", "red square", "red hexagon"),  # two red ones lost: which is which?
        ("blue star", "red circle", "red circle"),  # the right one
    ],
)
def test_what_is_no_clear_substitution_is_not_counted(answer):
    assert answered(("blue star", "red circle", "red circle"), answer).to_numpy().sum() == 0


def test_another_slot_is_no_substitution_of_the_noun():
    queries = [clevr_like.references()[i] for i in (0, 3)]  # rubber and metal sphere of one colour and size
    assert [s.objects[0].noun for s in queries] == ["sphere", "sphere"]
    counts = composition.substitutions(Ranking.of_scores(torch.tensor([[0.0, 1.0]])), queries[:1], queries)
    assert counts.to_numpy().sum() == 0


def test_chance_keeps_each_rows_total_and_an_empty_diagonal():
    counts = answered(("blue star", "red circle", "red circle"), ("blue star", "red circle", "red hexagon"))
    counts.loc["star", "hexagon"] = 50
    thrown = composition.uniform_substitutions(counts * 4, resamples=20)
    for matrix in thrown:
        assert matrix.sum(axis=1).equals(4 * counts.sum(axis=1))
        assert np.trace(matrix) == 0
    assert composition.unordered_shares(thrown[0]).sum() == pytest.approx(1)
    assert composition.unordered_shares(counts).iloc[0] == pytest.approx(50 / 51)


# --- twins ----------------------------------------------------------------------------------------


COMPOSITIONS = shapes.compositions()


@given(st.sampled_from(COMPOSITIONS), st.integers(0, 99))
def test_a_twin_has_the_same_words_and_is_another_scene(composed, seed):
    objects = composed.objects
    twin = composition.rebound(objects, np.random.default_rng(seed))
    if twin is None:
        return
    assert Counter(twin) != Counter(objects)
    words = [Counter(p for o in things for p in o.slots.items()) for things in (twin, objects)]
    assert words[0] == words[1]


def test_what_cannot_be_bound_otherwise_has_no_twin():
    rng = np.random.default_rng(0)
    for phrases in (["red star"], ["red star"] * 3, ["red star", "red circle"], ["red star", "blue star"]):
        assert composition.rebound(scene(*phrases).objects, rng) is None
    assert composition.rebound(scene("red star", "blue circle").objects, rng) is not None


def test_two_objects_that_can_be_exchanged_always_are():
    objects = scene("red star", "blue circle").objects
    for seed in range(50):
        assert composition.rebound(objects, np.random.default_rng(seed)) is not None


def test_an_unknown_slot_is_refused():
    with pytest.raises(ValueError, match="size"):
        composition.with_value(shapes.PRIMITIVES[0], "size", "large")


@pytest.mark.parametrize("world", [shapes, clevr_like])
def test_a_rearranged_scene_holds_the_same_words_in_another_picture(world):
    original = next(s for s in world.validation_scenes() if len(set(s.objects)) == len(s.objects))
    moved = world.rearranged(original, np.random.default_rng(0))
    assert Counter(pairs_of(moved)) == Counter(pairs_of(original))
    assert Counter(moved.objects) == Counter(original.objects)
    assert moved.image_id != original.image_id
    assert moved.image().tobytes() != original.image().tobytes()


# --- merging --------------------------------------------------------------------------------------

SCORES = torch.tensor([[0.1, 0.5, -0.2], [0.4, 0.3, 0.9]])


def test_merges_by_hand():
    assert_close(merge(SCORES, "average"), torch.tensor([0.25, 0.4, 0.35]))
    assert_close(merge(SCORES, "min"), torch.tensor([0.1, 0.3, -0.2]))
    assert_close(merge(SCORES, "max"), torch.tensor([0.4, 0.5, 0.9]))


def test_softmin_lies_between_minimum_and_average_and_reaches_both():
    assert_close(merge(SCORES, "softmin", 1e-4), merge(SCORES, "min"), atol=1e-3, rtol=0)
    assert_close(merge(SCORES, "softmin", 1e3), merge(SCORES, "average"), atol=1e-3, rtol=0)
    soft = merge(SCORES, "softmin", 0.1)
    assert (merge(SCORES, "min") < soft).all()
    assert (soft < merge(SCORES, "average")).all()


@pytest.mark.parametrize("how", composition.MERGES)
def test_one_object_merges_to_itself(how):
    assert_close(merge(SCORES[:1], how), SCORES[0])


def test_unknown_merges_and_temperatures_are_refused():
    with pytest.raises(ValueError, match="how must be one of average, min"):
        merge(SCORES, "median")
    with pytest.raises(ValueError, match="temperature"):
        merge(SCORES, "softmin", 0)


def encode(texts):
    """A stand-in for a text tower: a random unit vector a text, always the same."""
    rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, t)))) for t in texts]
    return normalize(torch.stack(rows), dim=1)


def test_averaging_vectors_ranks_as_averaging_scores_does():
    scenes = shapes.validation_scenes()[:20]
    images = normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    objects = ObjectVectors(scenes, encode)
    by_vector = objects.averages(scenes) @ images.T
    by_score = objects.merged_scores(scenes, images, "average")
    assert_close(normalize(by_vector), normalize(by_score))  # the same but for a factor of each query


def test_object_vectors_are_those_of_the_phrases():
    scenes = clevr_like.validation_scenes(5)
    objects = ObjectVectors(scenes, encode)
    for each in scenes:
        assert_close(objects.of(each), encode([thing.phrase for thing in each.objects]))
    with pytest.raises(ValueError, match="objects"):
        ObjectVectors([], encode)
    with pytest.raises(ValueError, match="red star"):
        objects.of(scene("red star"))
    with pytest.raises(ValueError, match="holds no objects"):
        objects.averages([replace(scenes[0], objects=())])


# --- interference ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_hot():
    """References whose vectors are one-hot: every type of object is equally far from every other."""
    scenes = clevr_like.references()
    return Gallery(torch.eye(len(scenes)), tuple(scenes))


def test_a_query_that_is_its_object_has_full_margins(one_hot):
    margins = composition.slot_margins(one_hot.vectors[:3], one_hot.scenes[:3], one_hot)
    assert len(margins) == 3 * 4
    assert (margins.margin == 1).all()
    assert list(margins.slot.unique()) == ["size", "colour", "material", "noun"]


def test_an_object_without_a_picture_is_refused(one_hot):
    with pytest.raises(ValueError, match="red star"):
        composition.slot_margins(one_hot.vectors[:1], [scene("red star")], one_hot)


def test_a_margin_is_lost_to_the_rival_in_that_slot_alone(one_hot):
    first = one_hot.scenes[0].objects[0]
    rival = composition.with_value(first, "colour", "red")
    row = next(i for i, s in enumerate(one_hot.scenes) if s.objects[0] == rival)
    margins = composition.slot_margins(one_hot.vectors[[row]], one_hot.scenes[:1], one_hot).set_index("slot")
    assert margins.margin["colour"] == -1
    assert (margins.margin.drop("colour") == 0).all()


def test_degradation_counts_and_its_coins(one_hot):
    scenes = [s for s in clevr_like.validation_scenes(30) if len(s.objects) == 2]
    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(2, len(scenes), 96, generator=generator), dim=-1)
    before, after = (composition.slot_margins(v, scenes, one_hot) for v in vectors)
    changes = composition.slot_changes(before, after)
    table = composition.degradation(changes)
    assert (table.slots == 8).all()
    assert (table.objects == 2).all()
    assert table.by_coins.tolist() == pytest.approx([1 - 0.5**8] * len(scenes))
    assert table.degrades.sum() == (after.margin < before.margin).sum()
    assert (table.any_degrades == (table.degrades > 0)).all()
    with pytest.raises(ValueError, match="same scenes"):
        composition.slot_changes(before, after[1:])


def test_conditional_degradation_by_hand():
    rows = [  # query, object, slot, change
        (0, 0, "colour", 1),
        (0, 0, "noun", 1),
        (0, 1, "colour", -1),
        (0, 1, "noun", -1),
        (1, 0, "colour", 1),
        (1, 0, "noun", -1),
        (2, 0, "colour", -1),
        (2, 0, "noun", -1),
    ]
    changes = pd.DataFrame(rows, columns=["query", "object", "slot", "change"])
    changes = changes.assign(degrades=changes.change < 0, improves=changes.change > 0)
    per_query = composition.degrades_when_improves(changes, "colour", "noun", ["query"])
    per_object = composition.degrades_when_improves(changes, "colour", "noun", ["query", "object"])
    assert (per_query, per_object) == (1.0, 0.5)


def test_a_random_shift_is_as_large_and_seeded():
    generator = torch.Generator().manual_seed(5)
    before, after = normalize(torch.randn(2, 7, 16, generator=generator), dim=-1)
    shifted = composition.random_shift(before, after)
    assert_close(shifted.norm(dim=1), torch.ones(7))
    assert_close((shifted * before).sum(1), (after * before).sum(1))
    assert torch.equal(shifted, composition.random_shift(before, after))
    assert not torch.allclose(shifted, composition.random_shift(before, after, seed=1))
