"""Adapters against independent implementations: losses, miners, batched training, peers; and bad input."""

import sys

import numpy as np
import pytest
import torch
from near_ties import assert_same_ranking
from open_clip.loss import ClipLoss
from PIL import Image
from torch.nn import functional as F
from torch.testing import assert_close

from geoclip_lite import adapters, mappers
from geoclip_lite.adapters import (
    PEERS,
    Adapter,
    Cache,
    Mapped,
    MultiPositiveClipLoss,
    Pairs,
    Recipe,
    ZeroShot,
    batches,
    distortion,
    drift,
    fit,
    losses,
    peers,
    refuse_shared,
    training,
)
from geoclip_lite.adapters.training import Runs, mean_reciprocal_rank
from geoclip_lite.datasets.products import shop
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.mini import to_pixels
from geoclip_lite.metrics import reciprocal_rank
from geoclip_lite.retrieval import Ranking

pytestmark = pytest.mark.usefixtures("one_thread")
DIM = 16
QUICK = Recipe(hidden=12, steps=30, batch=24, seed=1)


def unit(n, seed, dim=DIM):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, generator=generator), dim=1)


def world(n=80, seed=0, name="picture", noise=0.6):
    """Texts that are a turned and noisy copy of their pictures; the same turn for all seeds."""
    images = unit(n, seed)
    turn = torch.linalg.qr(unit(DIM, 99))[0]
    texts = images @ turn + images + noise * unit(n, seed + 1000)
    return Pairs.of(images, texts, [f"{name} {seed}/{i}" for i in range(n)], [f"text {i}" for i in range(n)])


def captioned_twice(n=40, seed=0, views=0.0):
    """Every picture has two captions, and every fifth caption is that of the picture before.

    A picture's two vectors are `views` apart: where that is 0, they are neighbours of others at one distance.
    """
    images = unit(n, seed).repeat_interleave(2, 0)
    images = F.normalize(images + views * unit(2 * n, seed + 2000), dim=1)
    texts = images + 0.8 * unit(2 * n, seed + 1000)
    captions = [f"text {i}" for i in range(2 * n)]
    for i in range(5, 2 * n, 5):
        captions[i], texts[i] = captions[i - 2], texts[i - 2]
    return Pairs.of(images, texts, [f"twice {seed}/{i // 2}" for i in range(2 * n)], captions)


@pytest.fixture(scope="module")
def train():
    return world(80, seed=0)


@pytest.fixture(scope="module")
def validation():
    return world(50, seed=1)


@pytest.fixture
def often(monkeypatch):
    """Validation after every fifth step."""
    monkeypatch.setattr(training, "CHECK_EVERY", 5)


@pytest.fixture
def in_double():
    """Training and validation pairs, in double precision, as all that a test makes is then.

    Adam takes a whole step even where a gradient is nothing but rounding. So in single precision two ways of
    training the same adapter end apart, on some processors further than on others.
    """
    torch.set_default_dtype(torch.float64)
    yield world(80, seed=0), world(50, seed=1)
    torch.set_default_dtype(torch.float32)


def assert_same_weights(a, b, **tolerance):
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, weight in a.state_dict().items():
        assert_close(weight, b.state_dict()[name], **tolerance)


# --- losses ---------------------------------------------------------------------------------------


def random_batch(n=20, seed=0):
    return unit(n, seed), unit(n, seed + 1), torch.tensor(9.0)


def random_match(n=20, groups=8, seed=0):
    group = torch.randint(groups, (n,), generator=torch.Generator().manual_seed(seed))
    return group[:, None] == group


def test_with_one_right_answer_each_the_loss_is_open_clips():
    images, texts, scale = random_batch()
    expected = ClipLoss()(images, texts, scale)
    assert_close(MultiPositiveClipLoss(torch.eye(20, dtype=torch.bool))(images, texts, scale), expected)


def test_several_right_answers_share_a_rows_target():
    images, texts, scale = random_batch()
    match, logits = random_match(), (scale * images @ texts.T)
    total = 0.0
    for rows in (logits, logits.T):
        for i in range(20):
            right = [j for j in range(20) if match[i, j]]
            log_sum = float(rows[i].exp().sum().log())
            total += sum(log_sum - float(rows[i, j]) for j in right) / len(right) / 20 / 2
    assert float(losses.info_nce(images, texts, scale, match)) == pytest.approx(total, rel=1e-5)
    assert total != pytest.approx(float(ClipLoss()(images, texts, scale)), rel=1e-2)


def test_duplicates_are_not_pushed_apart():
    cosines = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    match = cosines > 0.5

    def push(loss):
        """The loss's slope along every cosine: above 0 pushes apart."""
        texts = cosines.clone().requires_grad_()  # against unit axes, a text's numbers are its cosines
        loss(torch.eye(3), texts, torch.tensor(5.0)).backward()
        return texts.grad

    assert push(ClipLoss())[0, 1] > 0.1
    ours = push(MultiPositiveClipLoss(match))
    assert (ours[match] <= 0).all()
    assert (ours[~match] > 0).all()


def test_a_batch_of_runs_has_the_losses_of_the_runs():
    images, texts = unit(60, 0).view(3, 20, DIM), unit(60, 1).view(3, 20, DIM)
    scales, matches = torch.tensor([3.0, 9, 20]), torch.stack([random_match(seed=s) for s in range(3)])
    together = torch.vmap(losses.info_nce)(images, texts, scales, matches)
    alone = [losses.info_nce(*args) for args in zip(images, texts, scales, matches, strict=True)]
    assert_close(together, torch.stack(alone))


def test_the_margin_loss_is_pytorchs():
    texts, images, _ = random_batch()
    wrong = batches.random_wrong(20, torch.Generator().manual_seed(0))
    reference = torch.nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: 1 - F.cosine_similarity(a, b), margin=0.3
    )
    ours = losses.triplet(texts, images, wrong, torch.tensor(0.3), torch.eye(20, dtype=torch.bool))
    assert_close(ours, reference(texts, images, images[wrong]))
    assert ours > 0


def test_a_right_answer_drawn_as_a_wrong_one_costs_nothing():
    texts, images, _ = random_batch()
    wrong, match = batches.random_wrong(20, torch.Generator().manual_seed(0)), random_match(groups=3)
    terms = []
    for i, j in enumerate(wrong.tolist()):
        gap = 0.3 - float(texts[i] @ images[i]) + float(texts[i] @ images[j])
        terms.append(0.0 if match[i, j] else max(0.0, gap))
    assert 2 < sum(bool(match[i, j]) for i, j in enumerate(wrong)) < 18
    ours = losses.triplet(texts, images, wrong, torch.tensor(0.3), match)
    assert float(ours) == pytest.approx(np.mean(terms), rel=1e-5)


def test_drift_is_the_mean_of_one_minus_cosine():
    a, b = unit(30, 0), unit(30, 1)
    assert float(drift(a, b)) == pytest.approx(np.mean([1 - float(x @ y) for x, y in zip(a, b, strict=True)]))
    assert float(drift(a, a)) == pytest.approx(0, abs=1e-6)


def test_distortion_is_the_mean_over_near_pairs():
    images, texts, frozen = unit(30, 0), unit(30, 1), unit(30, 2)
    terms = []
    for i in range(30):
        others = sorted((j for j in range(30) if j != i), key=lambda j: -float(frozen[i] @ frozen[j]))
        terms += [float(images[i] @ images[j] - texts[i] @ texts[j]) ** 2 for j in others[:4]]
    assert float(distortion(images, texts, frozen, 4)) == pytest.approx(np.mean(terms), rel=1e-4)
    assert float(distortion(images, images, frozen)) == 0


def test_a_neighbourhood_larger_than_the_batch_is_refused(train, validation):
    vectors = unit(10, 0)
    with pytest.raises(ValueError, match="10 neighbours need a batch of more than 10"):
        distortion(vectors, vectors, vectors)
    with pytest.raises(ValueError, match="a batch of more than 10"):
        fit(train, validation, [QUICK.but(batch=8, distortion_penalty=1.0)])


# --- which pairs meet -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 40])
def test_a_random_batch_holds_no_pair_twice(n):
    generator = torch.Generator().manual_seed(0)
    drawn = [batches.random_rows(40, n, generator).tolist() for _ in range(50)]
    assert all(len(set(rows)) == n for rows in drawn)
    assert {row for rows in drawn for row in rows} == set(range(40))
    assert len({tuple(rows) for rows in drawn}) == 50


def test_a_random_wrong_one_is_any_other_one():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([batches.random_wrong(6, generator) for _ in range(300)])
    assert not (drawn == torch.arange(6)).any()
    assert all(set(drawn[:, i].tolist()) == set(range(6)) - {i} for i in range(6))


@pytest.mark.parametrize("make", [world, captioned_twice])
@pytest.mark.parametrize("per_pair", [1, 3])
def test_mining_finds_the_nearest_wrong_pictures(make, per_pair):
    pairs = make()
    cosines = (pairs.texts @ pairs.images.T).masked_fill(pairs.match(torch.arange(len(pairs))), -2)
    # Pictures with two captions are tied with themselves, so cosines are compared, not numbers.
    found = batches.mine(pairs, per_pair)
    assert found.shape == (len(pairs), per_pair)
    assert_close(cosines.gather(1, found), cosines.topk(per_pair).values)
    assert all(len(set(row)) == per_pair for row in found.tolist())


def test_pairs_without_wrong_pictures_cannot_be_mined():
    pairs = Pairs.of(unit(20, 0), unit(20, 1), range(20), ["one text"] * 20)
    with pytest.raises(ValueError, match="pair 0 has fewer than 3 wrong pictures among its 20 nearest"):
        batches.mine(pairs)


@pytest.mark.parametrize("batch", [7, 20, 80])
def test_a_mined_batch_brings_hard_negatives_along_and_holds_none_twice(train, batch):
    hard, generator = batches.mine(train), torch.Generator().manual_seed(0)
    for _ in range(20):
        rows = batches.mined_rows(hard, batch, generator).tolist()
        assert len(rows) == len(set(rows)) == batch
        assert set(rows[1:4]) == set(hard[rows[0]].tolist())


@pytest.mark.parametrize("kind", ["semihard", "hard"])
def test_mined_triplets_are_all_of_their_kind(kind):
    texts, images, margin = unit(24, 0), unit(24, 1), 0.2
    texts = F.normalize(texts + images, dim=1)
    labels = torch.arange(24) // 2
    cosines = (texts @ images.T).tolist()
    expected = set()
    for a in range(24):
        for p in range(24):
            for n in range(24):
                gap = cosines[a][p] - cosines[a][n]
                wanted = gap <= 0 if kind == "hard" else 0 < gap <= margin
                if labels[a] == labels[p] and labels[a] != labels[n] and wanted:
                    expected.add((a, p, n))
    found = batches.mined_triplets(texts, images, labels, kind, margin)
    assert set(zip(*(numbers.tolist() for numbers in found), strict=True)) == expected
    assert any(a == p for a, p, _ in expected)


@pytest.mark.parametrize("kind", ["semihard", "hard"])
def test_another_view_of_the_same_picture_is_no_wrong_answer(kind):
    """Views have vectors of their own, so that no two cosines are tied."""
    images = F.normalize(unit(40, 0).repeat_interleave(2, 0) + 0.3 * unit(80, 1), dim=1)
    texts = images + 0.8 * unit(80, 2)
    pairs = Pairs.of(images, texts, [i // 2 for i in range(80)], [f"text {i}" for i in range(80)])
    recipe = QUICK.but(loss="margin", negatives=kind, margin=0.3, batch=60)
    loss = Runs(pairs, world(20, seed=5), [recipe]).step_losses()
    rows = torch.randperm(80, generator=torch.Generator().manual_seed(recipe.seed))[:60]
    adapter, picture = Adapter(DIM, recipe), pairs.image_of[rows].tolist()
    cosines = (adapter.texts(pairs.texts[rows]) @ adapter.images(pairs.images[rows]).T).tolist()
    terms, mistaken = [], 0
    for a in range(60):
        for n in set(range(60)) - {a}:
            gap = cosines[a][a] - cosines[a][n]
            if gap <= 0 if kind == "hard" else 0 < gap <= 0.3:
                mistaken += picture[a] == picture[n]
                terms += [] if picture[a] == picture[n] else [0.3 - gap]
    assert mistaken > 0
    assert loss.tolist() == pytest.approx([np.mean(terms)], rel=1e-4)


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["residual", "two-tower"])
@pytest.mark.parametrize("alpha_is", ["fixed", "learned", "normalised"])
def test_adapted_vectors_are_unit_vectors_of_the_formula(architecture, alpha_is):
    recipe = QUICK.but(architecture=architecture, alpha_is=alpha_is, alpha=0.5)
    adapter, x = Adapter(DIM, recipe), unit(30, 0)
    first, _, last = adapter.text_head
    f = (x @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    if alpha_is == "normalised":
        f = f / f.norm(dim=1, keepdim=True)
    moved = f if architecture == "two-tower" else x + 0.5 * f
    assert_close(adapter.texts(x), moved / moved.norm(dim=1, keepdim=True))
    assert (adapter.texts(x) - adapter.images(x)).abs().max() > 0.01, "two heads, not one"


def test_a_seed_draws_the_weights_and_leaves_the_global_one_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    a, b, c = (Adapter(DIM, QUICK.but(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert_same_weights(a, b, rtol=0, atol=0)
    assert not torch.equal(a.text_head[0].weight, c.text_head[0].weight)


def test_a_tenth_of_the_start_is_a_tenth_of_the_last_layer():
    whole, tenth = (Adapter(DIM, QUICK.but(start=start)) for start in ("default", "small"))
    assert_close(tenth.image_head[2].weight, whole.image_head[2].weight / 10)
    assert_close(tenth.image_head[2].bias, whole.image_head[2].bias / 10)
    assert torch.equal(tenth.image_head[0].weight, whole.image_head[0].weight)


def test_a_start_at_zero_is_the_identity(train, validation):
    recipe = QUICK.but(start="zero", alpha=3.0)
    adapter = Adapter(DIM, recipe)
    assert_close(adapter.images(train.images), train.images)
    assert_close(adapter.texts(train.texts), train.texts)
    (fitted,) = fit(train, validation, [recipe])
    match = validation.match(torch.arange(50))
    before = float(mean_reciprocal_rank(validation.texts, validation.images, match))
    assert fitted.checks[0].drift == pytest.approx(0, abs=1e-6)
    assert fitted.checks[0].score == pytest.approx(before, abs=1e-6)
    assert fitted.checks[-1].drift > 0.005, "and it is left behind"


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.9])
def test_a_normalised_alpha_bounds_how_far_a_vector_can_move(train, validation, alpha):
    recipe = QUICK.but(alpha_is="normalised", alpha=alpha, learning_rate=0.03)
    adapter = fit(train, validation, [recipe])[0].adapter
    x = validation.texts
    step = alpha * F.normalize(adapter.text_head(x), dim=1)
    assert_close(step.norm(dim=1), torch.full((50,), alpha))
    assert_close(adapter.texts(x), F.normalize(x + step, dim=1))
    furthest = float((adapter.texts(x) * x).sum(1).min())
    assert np.sqrt(1 - alpha**2) - 1e-6 < furthest < 1 - alpha**2 / 8
    loose = fit(train, validation, [recipe.but(alpha_is="fixed")])[0].adapter
    assert float((loose.texts(x) * x).sum(1).min()) < furthest


def test_a_learned_alpha_is_learned_and_a_fixed_one_is_not(train, validation):
    learned, fixed = fit(train, validation, [QUICK.but(alpha_is=kind) for kind in ("learned", "fixed")])
    assert abs(float(learned.adapter.alpha) - 0.2) > 1e-3
    assert float(fixed.adapter.alpha) == pytest.approx(0.2)
    assert "alpha" not in dict(fixed.adapter.named_parameters())


def test_the_temperature_is_learned_and_stays_above_clips_bound(train, validation):
    recipes = [QUICK.but(temperature=t) for t in (0.07, 0.01, 1e-4)]
    warm, coldest, colder = (1 / float(f.adapter.scale.exp()) for f in fit(train, validation, recipes))
    assert warm != pytest.approx(0.07, rel=1e-3)
    assert coldest > 0.0101, "at the bound it can still rise"
    assert colder >= 0.01 - 1e-6


def test_an_adapter_gives_both_towers_and_the_factor_before_cosines(train):
    adapter = Adapter(DIM, QUICK.but(temperature=0.05))
    images, texts, scale = adapter(train.images, train.texts)
    assert torch.equal(images, adapter.images(train.images))
    assert torch.equal(texts, adapter.texts(train.texts))
    assert scale.item() == pytest.approx(20)


def test_vectors_of_another_length_are_refused():
    adapter = Adapter(DIM, QUICK)
    for method in (adapter.images, adapter.texts):
        with pytest.raises(ValueError, match=r"vectors must have length 16, .* got 17"):
            method(torch.ones(3, 17))


# --- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "one-tower"}, "architecture must be one of residual, two-tower, got 'one-tower'"),
        ({"loss": "infonce"}, "loss must be one of InfoNCE, margin"),
        ({"alpha_is": "free"}, "alpha_is must be one of fixed, learned, normalised"),
        ({"start": "one"}, "start must be one of default, zero, small"),
        ({"negatives": "easy"}, "negatives must be one of random, mined, semihard, hard"),
        ({"alpha": 0}, "alpha must be above 0, got 0"),
        ({"alpha": float("nan")}, "alpha must be above 0, got nan"),
        ({"hidden": 0}, "hidden must be above 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be above 0"),
        ({"steps": 0}, "steps must be above 0"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"patience": 0}, "patience must be above 0"),
        ({"pairs": 0}, "pairs must be above 0"),
        ({"margin": -0.1}, "margin must be 0 or above, got -0.1"),
        ({"drift_penalty": -1.0}, "drift_penalty must be 0 or above"),
        ({"distortion_penalty": float("nan")}, "distortion_penalty must be 0 or above"),
        ({"batch": 1}, "batch must be at least 2"),
        ({"architecture": "two-tower", "start": "zero"}, "zero makes every vector of a two-tower MLP zero"),
        ({"alpha_is": "normalised", "start": "zero"}, "zero has no direction that could be normalised"),
        ({"negatives": "semihard"}, "negatives: semihard triplets need the margin loss, got InfoNCE"),
        ({"negatives": "hard"}, "negatives: hard triplets need the margin loss"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)
    with pytest.raises(ValueError, match=message):
        Recipe().but(**changes)


def test_recipes_that_differ_in_numbers_have_one_structure():
    changes = {
        "alpha": 1.0,
        "temperature": 0.1,
        "margin": 0.1,
        "drift_penalty": 1.0,
        "distortion_penalty": 1.0,
        "pairs": 100,
        "seed": 3,
    }
    assert Recipe(**changes).structure == Recipe().structure
    assert Recipe().but(hidden=4).structure != Recipe().structure
    assert Recipe().but(alpha=1.0) == Recipe(alpha=1.0)


# --- training -------------------------------------------------------------------------------------

STRUCTURES = {
    "residual": {},
    "two-tower": {"architecture": "two-tower"},
    "learned alpha": {"alpha_is": "learned"},
    "normalised": {"alpha_is": "normalised"},
    "zero start": {"start": "zero", "learning_rate": 0.01},
    "margin": {"loss": "margin"},
    "mined batches": {"negatives": "mined"},
    "margin, mined batches": {"loss": "margin", "negatives": "mined"},
    "semihard": {"loss": "margin", "negatives": "semihard"},
    "hard": {"loss": "margin", "negatives": "hard"},
    "early stopping": {"patience": 1, "learning_rate": 0.03},
}
VARIANTS = (
    {},
    {"seed": 2, "alpha": 1.0},
    {"temperature": 0.02, "margin": 0.4, "pairs": 30},
    {"drift_penalty": 2.0},
    {"distortion_penalty": 3.0, "seed": 5},
)


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_runs_trained_together_end_where_each_would_end_alone(in_double, often, structure):
    pairs, validation = captioned_twice(views=0.1), in_double[1]
    recipes = [QUICK.but(steps=10, **structure, **v) for v in VARIANTS]
    for together, recipe in zip(fit(pairs, validation, recipes), recipes, strict=True):
        (alone,) = fit(pairs, validation, [recipe])
        assert_same_weights(together.adapter, alone.adapter, rtol=1e-3, atol=1e-5)
        assert (together.recipe, together.kept, together.ended) == (recipe, alone.kept, alone.ended)
        looks = [[(c.step, c.score, c.drift) for c in fitted.checks] for fitted in (together, alone)]
        assert_close(torch.tensor(looks[0]), torch.tensor(looks[1]), rtol=1e-3, atol=1e-4)


def plain_loop(pairs, recipe):
    """Training one adapter as anybody would write it."""
    adapter, generator = Adapter(DIM, recipe), torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=recipe.learning_rate)
    for _ in range(recipe.steps):
        rows = torch.randperm(len(pairs), generator=generator)[: recipe.batch]
        images, texts = adapter.images(pairs.images[rows]), adapter.texts(pairs.texts[rows])
        same = (pairs.image_of[rows][:, None] == pairs.image_of[rows]) | (
            pairs.text_of[rows][:, None] == pairs.text_of[rows]
        )
        logits, targets = adapter.scale.exp() * images @ texts.T, same / same.sum(1, keepdim=True)
        loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
        moved = [
            (1 - F.cosine_similarity(a, b)).mean()
            for a, b in ((images, pairs.images[rows]), (texts, pairs.texts[rows]))
        ]
        loss = loss + recipe.drift_penalty * sum(moved) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return adapter, loss.item()


@pytest.mark.parametrize("make", [world, captioned_twice])
@pytest.mark.parametrize("changes", [{}, {"alpha_is": "learned", "drift_penalty": 1.5}])
def test_a_run_equals_a_plain_loop_with_adam(in_double, make, changes):
    pairs, recipe, validation = make(), QUICK.but(**changes), in_double[1]
    expected, loss = plain_loop(pairs, recipe)
    # A second run in the batch must change nothing.
    fitted, _ = fit(pairs, validation, [recipe, recipe.but(seed=9, alpha=2.0)])
    assert_same_weights(fitted.adapter, expected, rtol=1e-3, atol=1e-5)
    assert fitted.checks[-1].loss == pytest.approx(loss, rel=1e-4)
    untrained = Adapter(DIM, recipe)
    assert (untrained.text_head[0].weight - expected.text_head[0].weight).abs().max() > 0.01


def test_recipes_of_different_structure_come_back_in_order(in_double):
    (train, validation), short = in_double, QUICK.but(steps=10)
    recipes = [
        short,
        short.but(architecture="two-tower"),
        short.but(alpha=0.7),
        short.but(hidden=5, steps=5),
        short.but(architecture="two-tower", seed=4),
    ]
    results = fit(train, validation, (recipe for recipe in recipes))
    assert [fitted.recipe for fitted in results] == recipes
    for fitted, recipe in zip(results, recipes, strict=True):
        assert_same_weights(fitted.adapter, fit(train, validation, [recipe])[0].adapter, rtol=1e-3, atol=1e-5)
        assert fitted.adapter.text_head[0].out_features == recipe.hidden
    assert fit(train, validation, []) == []


def test_a_recipe_may_use_the_first_pairs_only(in_double):
    train, validation = in_double
    first, whole = (fit(part, validation, [r])[0] for part, r in ((train.first(30), QUICK), (train, QUICK)))
    some = fit(train, validation, [QUICK.but(pairs=30)])[0]
    assert_same_weights(some.adapter, first.adapter, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(some.adapter.text_head[0].weight, whole.adapter.text_head[0].weight)


def test_training_is_a_function_of_the_recipe(train, validation):
    torch.manual_seed(1)
    (first,) = fit(train, validation, [QUICK])
    torch.manual_seed(2)
    (again,) = fit(train, validation, [QUICK])
    assert_same_weights(first.adapter, again.adapter, rtol=0, atol=0)


def test_training_helps_where_there_is_something_to_learn(validation):
    recipe = QUICK.but(steps=200, batch=64, hidden=64, alpha=1.0)
    (fitted,) = fit(world(400, seed=0), validation, [recipe])
    assert fitted.checks[-1].score > fitted.checks[0].score + 0.05
    assert fitted.ended == "steps"
    assert not any(p.requires_grad for p in fitted.adapter.parameters())


def test_a_drift_penalty_keeps_vectors_where_they_were(train, validation):
    free, held = fit(train, validation, [QUICK.but(steps=60), QUICK.but(steps=60, drift_penalty=100.0)])
    assert held.checks[-1].drift < 0.5 * free.checks[-1].drift


def test_a_look_reports_step_score_and_drift(train, validation):
    (fitted,) = fit(train, validation, [QUICK.but(steps=60)])
    assert [check.step for check in fitted.checks] == [0, 25, 50, 60]
    assert np.isnan(fitted.checks[0].loss)
    texts, images = fitted.adapter.texts(validation.texts), fitted.adapter.images(validation.images)
    score = mean_reciprocal_rank(texts, images, validation.match(torch.arange(50)))
    assert fitted.checks[-1].score == pytest.approx(float(score), abs=1e-5)
    moved = [float(drift(texts, validation.texts)), float(drift(images, validation.images))]
    assert fitted.checks[-1].drift == pytest.approx(np.mean(moved), abs=1e-5)


# --- mean reciprocal rank -------------------------------------------------------------------------


def tied(seed=0, n=30):
    """Vectors of whole numbers, so that many cosines are equal."""
    generator = torch.Generator().manual_seed(seed)
    texts, images = (torch.randint(-1, 2, (n, 3), generator=generator).float() for _ in range(2))
    return texts, images


def test_mean_reciprocal_rank_counts_ties_against_the_right_picture():
    (texts, images), match = tied(), random_match(30, 12)
    terms, ties = [], 0
    for i in range(30):
        cosines = [float(texts[i] @ image) for image in images]
        best = max(c for j, c in enumerate(cosines) if match[i, j])
        wrong = [c for j, c in enumerate(cosines) if not match[i, j]]
        ties += best in wrong
        terms.append(1 / (1 + sum(c >= best for c in wrong)))
    assert ties > 5
    assert float(mean_reciprocal_rank(texts, images, match)) == pytest.approx(np.mean(terms), rel=1e-6)


def test_without_ties_it_is_the_mean_of_the_metric():
    texts, images, match = unit(30, 0), unit(30, 1), random_match(30, 12)
    ranking = Ranking.of_scores(texts @ images.T)
    expected = reciprocal_rank(ranking, match.to(torch.uint8)).mean()
    assert float(mean_reciprocal_rank(texts, images, match)) == pytest.approx(float(expected), rel=1e-6)


def test_vectors_that_are_no_numbers_score_worst_not_best():
    nothing = torch.full((5, 3), torch.nan)
    assert float(mean_reciprocal_rank(nothing, nothing, torch.eye(5, dtype=torch.bool))) == pytest.approx(0.2)


# --- stopping -------------------------------------------------------------------------------------


def misleading(seed=0):
    """Pairs that teach nothing: texts and pictures have nothing to do with each other."""
    return Pairs.of(
        unit(60, seed), unit(60, seed + 1), [f"{seed}/{i}" for i in range(60)], list(map(str, range(60)))
    )


def test_early_stopping_keeps_the_best_state(validation, often):
    recipe = QUICK.but(learning_rate=0.01, steps=400, patience=3, alpha=1.0)
    recipes = [recipe, recipe.but(seed=2), recipe.but(seed=3, alpha=0.1)]
    helpful, useless = world(80, seed=0), misleading(7)
    for fitted in (*fit(helpful, validation, recipes), *fit(useless, validation, recipes)):
        scores = [check.score for check in fitted.checks]
        texts, images = fitted.adapter.texts(validation.texts), fitted.adapter.images(validation.images)
        kept = float(mean_reciprocal_rank(texts, images, validation.match(torch.arange(50))))
        assert kept == pytest.approx(max(scores), abs=1e-5)
        best = scores.index(max(scores))
        assert fitted.kept == fitted.checks[best].step
        assert fitted.ended == "early"
        assert len(scores) == best + 1 + recipe.patience


def test_runs_of_a_batch_stop_each_in_its_time(validation, often):
    recipe = QUICK.but(learning_rate=0.01, steps=400, patience=3)
    recipes = [recipe.but(alpha=alpha, seed=seed) for alpha in (0.02, 3.0) for seed in (1, 2)]
    results = fit(world(80, seed=0), validation, recipes)
    assert len({fitted.checks[-1].step for fitted in results}) > 1


def test_without_patience_the_last_state_is_kept(validation, often):
    (fitted,) = fit(misleading(7), validation, [QUICK.but(learning_rate=0.01, steps=42)])
    assert (fitted.kept, fitted.ended) == (42, "steps")
    assert fitted.checks[-1].score < max(check.score for check in fitted.checks)


def is_finite(fitted):
    return all(weight.isfinite().all() for weight in fitted.adapter.state_dict().values())


@pytest.mark.parametrize("patience", [None, 5])
@pytest.mark.parametrize("every", [1, 25])
def test_a_run_that_diverges_says_so_and_keeps_its_last_good_state(
    train, validation, monkeypatch, every, patience
):
    monkeypatch.setattr(training, "CHECK_EVERY", every)
    recipe = QUICK.but(learning_rate=1e30, patience=patience)
    calm = recipe.but(learning_rate=1e-3)
    lost, other = fit(train, validation, [recipe, calm])
    assert (lost.ended, lost.kept) == ("diverged", 0)
    assert is_finite(lost)
    assert_same_weights(lost.adapter, Adapter(DIM, recipe), rtol=0, atol=0)
    assert all(np.isfinite(check.score) and np.isfinite(check.drift) for check in lost.checks)
    assert_same_weights(other.adapter, fit(train, validation, [calm])[0].adapter)


def test_a_state_that_is_finite_but_gives_no_numbers_is_not_kept(train, validation):
    (fitted,) = fit(train, validation, [QUICK.but(learning_rate=1e30, steps=1)])
    assert (fitted.ended, fitted.kept) == ("diverged", 0)


def test_training_ends_when_every_run_has_diverged(train, validation, monkeypatch):
    steps, step_losses = [], Runs.step_losses
    monkeypatch.setattr(Runs, "step_losses", lambda runs: steps.append(1) or step_losses(runs))
    results = fit(train, validation, [QUICK.but(learning_rate=1e30, seed=seed) for seed in (1, 2)])
    assert [fitted.ended for fitted in results] == ["diverged"] * 2
    assert len(steps) == 2, "the second loss is no number"


@pytest.mark.parametrize("loss", ["InfoNCE", "margin"])
def test_a_run_that_diverges_does_not_disturb_its_batch(in_double, often, loss):
    (train, validation), recipe = in_double, QUICK.but(loss=loss)
    lost, other = fit(train, validation, [recipe.but(drift_penalty=float("inf")), recipe.but(seed=3)])
    assert lost.ended == "diverged"
    assert is_finite(lost)
    assert other.ended == "steps"
    alone = fit(train, validation, [recipe.but(seed=3)])[0]
    assert_same_weights(other.adapter, alone.adapter, rtol=1e-3, atol=1e-5)
    assert len(other.checks) == len(alone.checks) == 7


# --- peers ----------------------------------------------------------------------------------------


def score(peer, pairs):
    match = pairs.match(torch.arange(len(pairs)))
    return float(mean_reciprocal_rank(peer.texts(pairs.texts), peer.images(pairs.images), match))


def test_zero_shot_moves_nothing(train, validation):
    peer = PEERS["zero-shot"](train, validation)
    assert torch.equal(peer.texts(validation.texts), validation.texts)
    assert torch.equal(peer.images(validation.images), validation.images)


def test_procrustes_is_chapter_twos(train, validation):
    peer = PEERS["Procrustes"](train, validation)
    assert_close(
        peer.texts(validation.texts), mappers.procrustes(train.texts, train.images)(validation.texts)
    )
    assert torch.equal(peer.images(validation.images), validation.images)


def test_ridge_is_chapter_twos_with_the_best_penalty(train, validation):
    peer = PEERS["ridge"](train, validation)
    candidates = [Mapped(mappers.ridge(train.texts, train.images, p)) for p in peers.PENALTIES]
    scores = [score(candidate, validation) for candidate in candidates]
    best = candidates[scores.index(max(scores))]
    assert_close(peer.texts(validation.texts), best.texts(validation.texts))
    assert len(set(scores)) > 1


def test_the_cache_adds_what_similar_texts_show(train, validation):
    peer, terms = Cache(train, weight=0.7, sharpness=5.0), []
    mean = train.images.mean(0)
    for x in validation.texts:
        says = [np.exp(-5.0 * (1 - float(x @ text))) for text in train.texts]
        recalled = sum(s * (image - mean) for s, image in zip(says, train.images, strict=True))
        moved = x + 0.7 * recalled / recalled.norm()
        terms.append(moved / moved.norm())
    assert_close(peer.texts(validation.texts), torch.stack(terms), rtol=1e-4, atol=1e-5)
    assert torch.equal(peer.images(validation.images), validation.images)


def test_the_best_cache_is_chosen_on_the_validation_pairs(train, validation):
    peer = PEERS["cache"](train, validation)
    scores = {
        (w, s): score(Cache(train, w, s), validation) for w in peers.CACHE_WEIGHTS for s in peers.SHARPNESS
    }
    assert scores[peer.weight, peer.sharpness] == max(scores.values())
    assert peer.pairs is train


def test_the_best_candidate_is_the_one_with_the_highest_score(train, validation):
    class Nonsense(ZeroShot):
        def texts(self, vectors):
            return -vectors

    good = Mapped(mappers.procrustes(train.texts, train.images))
    candidates = [Nonsense(), ZeroShot(), good, Nonsense()]
    best = peers.best_on(validation, candidates)
    assert score(best, validation) == max(score(candidate, validation) for candidate in candidates)
    assert best is not candidates[0]


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_gives_unit_vectors(train, validation, name):
    peer = PEERS[name](train, validation)
    for vectors in (peer.texts(validation.texts), peer.images(validation.images)):
        assert_close(vectors.norm(dim=1), torch.ones(50))


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs_match_by_picture_or_by_text():
    ids, captions = ["a", "a", "b", "c", "d"], ["x", "y", "y", "z", "X"]
    pairs = Pairs.of(unit(5, 0), unit(5, 1), ids, captions)
    expected = [[ids[i] == ids[j] or captions[i] == captions[j] for j in range(5)] for i in range(5)]
    assert pairs.match(torch.arange(5)).tolist() == expected
    rows = torch.tensor([[3, 0], [1, 2]])
    assert pairs.match(rows).tolist() == [[[True, False], [False, True]], [[True, True], [True, True]]]
    assert pairs.pictures() == {"a", "b", "c", "d"}
    assert pairs.first(2).pictures() == {"a"}
    assert len(pairs.first(2)) == 2


def test_pairs_are_scaled_to_unit_length():
    images, texts = 3 * unit(5, 0), 0.1 * unit(5, 1)
    pairs = Pairs.of(images, texts, range(5), list("abcde"))
    assert_close(pairs.images, images / 3)
    assert_close(pairs.texts, texts * 10)
    assert pairs.dim == DIM


@pytest.mark.parametrize("name", ["images", "texts"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_features_that_are_no_directions_are_refused(name, value):
    vectors = {"images": unit(5, 0), "texts": unit(5, 1)}
    vectors[name][3] = value
    with pytest.raises(ValueError, match=f"{name} must have rows of finite, non-zero length, .* in row 3"):
        Pairs.of(**vectors, image_ids=range(5), captions=list("abcde"))


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (unit(5, 0), unit(4, 0), r"two equal, non-empty matrices, a row a pair, got \(5, 16\) and \(4, 16\)"),
        (unit(5, 0), unit(5, 0, dim=8), "two equal, non-empty matrices"),
        (torch.ones(5), torch.ones(5), "two equal, non-empty matrices"),
        (torch.empty(0, 16), torch.empty(0, 16), "two equal, non-empty matrices"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(images, texts, message):
    with pytest.raises(ValueError, match=message):
        Pairs.of(images, texts, range(len(images)), list(map(str, range(len(images)))))


def test_names_that_do_not_fit_are_refused():
    for ids, captions in ((range(4), list("abcde")), (range(5), list("abcd"))):
        with pytest.raises(ValueError, match="must name each of the 5 pairs"):
            Pairs.of(unit(5, 0), unit(5, 1), ids, captions)
    for n in (0, 6):
        with pytest.raises(ValueError, match=f"n must be 1 to 5, the number of pairs, got {n}"):
            Pairs.of(unit(5, 0), unit(5, 1), range(5), list("abcde")).first(n)


def test_parts_that_share_a_picture_are_refused_by_name():
    first, second = world(10, seed=1), world(10, seed=2)
    third = Pairs.of(unit(2, 0), unit(2, 1), ["new", "picture 1/3"], ["p", "q"])
    refuse_shared(train=first, validation=second)
    with pytest.raises(ValueError, match="train and test share the picture 'picture 1/3'"):
        refuse_shared(train=first, validation=second, test=third)


# --- bad input to training ------------------------------------------------------------------------


def test_a_split_that_shares_a_picture_is_not_trained_on(train):
    with pytest.raises(ValueError, match="train and validation share the picture 'picture 0/0'"):
        fit(train, train.first(10), [QUICK])


def test_parts_of_two_encoders_are_refused(train):
    other = Pairs.of(unit(20, 3, dim=8), unit(20, 4, dim=8), range(20), list(map(str, range(20))))
    with pytest.raises(ValueError, match="one encoder, got lengths 16 and 8"):
        fit(train, other, [QUICK])


def test_fewer_pairs_than_a_batch_are_refused(train, validation):
    with pytest.raises(ValueError, match="batch: 81 pairs a step, but only 80 to train on"):
        fit(train, validation, [QUICK, QUICK.but(batch=81)])
    with pytest.raises(ValueError, match="batch: 24 pairs a step, but only 20 to train on"):
        fit(train, validation, [QUICK.but(pairs=20)])
    assert fit(train, validation, [QUICK.but(batch=80, steps=1)])[0].ended == "steps"


def test_more_pairs_than_there_are_are_refused(train, validation):
    with pytest.raises(ValueError, match="a recipe asks for 81 training pairs, there are 80"):
        fit(train, validation, [QUICK.but(pairs=81)])


def test_a_batch_of_nothing_but_duplicates_is_no_error(validation):
    pairs = Pairs.of(unit(1, 0).repeat(30, 1), unit(1, 1).repeat(30, 1), ["one"] * 30, ["same"] * 30)
    for changes in ({}, {"loss": "margin"}, {"loss": "margin", "negatives": "hard"}):
        (fitted,) = fit(pairs, validation, [QUICK.but(**changes)])
        assert fitted.ended == "steps"
        assert is_finite(fitted)


@pytest.mark.parametrize(
    ("library", "changes"),
    [
        ("faiss", {"negatives": "mined"}),
        ("pytorch_metric_learning", {"loss": "margin", "negatives": "semihard"}),
        ("pytorch_metric_learning", {"loss": "margin", "negatives": "hard"}),
    ],
)
def test_a_missing_library_is_named_with_its_extra(train, validation, monkeypatch, library, changes):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"negatives: .*pip install 'geoclip-lite\[adapters\]'"):
        fit(train, validation, [QUICK.but(**changes)])
    assert fit(train, validation, [QUICK.but(steps=2)])[0].ended == "steps"


# --- what an adapter gains and costs --------------------------------------------------------------


def test_a_search_is_a_search_among_adapted_vectors(train, validation):
    [fitted] = fit(train, validation, [Recipe(batch=8, steps=3)], progress=False)
    found = adapters.search(fitted.adapter, validation.texts, validation.images, k=5)
    cosines = fitted.adapter.texts(validation.texts) @ fitted.adapter.images(validation.images).T
    assert_same_ranking(found, Ranking.of_scores(cosines, k=5))
    everything = adapters.search(fitted.adapter, validation.texts, validation.images, k=10_000)
    assert everything.indices.shape == (len(validation), len(validation))


def test_means_by_kind_are_means_of_the_rows_of_a_kind(validation):
    right = torch.eye(len(validation), dtype=torch.uint8)
    frame = adapters.per_query(ZeroShot(), validation.texts, validation.images, right)
    cosines = validation.texts @ validation.images.T
    rank = 1 + (cosines > cosines.diagonal()[:, None]).sum(1)
    assert frame["MRR"].to_numpy() == pytest.approx((1 / rank).numpy())
    kinds = ["odd" if i % 2 else "even" for i in range(len(validation))]
    means = adapters.by_kind(frame, kinds)
    assert list(means.index) == ["even", "odd", "all"]
    for metric, k in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
        hit = (rank <= k).float()
        assert means[metric]["even"] == pytest.approx(float(hit[::2].mean()))
        assert means[metric]["all"] == pytest.approx(float(hit.mean()))


def test_mean_drift_is_nothing_for_what_stays_and_two_for_the_opposite(validation):
    class Opposite:
        texts = images = staticmethod(lambda vectors: -vectors)

    assert adapters.mean_drift(ZeroShot(), validation.texts, validation.images) == pytest.approx(0, abs=1e-6)
    assert adapters.mean_drift(Opposite(), validation.texts, validation.images) == pytest.approx(2, abs=1e-6)


# --- a part of the encoder ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop_pairs():
    encoder, some = load_encoder("mini-products", device="cpu"), shop.catalogue(24, seed=77)
    pictures, titles = [listing.scene().image() for listing in some], [listing.title for listing in some]
    names = [listing.number for listing in some]
    pairs = Pairs.of(encoder.encode_images(pictures), encoder.encode_texts(titles), names, titles)
    return encoder, to_pixels(pictures), titles, pairs


@pytest.mark.parametrize("part", adapters.PARTS)
def test_only_the_part_that_was_let_go_moves(shop_pairs, part):
    encoder, pixels, titles, pairs = shop_pairs
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    options = {"steps": 2, "batch": 8, "learning_rate": 1e-3, "progress": False}
    trained = adapters.unfreeze(encoder, pixels, titles, pairs, part, **options)
    after = trained.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    weights = {name for name, _ in encoder.model.named_parameters()}
    assert moved <= weights, "batch norm keeps its statistics"
    assert moved - {"logit_scale"}
    assert all(name.startswith(adapters.PARTS[part]) or name == "logit_scale" for name in moved)
    assert all(torch.equal(before[n], value) for n, value in encoder.model.state_dict().items()), "a copy"
    assert trained.recipe["unfrozen"] == part
    assert trained.fingerprint != encoder.fingerprint


def test_letting_go_of_everything_learns_the_pairs(shop_pairs):
    encoder, pixels, titles, pairs = shop_pairs
    options = {"steps": 25, "batch": 24, "learning_rate": 5e-4, "progress": False}
    trained = adapters.unfreeze(encoder, pixels, titles, pairs, "everything", **options)
    match = pairs.match(torch.arange(len(pairs)))

    def score(model):
        pictures = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pixels]
        return adapters.mean_reciprocal_rank(model.encode_texts(titles), model.encode_images(pictures), match)

    assert score(trained) > score(encoder) + 0.03


def test_a_part_that_there_is_not_is_refused(shop_pairs):
    encoder, pixels, titles, pairs = shop_pairs
    with pytest.raises(ValueError, match="part must be one of projections, last blocks, everything"):
        adapters.unfreeze(encoder, pixels, titles, pairs, "the head")
    with pytest.raises(ValueError, match="one per pair, got 24, 23 and 24"):
        adapters.unfreeze(encoder, pixels, titles[:-1], pairs)
