"""Reranking by objects: identities between the matchers, brute force, and what is refused."""

from dataclasses import replace
from itertools import permutations

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize
from torch.testing import assert_close

from geoclip_lite import relevance, transport
from geoclip_lite.composition import ObjectVectors
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.objects import MATCHERS, look_up, object_sets, partial_queries, rerank, ties_at_top
from geoclip_lite.retrieval import Ranking, shortlist
from geoclip_lite.transport import PointSets, Problems

SCENES = shapes.evaluation_scenes()[:60]
MIXED = clevr_like.evaluation_scenes(60)
FAST = ("max-sim", "assignment", "wasserstein", "fgw", "semi-relaxed")


def fake_vectors(scenes, seed=0):
    """Random unit vectors in place of an encoder's."""

    def encode(phrases):
        return normalize(torch.randn(len(phrases), 16, generator=torch.Generator().manual_seed(seed)), dim=-1)

    return ObjectVectors(scenes, encode)


def sets_of_size(*sizes, seed=0, dim=8):
    generator = torch.Generator().manual_seed(seed)
    return PointSets.of([normalize(torch.randn(n, dim, generator=generator), dim=-1) for n in sizes])


def everything(queries, items):
    """A first stage that says nothing: every item a candidate, in the gallery's order."""
    return Ranking.of_scores(torch.zeros(queries, items))


def costs(ranking):
    """Query x gallery item."""
    return torch.empty_like(ranking.scores).scatter(1, ranking.indices, 0 - ranking.scores)


def costs_by(matcher, asked, shown, **options):
    first = everything(len(asked), len(shown))
    return costs(rerank(first, asked, shown, matcher, oracle=False, **options))


# --- one family: identities -----------------------------------------------------------------------


def test_with_equally_many_objects_assignment_is_wasserstein_is_fgw_without_structure():
    asked, shown = sets_of_size(3, 3, 3), sets_of_size(*[3] * 8, seed=1)
    assignment = costs_by("assignment", asked, shown, unmatched=(10.0, 0.0))
    assert_close(assignment, costs_by("wasserstein", asked, shown))
    assert_close(assignment, costs_by("fgw", asked, shown, alpha=0))


def test_wasserstein_is_fgw_without_structure_for_any_sizes():
    asked, shown = sets_of_size(1, 2, 4, 6), sets_of_size(1, 3, 5, 7, seed=1)
    assert_close(costs_by("wasserstein", asked, shown), costs_by("fgw", asked, shown, alpha=0))


def test_max_sim_is_semi_relaxed_without_structure():
    asked, shown = sets_of_size(1, 2, 4, 6), sets_of_size(1, 3, 5, 7, seed=1)
    best = torch.tensor(
        [
            [float((1 - asked[q] @ shown[i].T).amin(1).mean()) for i in range(len(shown))]
            for q in range(len(asked))
        ]
    )
    assert_close(costs_by("max-sim", asked, shown), best, atol=1e-5, rtol=0)
    assert_close(costs_by("max-sim", asked, shown), costs_by("semi-relaxed", asked, shown, alpha=0))


def test_between_single_objects_all_are_the_cosine_of_the_phrases():
    asked, shown = sets_of_size(1, 1), sets_of_size(1, 1, 1, seed=1)
    cosine_distance = 1 - asked.vectors @ shown.vectors.T
    for matcher in FAST:
        scale = 0.5 if matcher in ("fgw", "semi-relaxed") else 1.0  # (1 - alpha) of a structureless pair
        options = {"unmatched": (10.0, 0.0)} if matcher == "assignment" else {}
        found = costs_by(matcher, asked, shown, **options)
        assert_close(found, scale * cosine_distance, atol=1e-5, rtol=0)


def test_wasserstein_is_pots():
    asked, shown = sets_of_size(2, 5), sets_of_size(3, 4, seed=1)
    found = costs_by("wasserstein", asked, shown)
    for q in range(2):
        for i in range(2):
            feature_cost = (1 - asked[q] @ shown[i].T).double().numpy()
            assert found[q, i] == pytest.approx(ot.emd2([], [], feature_cost), abs=1e-5)


def test_semi_relaxed_costs_no_more_than_balanced():
    asked, shown = sets_of_size(2, 3, 4), sets_of_size(2, 4, 6, seed=1)
    assert (costs_by("semi-relaxed", asked, shown) <= costs_by("fgw", asked, shown) + 1e-5).all()


@pytest.mark.parametrize("matcher", ["partial", "entropic"])
def test_slow_matchers_are_the_solvers_of_transport(matcher):
    asked, shown = sets_of_size(2, 3), sets_of_size(3, 4, seed=1)
    found = costs_by(matcher, asked, shown, alpha=0.3, mass=0.6, epsilon=0.3)
    options = {"mass": 0.6} if matcher == "partial" else {"epsilon": 0.3}
    for q in range(2):
        for i in range(2):
            pair = Problems.of([1 - asked[q] @ shown[i].T], [asked.inner[q]], [shown.inner[i]])
            solved = getattr(transport, matcher)(pair, alpha=0.3, **options)
            assert float(found[q, i]) == pytest.approx(float(solved.values), abs=1e-5)


# --- objects that stay alone ----------------------------------------------------------------------


def cheapest_of_all(feature_cost, lonely_row, lonely_column):
    """Every set of pairs, the rest alone at a price."""
    n, m = feature_cost.shape
    padded = range(m + n)  # a column of its own for every row that stays alone
    totals = []
    for choice in permutations(padded, n):
        pairs = [(i, j) for i, j in enumerate(choice) if j < m]
        matched = sum(float(feature_cost[i, j]) for i, j in pairs)
        totals.append(matched + (n - len(pairs)) * lonely_row + (m - len(pairs)) * lonely_column)
    return min(totals) / n


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([(0.0, 0.0), (0.3, 0.0), (0.5, 0.4), (1.0, 0.0), (0.0, 0.7), (9.0, 9.0)]),
    st.integers(0, 99),
)
def test_assignment_with_penalties_against_all_ways(n, m, unmatched, seed):
    asked, shown = sets_of_size(n, seed=seed), sets_of_size(m, seed=seed + 100)
    wanted = cheapest_of_all(1 - asked[0] @ shown[0].T, *unmatched)
    found = costs_by("assignment", asked, shown, unmatched=unmatched)
    assert float(found) == pytest.approx(wanted, abs=1e-5)


def test_extra_objects_are_free_unless_priced():
    scene = next(s for s in MIXED if len(s.objects) == 5)
    vectors = fake_vectors(MIXED)
    asked, shown = (
        object_sets(partial_queries([scene], 2, clevr_like.describe), vectors),
        object_sets([scene], vectors),
    )
    assert float(costs_by("assignment", asked, shown)) == 0
    priced = costs_by("assignment", asked, shown, unmatched=(1.0, 0.2))
    assert float(priced) == pytest.approx(3 * 0.2 / 2, abs=1e-5)


# --- partial queries, oracles, ties ---------------------------------------------------------------


@pytest.mark.parametrize(("world", "scenes"), [(shapes, SCENES), (clevr_like, MIXED)])
def test_partial_queries_are_answered_by_their_scene(world, scenes):
    queries = partial_queries(scenes, 2, world.describe)
    assert [len(query.objects) for query in queries] == [2] * len(scenes)
    assert relevance.contains(queries, scenes).diagonal().all()
    assert all(query.caption == world.describe(query.objects) for query in queries)
    assert queries == partial_queries(scenes, 2, world.describe)
    assert queries != partial_queries(scenes, 2, world.describe, seed=1)


def test_naming_more_than_there_is_names_all():
    queries = partial_queries(MIXED, 99, clevr_like.describe)
    assert [q.objects for q in queries] == [s.objects for s in MIXED]


@pytest.mark.parametrize("matcher", ["max-sim", "assignment", "semi-relaxed"])
def test_an_answer_to_a_partial_query_costs_nothing(matcher):
    queries, vectors = partial_queries(MIXED, 2, clevr_like.describe), fake_vectors(MIXED)
    found = costs_by(matcher, object_sets(queries, vectors), object_sets(MIXED, vectors))
    assert (found[relevance.contains(queries, MIXED).bool()] == 0).all()


@pytest.mark.parametrize("matcher", FAST)
def test_with_all_objects_named_the_own_picture_costs_nothing(matcher):
    sets = object_sets(MIXED, fake_vectors(MIXED))
    found = costs_by(matcher, sets, sets)
    assert (found.diagonal() == 0).all()
    assert (found >= 0).all()


def test_order_of_objects_does_not_matter():
    turned = [replace(scene, objects=scene.objects[::-1]) for scene in MIXED]
    vectors = fake_vectors(MIXED)
    queries = object_sets(MIXED[:10], vectors)
    for matcher in ("max-sim", "assignment", "wasserstein"):
        one, other = (costs_by(matcher, queries, object_sets(side, vectors)) for side in (MIXED, turned))
        assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("oracle", [True, False])
def test_the_oracle_flag_is_what_the_caller_says_and_stays(oracle):
    sets = sets_of_size(2, 3)
    reranked = rerank(everything(2, 2), sets, sets, oracle=oracle)
    assert reranked.oracle == oracle
    assert rerank(replace(reranked, oracle=True), sets, sets, oracle=False).oracle


def test_the_oracle_must_be_thought_of():
    sets = sets_of_size(2, 3)
    with pytest.raises(TypeError, match="oracle"):
        rerank(everything(2, 2), sets, sets)


def test_only_the_shortlist_is_reordered():
    vectors = fake_vectors(SCENES)
    first = shortlist(vectors.averages(SCENES), vectors.averages(SCENES[::-1]), 7)
    sets = object_sets(SCENES, vectors)
    found = rerank(first, sets, object_sets(SCENES[::-1], vectors), oracle=True)
    assert_close(found.indices.sort(1).values, first.indices.sort(1).values)
    assert found.method == "fgw"


def test_ties_are_counted():
    ranking = Ranking.of_scores(torch.tensor([[1.0, 1.0, 0.5], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]))
    assert ties_at_top(ranking).tolist() == [2, 1, 3]


def test_scenes_with_the_same_objects_tie():
    copies = [replace(SCENES[0], image_id=f"copy {i}") for i in range(3)]
    gallery = [*copies, *(s for s in SCENES[1:20] if set(s.objects) != set(SCENES[0].objects))]
    vectors = fake_vectors(SCENES)
    for matcher in ("assignment", "wasserstein", "fgw"):
        found = rerank(
            everything(1, len(gallery)),
            object_sets(SCENES[:1], vectors),
            object_sets(gallery, vectors),
            matcher,
            oracle=True,
        )
        assert ties_at_top(found).tolist() == [3]


# --- the look-up ----------------------------------------------------------------------------------


def lists_compared(query, item, lonely_row, lonely_column):
    """Object by object, crossing off what is found."""
    left, found = list(item.objects), 0
    for thing in query.objects:
        if thing in left:
            left.remove(thing)
            found += 1
    n, m = len(query.objects), len(item.objects)
    return ((n - found) * lonely_row + (m - found) * lonely_column) / n


@pytest.mark.parametrize("unmatched", [(1.0, 0.0), (1.0, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("named", [1, 2, 99])
def test_look_up_against_lists(unmatched, named):
    queries = partial_queries(SCENES, named, shapes.describe)
    found = look_up(everything(len(queries), len(SCENES)), queries, SCENES, unmatched)
    wanted = [[lists_compared(query, item, *unmatched) for item in SCENES] for query in queries]
    assert_close(costs(found).double(), torch.tensor(wanted).double(), atol=1e-5, rtol=0)
    assert found.oracle


# --- bad input ------------------------------------------------------------------------------------


def test_scenes_without_objects_are_refused():
    empty = replace(SCENES[0], objects=())
    with pytest.raises(ValueError, match="holds no objects"):
        object_sets([SCENES[0], empty], fake_vectors(SCENES))
    with pytest.raises(ValueError, match="names nothing"):
        look_up(everything(1, 1), [empty], SCENES[:1])


def test_objects_that_were_not_encoded_are_refused():
    with pytest.raises(ValueError, match="which was not encoded"):
        object_sets(MIXED[:1], fake_vectors(SCENES))


def test_a_query_that_names_nothing_is_refused():
    with pytest.raises(ValueError, match="named must be at least 1"):
        partial_queries(SCENES, 0, shapes.describe)


def test_an_unknown_matcher_is_refused():
    sets = sets_of_size(2, 3)
    with pytest.raises(ValueError, match=r"matcher must be one of max-sim, .*got 'hungarian'"):
        rerank(everything(2, 2), sets, sets, "hungarian", oracle=True)


@pytest.mark.parametrize("unmatched", [(-1.0, 0.0), (1.0, -0.1), (float("nan"), 0.0), (float("inf"), 0.0)])
def test_prices_are_finite_and_not_negative(unmatched):
    sets = sets_of_size(2, 3)
    with pytest.raises(ValueError, match="unmatched must be two finite costs"):
        rerank(everything(2, 2), sets, sets, "assignment", oracle=True, unmatched=unmatched)
    with pytest.raises(ValueError, match="unmatched must be two finite costs"):
        look_up(everything(1, 1), SCENES[:1], SCENES[:1], unmatched)


def test_sets_that_do_not_fit_the_ranking_are_refused():
    two, three = sets_of_size(2, 3), sets_of_size(2, 3, 4)
    for matcher in MATCHERS:
        with pytest.raises(ValueError, match="gallery must hold one set per item"):
            rerank(everything(2, 2), two, three, matcher, oracle=True)
        with pytest.raises(ValueError, match="one non-empty row per query"):
            rerank(everything(2, 2), three, two, matcher, oracle=True)
    with pytest.raises(ValueError, match="vectors of length"):
        rerank(everything(2, 2), two, sets_of_size(2, 3, dim=4), oracle=True)
    with pytest.raises(ValueError, match="must be those of the ranking"):
        look_up(everything(2, 2), SCENES[:2], SCENES[:3])


def test_shortlists_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="repeated index"):
        Ranking(torch.tensor([[1, 1]]), torch.zeros(1, 2), gallery_size=2)
    with pytest.raises(ValueError, match="k must be"):
        shortlist(torch.eye(4), torch.eye(4), 5)
