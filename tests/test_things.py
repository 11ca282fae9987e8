"""The world of things: minimal pairs that differ in one contrast, and what can be seen of it."""

from itertools import combinations

import numpy as np
import pytest

from geoclip_lite import relevance, steering
from geoclip_lite.datasets import things


def pixels(scene, size=64):
    return np.asarray(scene.image(size)).astype(int)


def test_it_is_as_large_as_it_says():
    assert len(things.NOUNS) >= 10
    assert len(things.CONTRASTS) >= 8
    assert {slot for slots in things.NOUNS.values() for slot in slots} == set(things.CONTRASTS)
    words = [word for pole in things.POLES for word in pole]
    assert len(words) == len(set(words))
    assert set(things.DRAW) == set(things.NOUNS)


@pytest.mark.parametrize(("noun", "slot"), things.GROUNDED)
def test_a_minimal_pair_differs_in_one_contrast_alone(noun, slot):
    first, second = things.minimal_pair(noun, slot, np.random.default_rng(0), "pair")
    a, b = (dict(scene.objects[0].attributes) for scene in (first, second))
    assert {key for key in a if a[key] != b[key]} == {slot}
    assert a[slot] in things.CONTRASTS[slot][0]
    assert b[slot] in things.CONTRASTS[slot][1]
    changed = np.abs(pixels(first) - pixels(second)).sum(2) > 30
    assert 0.003 < changed.mean() < 0.5, "the contrast must be seen at 64 pixels, and the room must stay"
    assert not changed[:2].any()


def test_every_state_of_every_noun_looks_different():
    scenes = things.references()
    assert len(scenes) == sum(2 ** len(slots) for slots in things.NOUNS.values())
    drawn = [pixels(scene) for scene in scenes]
    assert min(np.abs(a - b).mean() for a, b in combinations(drawn, 2)) > 0.5


def test_pictures_are_a_function_of_the_seed():
    for seed in (1, 2):
        a, b = (things.minimal_pairs(6, seed) for _ in range(2))
        assert a == b
        assert (pixels(a[5][0]) == pixels(b[5][0])).all()
    assert things.minimal_pairs(6, 1) != things.minimal_pairs(6, 2)


def test_evaluation_and_validation_are_different_pictures():
    evaluation, validation = things.evaluation_scenes(), things.validation_scenes()
    ids = [scene.image_id for scene in (*evaluation, *validation)]
    assert len(evaluation) == things.EVALUATION_SIZE
    assert len(ids) == len(set(ids))


def test_every_contrast_has_enough_pictures_of_both_poles():
    cases = steering.grounded_cases(things.evaluation_scenes(), things.CONTRASTS, minimum=10)
    assert {(case.noun, case.slot) for case in cases} == set(things.GROUNDED)


def test_captions_use_all_synonyms_and_only_known_words():
    said = {word for scene in things.evaluation_scenes() for word in scene.caption.split()}
    assert said == things.words() - {things.GENERIC_NOUN}


def test_canonical_words_keep_the_meaning():
    scenes = things.validation_scenes()[:60]
    plain = [things.canonical(scene) for scene in scenes]
    first_words = {pole[0] for pole in things.POLES}
    assert {value for scene in plain for _, value in scene.objects[0].attributes} <= first_words
    by_synonym = relevance.synonym(scenes, scenes, things.POLES)
    assert (by_synonym == relevance.contains(plain, plain)).all()
    assert plain[0].caption == things.describe(plain[0].objects)


@pytest.mark.parametrize(
    ("noun", "slot", "message"),
    [
        ("piano", "opening", "there is no 'opening' of a 'piano'; there are ball"),
        ("book", "light", "there is no 'light' of a 'book'; it has opening"),
        ("book", "mood", "there is no 'mood' of a 'book'; it has opening"),
    ],
)
def test_what_is_not_in_the_world_is_refused(noun, slot, message):
    with pytest.raises(ValueError, match=message):
        things.minimal_pair(noun, slot, np.random.default_rng(0), "x")


def test_a_training_picture_shows_one_thing():
    rng = np.random.default_rng(0)
    assert len(things.random_scene(rng).objects) == 1
    with pytest.raises(ValueError, match="n_objects must be 1"):
        things.random_scene(rng, 2)


def test_stripes_stand_out_from_what_they_are_on():
    rng = np.random.default_rng(0)
    for _ in range(300):
        look = things.random_look(rng)
        assert np.abs(np.subtract(look.main, look.second)).max() > 40
