"""Distances and neighbourhoods of two spaces, against scipy and brute force."""

from itertools import permutations

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr
from torch.testing import assert_close

from geoclip_lite.geometry import (
    cosine_distances,
    distance_correlation,
    gromov_wasserstein,
    k_occurrences,
    mantel_test,
    mean_cosine,
    modality_gap,
    mutual_knn_overlap,
    neighbour_purity,
    overlap_by_k,
)
from geoclip_lite.retrieval import Ranking


@pytest.fixture
def spaces():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    return a, a @ torch.randn(6, 9, generator=generator, dtype=torch.float64)


def test_cosine_distances_are_scipys(spaces):
    expected = torch.from_numpy(squareform(pdist(spaces[0].numpy(), "cosine")))
    assert_close(cosine_distances(spaces[0]), expected)


@pytest.mark.parametrize(("kind", "scipys"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_distance_correlation_is_scipys(spaces, kind, scipys):
    expected = scipys(*(pdist(space.numpy(), "cosine") for space in spaces))[0]
    assert distance_correlation(*spaces, kind) == pytest.approx(expected)


def test_mantel_counts_the_relabellings_that_agree_as_well(spaces):
    a, b = (space[:5] for space in spaces)
    distances = [squareform(pdist(space.numpy(), "cosine")) for space in (a, b)]
    above = np.triu_indices(5, 1)
    everything = [
        pearsonr(distances[0][above], distances[1][np.ix_(order, order)][above])[0]
        for order in permutations(range(5))
    ]
    test = mantel_test(a, b, permutations=4000)
    assert test.correlation == pytest.approx(everything[0])
    assert test.p == pytest.approx(np.mean(np.array(everything) >= everything[0] - 1e-9), abs=0.03)
    assert test.low == pytest.approx(np.quantile(everything, 0.025), abs=0.05)


def test_mantel_is_calibrated_where_there_is_nothing():
    generator = torch.Generator().manual_seed(2)
    pairs = [torch.randn(2, 12, 4, generator=generator) for _ in range(60)]
    small = [mantel_test(a, b, permutations=99, seed=i).p <= 0.2 for i, (a, b) in enumerate(pairs)]
    assert 0.05 < np.mean(small) < 0.4


def test_mantel_finds_what_is_there_and_knows_its_best_p(spaces):
    test = mantel_test(spaces[0], spaces[0], "spearman", permutations=99)
    assert test.correlation == pytest.approx(1)
    assert test.p == pytest.approx(1 / 100)
    assert test.low < 0 < test.high < 1


def test_gromov_wasserstein_finds_an_exact_copy(spaces):
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    found = gromov_wasserstein(spaces[0], spaces[0] @ turn)
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.identity == pytest.approx(0, abs=1e-9)


def test_gromov_wassersteins_plan_is_feasible_and_its_objective_is_the_sum(spaces):
    a, b = (space[:8] for space in spaces)
    found = gromov_wasserstein(a, b, starts=5)
    assert_close(found.plan.sum(0), torch.full((8,), 1 / 8, dtype=torch.float64))
    assert_close(found.plan.sum(1), torch.full((8,), 1 / 8, dtype=torch.float64))
    costs = [squareform(pdist(space.numpy(), "cosine")) for space in (a, b)]
    losses = (costs[0][:, None, :, None] - costs[1][None, :, None, :]) ** 2  # i j k l
    plan = found.plan.numpy()
    assert found.blind == pytest.approx(np.einsum("ijkl,ij,kl->", losses, plan, plan), abs=1e-6)
    assert found.identity == pytest.approx(np.mean((costs[0] - costs[1]) ** 2))
    assert found.value <= min(found.blind, found.identity) + 1e-12
    assert found.on_diagonal == pytest.approx(np.trace(plan))
    pots = ot.gromov.gromov_wasserstein2(*costs, np.full(8, 1 / 8), np.full(8, 1 / 8))
    assert found.value <= pots + 1e-9


def test_overlap_by_k_is_the_overlap_beside_its_exact_chance(spaces):
    table = overlap_by_k(*spaces, ks=(1, 5, 29), permutations=50).set_index("k")
    assert list(table.overlap) == pytest.approx([mutual_knn_overlap(*spaces, k) for k in (1, 5, 29)])
    assert list(table.chance) == [1 / 29, 5 / 29, 1.0]
    assert ((table.low <= table.chance + 1e-9) & (table.chance <= table.high + 1e-9)).all()


def test_purity_of_two_clusters_and_of_none():
    clusters = torch.tensor([[1.0, 0.01 * i] for i in range(4)] + [[0.01 * i, 1.0] for i in range(4)])
    assert neighbour_purity(clusters, ["a"] * 4 + ["b"] * 4, k=3) == 1
    assert neighbour_purity(clusters, ["a", "b"] * 4, k=7) == pytest.approx(3 / 7)


def test_the_gap_is_the_distance_of_the_means():
    texts, images = torch.tensor([[2.0, 0], [0, 3.0]]), torch.tensor([[-1.0, 0], [0, -1.0]])
    assert modality_gap(texts, images) == pytest.approx(2**0.5)
    assert modality_gap(texts, texts) == 0
    assert mean_cosine(texts) == pytest.approx(0, abs=1e-7)
    assert mean_cosine(torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.5, 0.5]])) == pytest.approx(1)


def test_k_occurrences_are_counted():
    ranking = Ranking.of_scores(torch.tensor([[3.0, 2, 1], [3, 1, 2], [2, 3, 1]]))
    assert k_occurrences(ranking, 1).tolist() == [2, 1, 0]
    assert k_occurrences(ranking, 2).tolist() == [3, 2, 1]


def test_a_rotation_changes_nothing(spaces):
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    assert distance_correlation(spaces[0], spaces[0] @ turn) == pytest.approx(1)
    assert mutual_knn_overlap(spaces[0], 3 * spaces[0] @ turn, k=5) == 1


@pytest.mark.parametrize("k", [1, 4, 29])
def test_neighbourhood_overlap_is_brute_forces(spaces, k):
    near = []
    for space in spaces:
        distances = squareform(pdist(space.numpy(), "cosine"))
        np.fill_diagonal(distances, np.inf)
        near.append([set(row[:k]) for row in distances.argsort(axis=1)])
    expected = np.mean([len(x & y) / k for x, y in zip(*near, strict=True)])
    assert mutual_knn_overlap(*spaces, k) == pytest.approx(expected)


def test_unrelated_spaces_overlap_by_chance():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 400, 20, generator=generator)
    assert mutual_knn_overlap(a, b, k=20) == pytest.approx(20 / 399, abs=0.01)


def test_bad_input_is_named(spaces):
    a, b = spaces
    with pytest.raises(ValueError, match="same items"):
        distance_correlation(a, b[:-1])
    with pytest.raises(ValueError, match="k must be 1 to 29"):
        mutual_knn_overlap(a, b, k=30)
    with pytest.raises(ValueError, match="k must be 1 to 29"):
        neighbour_purity(a, ["x"] * 30, k=30)
    with pytest.raises(ValueError, match="one per item"):
        neighbour_purity(a, ["x"] * 29, k=3)
    with pytest.raises(ValueError, match="at least 3"):
        distance_correlation(a[:2], b[:2])
    with pytest.raises(ValueError, match="kind must be"):
        distance_correlation(a, b, "kendall")
    with pytest.raises(ValueError, match="all distances are equal"):
        distance_correlation(torch.eye(4), torch.eye(4))
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        mantel_test(a, b, permutations=0)
    with pytest.raises(ValueError, match="finite"):
        distance_correlation(a, b.index_fill(0, torch.tensor([3]), torch.nan))
