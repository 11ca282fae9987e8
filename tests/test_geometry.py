"""Distances and neighbourhoods of two spaces, against scipy and brute force."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr
from torch.testing import assert_close

from geoclip_lite.geometry import cosine_distances, distance_correlation, mutual_knn_overlap


@pytest.fixture
def spaces():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    return a, a @ torch.randn(6, 9, generator=generator, dtype=torch.float64)


def test_cosine_distances_are_scipys(spaces):
    expected = torch.from_numpy(squareform(pdist(spaces[0].numpy(), "cosine")))
    assert_close(cosine_distances(spaces[0]), expected)


def test_distance_correlation_is_scipys(spaces):
    expected = pearsonr(*(pdist(space.numpy(), "cosine") for space in spaces))[0]
    assert distance_correlation(*spaces) == pytest.approx(expected)


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
    with pytest.raises(ValueError, match="finite"):
        distance_correlation(a, b.index_fill(0, torch.tensor([3]), torch.nan))
