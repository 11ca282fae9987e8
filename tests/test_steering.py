"""Steering: identities, equality with the slow way, and what must be refused."""

from functools import partial

import numpy as np
import pytest
import torch
from near_ties import assert_same_ranking
from torch.nn import functional as F

from geoclip_lite import metrics, steering
from geoclip_lite.datasets import things
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene, SceneObject


def unit(n, dim=16, seed=0):
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def pictured(*things_of):
    """Scenes of these objects, without pictures."""
    return [Scene(f"{i}", "", tuple(objects), draw=None) for i, objects in enumerate(things_of)]


def gallery_of(vectors):
    return Gallery(vectors, tuple(pictured(*[()] * len(vectors))))


def thing(noun, **slots):
    return SceneObject(noun, tuple(slots.items()))


@pytest.fixture(scope="module")
def encode():
    return partial(encode_with_templates, load_encoder("mini-things"), templates=("{}", "a photo of the {}"))


# --- directions -----------------------------------------------------------------------------------


def test_difference_is_the_unit_vector_between_the_means():
    a, b = unit(5), unit(7, seed=1)
    step = b.numpy().mean(0) - a.numpy().mean(0)
    np.testing.assert_allclose(steering.difference(a, b), step / np.linalg.norm(step), atol=1e-6)
    torch.testing.assert_close(steering.difference(b, a), -steering.difference(a, b))


def test_equal_poles_have_no_direction(encode):
    a = unit(5)
    with pytest.raises(ValueError, match="same mean: between equal poles there is no direction"):
        steering.difference(a, a.flip(0))
    with pytest.raises(ValueError, match="share the word 'open'"):
        steering.concept_direction(encode, ["open"], ["open"], ["{} box"])


def test_a_concept_direction_averages_synonyms_and_frames(encode):
    source, target, frames = ("closed", "shut"), ("open", "opened"), ("{} box", "{} door")
    found = steering.concept_direction(encode, source, target, frames)
    texts = [[f.replace("{}", w) for w in pole for f in frames] for pole in (source, target)]
    means = [encode(each).mean(0) for each in texts]
    torch.testing.assert_close(found, F.normalize(means[1] - means[0], dim=0))
    assert not torch.allclose(found, steering.concept_direction(encode, ["closed"], ["open"], ["{} box"]))


@pytest.mark.parametrize(
    ("source", "target", "frames", "message"),
    [
        (["closed"], ["opalescent"], ["{} box"], "never saw: opalescent; take words of its vocabulary"),
        (["closed"], ["open"], ["{} piano"], "never saw: piano"),
        ([], ["open"], ["{}"], "source must not be empty"),
        (["closed"], ["open"], [], "frames must not be empty"),
        (["closed"], ["open"], ["box"], 'must hold "{}" once'),
        (["closed"], [" "], ["{}"], "target holds a text without words"),
    ],
)
def test_poles_that_mean_nothing_to_the_encoder_are_refused(encode, source, target, frames, message):
    with pytest.raises(ValueError, match=message):
        steering.concept_direction(encode, source, target, frames)


def test_a_bare_string_is_no_pole(encode):
    with pytest.raises(TypeError, match="source must be a list of strings"):
        steering.concept_direction(encode, "closed", ["open"])


def test_the_widest_neighbourhood_is_the_whole_pole():
    queries, source, target = unit(4), unit(6, seed=1), unit(6, seed=2)
    found = steering.neighbourhood_directions(queries, source, target, k=6)
    torch.testing.assert_close(found, steering.difference(source, target).expand(4, -1))


def test_a_neighbourhood_direction_by_hand():
    queries, source, target = unit(4), unit(9, seed=1), unit(7, seed=2)
    found = steering.neighbourhood_directions(queries, source, target, k=3)
    for query, direction in zip(queries, found, strict=True):
        near = [sorted(pole, key=lambda v, q=query: -float(q @ v))[:3] for pole in (source, target)]
        step = sum(near[1]) / 3 - sum(near[0]) / 3
        torch.testing.assert_close(direction, step / step.norm())


@pytest.mark.parametrize("k", [0, 7])
def test_a_neighbourhood_must_be_there(k):
    with pytest.raises(ValueError, match="k must be 1 to 6"):
        steering.neighbourhood_directions(unit(4), unit(6), unit(9), k)


def test_orthogonal_directions_keep_nothing_of_the_others():
    direction, others = unit(1)[0], unit(5, seed=1)
    left = steering.orthogonal_to(direction, torch.cat([others, others[:2] * 3]))  # of rank 5
    assert (others @ left).abs().max() < 1e-5
    fit = np.linalg.lstsq(others.numpy().T, direction.numpy(), rcond=None)[0]
    residual = direction.numpy() - others.numpy().T @ fit
    np.testing.assert_allclose(left, residual / np.linalg.norm(residual), atol=1e-5)
    for none in (others[0] + others[1], direction * 0, direction * torch.nan):
        with pytest.raises(ValueError, match="lies in the span of others"):
            steering.orthogonal_to(none, others)


def test_random_directions_are_of_length_one_and_of_their_seed():
    found = steering.random_directions(32, 500, seed=3)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(500))
    assert torch.equal(found, steering.random_directions(32, 500, seed=3))
    assert found.mean(0).norm() < 0.1


# --- steps ----------------------------------------------------------------------------------------


def test_a_step_of_the_length_between_two_prompts_is_the_other_prompt(encode):
    """Why correcting a slot by its own two prompts always succeeds: source + (target - source) = target."""
    source, target = encode(["closed box", "open box"])
    direction = steering.difference(source[None], target[None])
    there = steering.steer(source[None], direction, float((target - source).norm()))
    torch.testing.assert_close(there[0], target, atol=1e-5, rtol=0)


def test_steering_is_monotone_and_ends_at_the_direction():
    queries, direction = unit(20), unit(1, seed=5)[0]
    cosines = torch.stack([steering.steer(queries, direction, s) @ direction for s in (-2, -1, 0, 0.5, 1, 3)])
    assert (cosines.diff(dim=0) > 0).all()
    torch.testing.assert_close(steering.steer(queries, direction, 0.0), queries)
    torch.testing.assert_close(
        steering.steer(queries, direction, 1e6), direction.expand(20, -1), atol=1e-5, rtol=0
    )


def test_every_query_may_have_its_own_direction_and_strength():
    queries, directions, strengths = unit(3), unit(3, seed=1), torch.tensor([0.0, 0.5, 1.0])
    found = steering.steer(queries, directions, strengths)
    for i in range(3):
        alone = steering.steer(queries[i : i + 1], directions[i], float(strengths[i]))
        torch.testing.assert_close(found[i], alone[0])


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), torch.tensor([0.0, float("-inf")])])
def test_strengths_must_be_finite(strength):
    with pytest.raises(ValueError, match="strength must be finite, got"):
        steering.steer(unit(2), unit(1)[0], strength)


def test_a_step_into_the_origin_is_refused():
    queries = unit(2)
    with pytest.raises(ValueError, match="the steered queries must have rows of finite, non-zero length"):
        steering.steer(queries, -queries, 1.0)


def test_one_object_of_several_is_steered():
    objects, direction = unit(3), unit(1, seed=1)[0]
    found = steering.steer_object(objects, 1, direction, 0.4)
    torch.testing.assert_close(found[1], steering.steer(objects, direction, 0.4)[1])
    assert torch.equal(found[[0, 2]], objects[[0, 2]])
    for which in (3, -1):
        with pytest.raises(ValueError, match=f"which must be 0 to 2, an object of the query, got {which}"):
            steering.steer_object(objects, which, direction, 0.4)


# --- the gate -------------------------------------------------------------------------------------


def test_confusion_counts_pictures_of_the_source_side():
    queries, images, direction = unit(6), unit(80, seed=1), unit(1, seed=2)[0]
    found = steering.confusion(queries, gallery_of(images), direction, middle=0.05, k=7)
    near = shortlist(queries, images, 7).indices.tolist()
    by_hand = [np.mean([float(images[i] @ direction) < 0.05 for i in row]) for row in near]
    np.testing.assert_allclose(found, by_hand)
    gated = steering.gated(0.3, found, threshold=0.5)
    assert gated.tolist() == pytest.approx([0.3 if c > 0.5 else 0.0 for c in by_hand])
    with pytest.raises(ValueError, match="confused"):
        steering.gated(0.3, torch.tensor([0.2, torch.nan]), threshold=0.5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"direction": torch.full((16,), torch.nan)}, "direction"),
        ({"middle": float("nan")}, "middle"),
        ({"queries": torch.full((2, 16), torch.nan)}, "queries"),
        ({"k": 0}, "k must be"),
        ({"k": 10}, "k must be"),
    ],
)
def test_a_gate_that_cannot_be_computed_is_not_open(wrong, named):
    right = {
        "queries": unit(2),
        "gallery": gallery_of(unit(9)),
        "direction": unit(1)[0],
        "middle": 0.0,
        "k": 3,
    }
    with pytest.raises(ValueError, match=named):
        steering.confusion(**right | wrong)


# --- cases ----------------------------------------------------------------------------------------


def test_cases_are_grounded_in_enough_pictures_of_both_poles():
    items = pictured(
        *[[thing("box", opening="open")]] * 3,
        *[[thing("box", opening="shut")]] * 2,
        *[[thing("door", opening="open")]] * 5,
    )
    contrasts = {"opening": (("open", "opened"), ("closed", "shut"))}
    found = steering.grounded_cases(items, contrasts, minimum=2)
    assert [(case.noun, case.target) for case in found] == [
        ("box", ("closed", "shut")),
        ("box", ("open", "opened")),
    ]
    assert found[0].prompts() == ("open box", "closed box")
    assert steering.grounded_cases(items, contrasts, minimum=3) == []
    for noun in ("door", "piano"):
        with pytest.raises(ValueError, match=f"no contrast of '{noun}' has 2 pictures of either pole"):
            steering.grounded_cases(items, contrasts, 2, nouns=["box", noun])


def test_answers_are_aware_of_synonyms():
    scenes = things.validation_scenes()[:300]
    cases = steering.grounded_cases(scenes, things.CONTRASTS, minimum=2)
    found = steering.answers(cases, scenes)
    for case, row in zip(cases, found, strict=True):
        objects = [scene.objects[0] for scene in scenes]
        by_hand = [o.noun == case.noun and o.slots.get(case.slot) in case.target for o in objects]
        assert row.tolist() == [int(answer) for answer in by_hand]


# --- the sweep ------------------------------------------------------------------------------------


def sweep_setting():
    images = unit(200, seed=1)
    images[50:60] = images[40:50]  # copies tie
    return unit(12), unit(12, seed=2), gallery_of(images)


@pytest.mark.parametrize("one", [True, False])
def test_steered_rankings_are_those_of_the_shortlist(one):
    queries, directions, gallery = sweep_setting()
    directions = directions[0] if one else directions
    strengths = [-0.7, 0.0, 0.2, 1.0, 5.0]
    for strength, found in steering.steered_rankings(queries, directions, gallery, strengths, k=20):
        expected = shortlist(steering.steer(queries, directions, strength), gallery, 20)
        assert_same_ranking(found, expected)


def test_a_sweep_is_a_tidy_table():
    queries, directions, gallery = sweep_setting()
    grades = torch.randint(0, 2, (12, 200), generator=torch.Generator().manual_seed(0))
    measures = {
        "R@5": partial(metrics.hit_at, relevance=grades, k=5),
        "P@10": partial(metrics.precision_at, relevance=grades, k=10),
    }
    table = steering.sweep(queries, directions, gallery, [0.0, 0.5], measures)
    assert list(table) == ["query", "strength", "metric", "value"]
    assert len(table) == 12 * 2 * 2
    for (strength, metric), rows in table.groupby(["strength", "metric"]):
        ranking = shortlist(steering.steer(queries, directions, strength), gallery, 10)
        assert rows.value.tolist() == pytest.approx(measures[metric](ranking).tolist())
        assert rows["query"].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("strengths", "k", "message"),
    [
        ([], 5, "strengths must not be empty"),
        ([0.0, float("nan")], 5, "strength must be finite"),
        ([0.0], 0, "k must be 1 to 200"),
        ([0.0], 201, "k must be 1 to 200"),
    ],
)
def test_a_sweep_of_nothing_is_refused(strengths, k, message):
    queries, directions, gallery = sweep_setting()
    with pytest.raises(ValueError, match=message):
        list(steering.steered_rankings(queries, directions, gallery, strengths, k))
