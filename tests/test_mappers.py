"""Maps between spaces, against scipy and scikit-learn; and no result without a split."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge
from torch.nn.functional import normalize
from torch.testing import assert_close

from geoclip_lite import mappers
from geoclip_lite.mappers import cross_fit

EVERY = [mappers.identity, mappers.constant, mappers.mean_shift, mappers.procrustes, mappers.ridge]


def random_pairs(n=80, dim=6, seed=0):
    """Unit texts, and images that are a noisy linear function of them."""
    generator = torch.Generator().manual_seed(seed)
    texts = normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1)
    images = texts @ torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    images += 0.1 * torch.randn(n, dim, generator=generator, dtype=torch.float64) + 0.5
    return texts, normalize(images, dim=1)


# --- the ladder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", EVERY)
def test_mapped_texts_are_unit_rows(fit):
    texts, images = random_pairs()
    assert_close(fit(texts, images)(texts).norm(dim=1), torch.ones(80, dtype=torch.float64))


@pytest.mark.parametrize("penalty", [0.0, 0.3, 10.0])
def test_ridge_is_scikit_learns(penalty):
    texts, images = random_pairs()
    reference = Ridge(alpha=penalty).fit(texts.numpy(), images.numpy())
    mapper = mappers.ridge(texts, images, penalty)
    assert_close(texts @ mapper.weight + mapper.offset, torch.from_numpy(reference.predict(texts.numpy())))


def test_procrustes_is_scipys():
    texts, images = random_pairs()
    centred = [(v - v.mean(0)).numpy() for v in (texts, images)]
    expected, _ = orthogonal_procrustes(*centred)
    mapper = mappers.procrustes(texts, images)
    assert_close(mapper.weight, torch.from_numpy(expected))
    assert_close(mapper.weight @ mapper.weight.T, torch.eye(6, dtype=torch.float64))


def test_a_hidden_rotation_is_found():
    texts, _ = random_pairs()
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    assert_close(mappers.procrustes(texts, texts @ turn)(texts), texts @ turn)


def test_each_control_does_what_its_name_says():
    texts, images = random_pairs()
    assert_close(mappers.identity(texts, images)(texts), texts)
    forgotten = mappers.constant(texts, images)(texts)
    assert_close(forgotten, normalize(images.mean(0), dim=0).expand(80, 6))
    shift = mappers.mean_shift(texts, images)
    assert_close((texts @ shift.weight + shift.offset).mean(0), images.mean(0))
    assert_close(shift.weight, torch.eye(6, dtype=torch.float64))


def test_the_ladder_fits_better_rung_by_rung():
    texts, images = random_pairs()
    errors = []
    for fit in (mappers.constant, mappers.mean_shift, mappers.procrustes, lambda *a: mappers.ridge(*a, 1e-9)):
        mapper = fit(texts, images)
        errors.append(float((texts @ mapper.weight + mapper.offset - images).square().sum()))
    assert errors[3] < errors[2] < errors[1]  # least squares, the best rotation, no rotation
    assert errors[3] < errors[0]


def test_hard_negatives_teach_a_map_to_tell_twins_apart():
    """What tells them apart is there, small and turned, and the cosine does not read it."""
    generator = torch.Generator().manual_seed(0)
    common, own = torch.randn(2, 400, 8, generator=generator)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0]
    texts, twins = (normalize(torch.cat([common, 0.3 * s * own], 1), dim=1) for s in (1, -1))
    images = normalize(torch.cat([common, own @ turn], 1), dim=1)

    def prefers_own(mapper):
        right, wrong = ((mapper(v) * images).sum(1) for v in (texts, twins))
        return float((right > wrong).double().mean())

    trained = mappers.contrastive(texts, images, twins, batch=128)
    assert prefers_own(mappers.identity(texts, images)) < 0.8
    assert prefers_own(trained) > 0.95
    again = mappers.contrastive(texts, images, twins, batch=128)
    assert torch.equal(trained.weight, again.weight)


def test_orthogonality_is_one_for_a_rotation_and_smallest_for_rank_one():
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(50, 6, generator=generator)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    assert mappers.orthogonality(3 * turn, texts) == pytest.approx(1, abs=1e-6)
    assert mappers.orthogonality(torch.outer(turn[0], turn[1]), texts, share=1) == pytest.approx(
        1 / 6, abs=1e-4
    )
    stretched = torch.diag(torch.tensor([3.0, 4, 0, 0, 0, 0]))
    assert mappers.orthogonality(stretched, texts * torch.tensor([1, 1, 0, 0, 0, 0])) == pytest.approx(
        49 / 50
    )


# --- splits ---------------------------------------------------------------------------------------


def test_no_row_is_mapped_by_a_map_that_has_seen_its_image():
    texts, images = random_pairs()
    groups = [i // 4 for i in range(80)]
    fitted = cross_fit(mappers.ridge, texts, images, groups, folds=4)
    for group in range(20):
        assert len(set(fitted.fold[4 * group : 4 * group + 4].tolist())) == 1
    mapped = fitted(texts)
    for fold in range(4):
        seen = fitted.fold != fold
        alone = mappers.ridge(texts[seen], images[seen])(texts[~seen])
        assert_close(mapped[~seen], alone)


def test_folds_are_even_and_seeded():
    texts, images = random_pairs()
    folds = [cross_fit(mappers.identity, texts, images, range(80), seed=s).fold for s in (0, 0, 1)]
    assert torch.equal(folds[0], folds[1])
    assert not torch.equal(folds[0], folds[2])
    assert folds[0].bincount().tolist() == [16] * 5


def test_what_else_a_map_needs_is_split_alike():
    texts, images = random_pairs()
    widths = []

    def spy(texts, images, numbers):
        widths.append((len(texts), len(numbers)))
        assert_close(numbers[:, 0], texts[:, 0])
        return mappers.identity(texts, images)

    cross_fit(spy, texts, images, range(80), texts, folds=2)
    assert widths == [(40, 40)] * 2


def test_the_leak_is_real_and_the_split_closes_it():
    generator = torch.Generator().manual_seed(0)
    texts, images = normalize(torch.randn(2, 60, 64, generator=generator), dim=-1)

    def recall(mapped):
        return float(((mapped @ images.T).argmax(1) == torch.arange(60)).double().mean())

    assert recall(mappers.ridge(texts, images, 1e-3)(texts)) == 1
    assert recall(cross_fit(mappers.ridge, texts, images, range(60))(texts)) < 0.1


# --- bad input ------------------------------------------------------------------------------------


def test_bad_pairs_groups_and_batches_are_refused():
    texts, images = random_pairs()
    with pytest.raises(ValueError, match="without a split"):
        cross_fit(mappers.ridge, texts, images, None)
    with pytest.raises(ValueError, match="got 79"):
        cross_fit(mappers.ridge, texts, images, range(79))
    with pytest.raises(ValueError, match="groups"):
        cross_fit(mappers.ridge, texts, images, [float("nan"), *range(79)])
    with pytest.raises(ValueError, match="batch"):
        mappers.contrastive(texts, images, batch=0)
    with pytest.raises(ValueError, match="folds must be 2 to 3"):
        cross_fit(mappers.ridge, texts, images, np.arange(80) % 3, folds=5)
    with pytest.raises(ValueError, match="one per pair"):
        cross_fit(mappers.ridge, texts, images, range(80))(texts[:5])


def test_singular_ridge_is_refused():
    texts, images = random_pairs(n=5)
    with pytest.raises(ValueError, match="singular"):
        mappers.ridge(texts, images, penalty=0)
    with pytest.raises(ValueError, match="0 or above"):
        mappers.ridge(texts, images, penalty=-1)


@pytest.mark.parametrize("fit", EVERY[1:])
def test_pairs_must_be_pairs(fit):
    texts, images = random_pairs()
    with pytest.raises(ValueError, match="texts and images"):
        fit(texts, images[:-1])
    with pytest.raises(ValueError, match="texts and images"):
        fit(texts[:0], images[:0])
