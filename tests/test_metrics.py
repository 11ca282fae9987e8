"""Metrics against scikit-learn, torchmetrics, scipy, and against every order of the tied items."""

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import ndcg_score
from torchmetrics.functional import retrieval as theirs

from geoclip_lite import metrics
from geoclip_lite.retrieval import Ranking, shortlist

QUERIES, ITEMS = 30, 25
few = settings(max_examples=20, deadline=None)
AT_K = [metrics.hit_at, metrics.recall_at, metrics.precision_at, metrics.ndcg_at]


def problem(seed, ties=False, grades=5):
    """Scores (positive: torchmetrics leaves out the others) and grades 0 ... grades - 1. Ties: few values."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (QUERIES, ITEMS)) / 4 if ties else rng.random((QUERIES, ITEMS))
    relevance = rng.integers(0, grades, (QUERIES, ITEMS)) * (rng.random((QUERIES, ITEMS)) < 0.3)
    relevance[0] = 0  # a query that nothing answers
    return torch.from_numpy(scores), torch.from_numpy(relevance)


# --- against other implementations ----------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 5, 25])
def test_ndcg_equals_scikit_learn(k, ties):
    scores, relevance = problem(0, ties)
    linear, exponential = (
        metrics.ndcg_at(Ranking.of_scores(scores), relevance, k, gain=g) for g in ("linear", "exponential")
    )
    for q in range(QUERIES):
        score = scores[q : q + 1].numpy()
        assert linear[q] == pytest.approx(ndcg_score(relevance[q : q + 1].numpy(), score, k=k))
        assert exponential[q] == pytest.approx(ndcg_score(2 ** relevance[q : q + 1].numpy() - 1, score, k=k))


@pytest.mark.parametrize("k", [1, 5, 25])
@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (metrics.hit_at, theirs.retrieval_hit_rate),
        (metrics.recall_at, theirs.retrieval_recall),
        (metrics.precision_at, theirs.retrieval_precision),
    ],
)
def test_binary_metrics_equal_torchmetrics(ours, reference, k):
    scores, relevance = problem(1, grades=2)
    expected = [reference(scores[q], relevance[q], top_k=k) for q in range(QUERIES)]
    assert ours(Ranking.of_scores(scores), relevance, k).tolist() == pytest.approx(
        torch.tensor(expected).tolist()
    )


def test_reciprocal_rank_and_rank_equal_torchmetrics():
    scores, relevance = problem(2, grades=2)
    ranking = Ranking.of_scores(scores)
    expected = torch.tensor(
        [theirs.retrieval_reciprocal_rank(scores[q], relevance[q]) for q in range(QUERIES)]
    )
    assert metrics.reciprocal_rank(ranking, relevance).tolist() == pytest.approx(expected.tolist())
    assert metrics.first_rank(ranking, relevance).tolist() == pytest.approx((1 / expected).tolist())


def test_retrieved_ideal_equals_scikit_learn_on_the_retrieved_items():
    scores, relevance = problem(3)
    ranking = Ranking.of_scores(scores)
    ndcg = metrics.ndcg_at(ranking, relevance, 5, ideal="retrieved", gain="linear")
    top = ranking.top(5)
    for q in range(QUERIES):
        expected = ndcg_score(relevance[q, top.indices[q]][None].numpy(), top.scores[q][None].numpy())
        assert ndcg[q] == pytest.approx(expected)


# --- ties, against every order --------------------------------------------------------------------


def over_all_orders(scores, relevance, metric):
    """The mean of a metric over all rankings that the scores allow, each made free of ties."""
    values = []
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            falling = torch.arange(len(order), 0.0, -1)[None]
            untied = Ranking(torch.tensor([order]), falling, gallery_size=len(order))
            values.append(metric(untied, relevance[None]).item())
    return np.mean(values)


ALL_METRICS = {
    **{f"{m.__name__} {k}": (lambda r, g, m=m, k=k: m(r, g, k)) for m in AT_K for k in (1, 2, 4, 6)},
    "reciprocal_rank": metrics.reciprocal_rank,
    "first_rank": metrics.first_rank,
    "attribution_at 3": lambda r, g: metrics.attribution_at(r, g / 4, 3),
    "linear ndcg 3": lambda r, g: metrics.ndcg_at(r, g, 3, gain="linear"),
}


@pytest.mark.parametrize("name", ALL_METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_ties_take_the_mean_over_all_orders(name, seed):
    rng = np.random.default_rng(seed)
    scores, relevance = torch.from_numpy(rng.integers(0, 3, 6) / 2), torch.from_numpy(rng.integers(0, 4, 6))
    relevance[scores == scores.max()] *= seed % 2  # let the first relevant item stand further down, too
    tied = ALL_METRICS[name](Ranking.of_scores(scores[None]), relevance[None]).item()
    assert tied == pytest.approx(over_all_orders(scores, relevance, ALL_METRICS[name]))


def test_one_relevant_item_among_equals_is_hit_by_chance():
    ranking = Ranking.of_scores(torch.zeros(1, 20))
    relevance = torch.eye(20)[:1]
    assert metrics.hit_at(ranking, relevance, 5).item() == pytest.approx(5 / 20)
    assert metrics.first_rank(ranking, relevance).item() == pytest.approx(21 / 2)
    assert metrics.reciprocal_rank(ranking, relevance).item() == pytest.approx(np.mean(1 / np.arange(1, 21)))


def test_a_tie_inside_the_retrieved_list_keeps_its_ideal():
    ranking = Ranking.of_scores(torch.tensor([[2.0, 2.0, 1.0]]))
    relevance = torch.tensor([[1, 0, 3]])
    expected = over_all_orders(
        ranking.scores[0], relevance[0], lambda r, g: metrics.ndcg_at(r, g, 2, ideal="retrieved")
    )
    assert metrics.ndcg_at(ranking, relevance, 2, ideal="retrieved").item() == pytest.approx(expected)


# --- properties -----------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 500), ties=st.booleans())
def test_more_places_never_hurt(seed, ties):
    scores, relevance = problem(seed, ties)
    ranking = Ranking.of_scores(scores)
    for metric in (metrics.hit_at, metrics.recall_at):
        by_k = torch.stack([metric(ranking, relevance, k) for k in range(1, ITEMS + 1)])
        assert (by_k.diff(dim=0) > -1e-9).all()
        assert by_k.min() >= 0
        assert by_k.max() <= 1 + 1e-9


@few
@given(seed=st.integers(0, 500), ideal=st.sampled_from(["corpus", "retrieved"]), k=st.integers(1, ITEMS))
def test_ndcg_stays_between_0_and_1(seed, ideal, k):
    scores, relevance = problem(seed, ties=True)
    ndcg = metrics.ndcg_at(Ranking.of_scores(scores), relevance, k, ideal=ideal)
    assert ndcg.min() >= 0
    assert ndcg.max() <= 1 + 1e-9


@few
@given(seed=st.integers(0, 500))
def test_the_order_of_the_gallery_does_not_matter(seed):
    scores, relevance = problem(seed, ties=True)
    order = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(seed))
    plain = metrics.evaluate(Ranking.of_scores(scores), relevance)
    permuted = metrics.evaluate(Ranking.of_scores(scores[:, order]), relevance[:, order])
    np.testing.assert_allclose(plain, permuted)


def test_ranking_by_grade_is_perfect():
    _, relevance = problem(4)
    frame = metrics.evaluate(Ranking.of_scores(relevance.double()), relevance)
    answered = frame[(relevance > 0).any(1).numpy()]
    assert np.allclose(answered, 1)


def test_a_query_that_nothing_answers_scores_zero():
    scores, relevance = problem(5)
    unanswered = metrics.evaluate(Ranking.of_scores(scores), relevance).iloc[0]
    assert unanswered.pop("rank") == np.inf
    assert (unanswered == 0).all()
    assert metrics.recall_at(Ranking.of_scores(scores), relevance, 5)[0] == 0


def test_both_directions_are_evaluated_alike():
    images = torch.nn.functional.normalize(
        torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    captions = images.repeat_interleave(5, dim=0)  # five captions an image, as good as the image itself
    owner = torch.arange(12).repeat_interleave(5)
    relevance = (owner[:, None] == torch.arange(12)[None, :]).byte()
    t2i = metrics.evaluate(shortlist(captions, images, 10), relevance)
    i2t = metrics.evaluate(shortlist(images, captions, 10), relevance.T)
    assert (t2i["R@1"] == 1).all()
    assert (i2t["R@1"] == 1).all()
    assert (metrics.recall_at(shortlist(images, captions, 10), relevance.T, 5) == 1).all()
    assert metrics.recall_at(shortlist(images, captions, 10), relevance.T, 2).numpy() == pytest.approx(0.4)


# --- over queries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_interval_equals_scipy(statistic):
    values = np.random.default_rng(0).exponential(size=200)
    ours = metrics.bootstrap_interval(values, statistic, resamples=5000)
    reference = stats.bootstrap((values,), statistic, n_resamples=5000, method="percentile", rng=1)
    tolerance = 0.1 * reference.standard_error  # Monte Carlo error of a 2.5 % quantile of 5,000: 0.04
    assert ours.value == statistic(values)
    assert ours.low == pytest.approx(reference.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(reference.confidence_interval.high, abs=tolerance)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(50.0)
    assert metrics.bootstrap_interval(values, seed=3) == metrics.bootstrap_interval(values, seed=3)
    assert metrics.bootstrap_interval(values, seed=3) != metrics.bootstrap_interval(values, seed=4)


def test_paired_bootstrap_agrees_with_the_t_test_on_many_queries():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=400)
    a, b = difficulty + rng.normal(0.02, 0.2, 400), difficulty + rng.normal(0, 0.2, 400)
    ours, reference = metrics.paired_bootstrap(a, b, resamples=10_000), stats.ttest_rel(a, b)
    interval = reference.confidence_interval()
    width = interval.high - interval.low
    assert ours.value == pytest.approx((a - b).mean())
    assert ours.low == pytest.approx(interval.low, abs=0.05 * width)
    assert ours.high == pytest.approx(interval.high, abs=0.05 * width)
    assert ours.p == pytest.approx(reference.pvalue, abs=0.02)


def test_no_difference_has_p_1_and_a_constant_one_the_smallest_p():
    a = np.arange(30.0)
    assert metrics.paired_bootstrap(a, a) == metrics.Difference(0, 0, 0, p=1)
    assert metrics.paired_bootstrap(a + 1, a, resamples=999).p == pytest.approx(0.002)


def test_summary_has_a_row_per_metric_and_ranks_by_median():
    scores, relevance = problem(6)
    frame = metrics.evaluate(Ranking.of_scores(scores), relevance, ks=(1, 10))
    table = metrics.summarise(frame).set_index("metric")
    assert list(table.index) == ["R@1", "R@10", "nDCG@1", "nDCG@10", "MRR", "median rank"]
    assert table.loc["R@10", "value"] == pytest.approx(frame["R@10"].mean())
    assert table.loc["median rank", "value"] == frame["rank"].median()
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert (table["queries"] == QUERIES).all()


def test_ranks_that_are_mostly_infinite_have_an_infinite_median():
    interval = metrics.bootstrap_interval([1, 2, 3] + [np.inf] * 20, np.median)
    assert (interval.value, interval.high) == (np.inf, np.inf)


# --- queries that share a picture -----------------------------------------------------------------


def shared(seed=0, pictures=40):
    """Results of two methods on one to six queries a picture, alike within a picture; and whose they are."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(pictures), rng.integers(1, 7, pictures)))
    hard = rng.normal(size=pictures)[groups]
    a, b = (hard + rng.normal(0, 0.3, len(groups)) > 0 for _ in range(2))
    return a.astype(float), b.astype(float), [f"{group}.jpg" for group in groups]


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_whole_groups_are_resampled(statistic):
    """Against a loop over names."""
    values, _, groups = shared()
    names, rng, resampled = list(dict.fromkeys(groups)), np.random.default_rng(5), []
    for _ in range(199):
        drawn = [names[i] for i in rng.integers(len(names), size=len(names))]
        resampled.append(
            statistic([v for name in drawn for v, of in zip(values, groups, strict=True) if of == name])
        )
    found = metrics.bootstrap_interval(values, statistic, groups=groups, resamples=199, seed=5)
    low, high = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf")
    assert (found.value, found.low, found.high) == pytest.approx((statistic(values), low, high))


def test_queries_that_are_asked_again_do_not_narrow_an_interval():
    values = np.random.default_rng(0).random(60)
    once, again = metrics.bootstrap_interval(values), np.repeat(values, 5)
    grouped = metrics.bootstrap_interval(again, groups=np.repeat(np.arange(60), 5))
    alone = metrics.bootstrap_interval(again)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((once.value, once.low, once.high))
    assert alone.high - alone.low < 0.6 * (grouped.high - grouped.low), "the mistake that groups prevent"
    frame = pd.DataFrame({"R@1": again > 0.5, "rank": again})
    table = metrics.summarise(frame, groups=np.repeat(np.arange(60), 5))
    expected = metrics.summarise(pd.DataFrame({"R@1": values > 0.5, "rank": values}))
    assert table[["value", "low", "high"]].to_numpy() == pytest.approx(
        expected[["value", "low", "high"]].to_numpy()
    )


def test_groups_of_one_query_change_nothing():
    a, b, _ = shared()
    names = [f"{i}.jpg" for i in range(len(a))]
    assert metrics.bootstrap_interval(a, groups=names) == metrics.bootstrap_interval(a)
    assert metrics.paired_bootstrap(a, b, groups=names) == metrics.paired_bootstrap(a, b)


def test_a_difference_resamples_the_same_pictures_for_both():
    a, b, groups = shared()
    found = metrics.paired_bootstrap(a, b, groups=groups, seed=2)
    alone = metrics.bootstrap_interval(a - b, groups=groups, seed=2)
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
    assert metrics.paired_bootstrap(a, a, groups=groups) == metrics.Difference(0, 0, 0, p=1)


def test_one_group_says_nothing_about_others():
    values, other = [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]
    for one, groups in ((values, ["a.jpg"] * 3), (values[:1], None)):
        found = metrics.bootstrap_interval(one, groups=groups)
        assert (found.low, found.high) == (-np.inf, np.inf)
        assert metrics.paired_bootstrap(one, other[: len(one)], groups=groups).p == 1


def test_a_group_may_be_a_tuple():
    values, names = [1.0, 0.0, 1.0, 1.0], [("a", 1), ("a", 2), ("a", 1), ("b", 1)]
    assert metrics.bootstrap_interval(values, groups=names) == metrics.bootstrap_interval(
        values, groups=[str(name) for name in names]
    )


@pytest.mark.parametrize(
    "groups", [["a"], ["a", None], ["a", float("nan")], ["a", "b", "c"], [["a", "b"]], [["a"], ["b"]]]
)
def test_groups_that_do_not_fit_are_refused(groups):
    for attempt in (
        lambda: metrics.bootstrap_interval([1.0, 2.0], groups=groups),
        lambda: metrics.paired_bootstrap([1.0, 2.0], [0.0, 1.0], groups=groups),
        lambda: metrics.chance_interval(0.5, 2, groups=groups),
    ):
        with pytest.raises(ValueError, match="groups must"):
            attempt()


# --- luck -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [0.02, 0.25, 0.5])
def test_luck_lies_in_its_interval(chance):
    """Even where all queries of a picture share it; and an interval that is half as wide would not do."""
    _, _, groups = shared(1)
    codes = pd.factorize(np.array(groups))[0]
    lucky = np.random.default_rng(0).random((4000, codes.max() + 1)) < chance
    figures = lucky[:, codes].mean(1)
    found = metrics.chance_interval(chance, len(groups), groups=groups)
    assert found.value == chance
    assert 0.93 < np.mean((figures >= found.low) & (figures <= found.high)) <= 1
    alone = metrics.chance_interval(chance, len(groups))
    assert found.low <= alone.low <= chance <= alone.high <= found.high


@pytest.mark.parametrize("sure", [0, 1])
def test_what_is_sure_is_no_luck(sure):
    assert metrics.chance_interval(sure, 10) == metrics.Interval(sure, sure, sure)


@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan"), 50])
def test_a_chance_that_is_none_is_refused(chance):
    with pytest.raises(ValueError, match="chance must be"):
        metrics.chance_interval(chance, 10)


def test_luck_of_no_queries_is_refused():
    with pytest.raises(ValueError, match="queries must be"):
        metrics.chance_interval(0.5, 0)


def test_grades_too_high_for_an_exponential_gain_are_no_silent_nan():
    ranking, grades = Ranking.of_scores(torch.tensor([[2.0, 1.0]])), torch.tensor([[0, 1024]])
    with pytest.raises(ValueError, match="relevance"):
        metrics.ndcg_at(ranking, grades, 2)
    assert metrics.ndcg_at(ranking, grades, 2, gain="linear").item() == pytest.approx(1 / np.log2(3))


def test_grades_that_carry_gradients_are_read_as_grades():
    ranking, grades = Ranking.of_scores(torch.tensor([[2.0, 1.0]])), torch.tensor([[0.0, 1.0]])
    plain = metrics.evaluate(ranking, grades, ks=(1, 2))
    pd.testing.assert_frame_equal(metrics.evaluate(ranking, grades.requires_grad_(), ks=(1, 2)), plain)


# --- bad inputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*AT_K, metrics.attribution_at])
@pytest.mark.parametrize("k", [0, 6])
def test_k_must_lie_within_the_ranking(metric, k):
    scores, relevance = problem(0)
    with pytest.raises(ValueError, match=f"k must be 1 to 5, the length of the ranking, got {k}"):
        metric(Ranking.of_scores(scores, k=5), relevance, k)


def test_relevance_must_fit_the_ranking():
    scores, relevance = problem(0)
    with pytest.raises(ValueError, match=r"queries x gallery, \(30, 25\), got \(25, 30\)"):
        metrics.evaluate(Ranking.of_scores(scores), relevance.T)


@pytest.mark.parametrize("bad", [-1.0, torch.nan, torch.inf])
def test_grades_are_finite_and_not_negative(bad):
    scores, relevance = problem(0)
    relevance = relevance.double()
    relevance[3, 3] = bad
    with pytest.raises(ValueError, match="relevance"):
        metrics.evaluate(Ranking.of_scores(scores), relevance)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ties", [False, True])
def test_grades_may_have_any_type(dtype, ties):
    scores, relevance = problem(7, ties, grades=2)
    ranking, typed = Ranking.of_scores(scores), relevance.to(dtype)
    pd.testing.assert_frame_equal(metrics.evaluate(ranking, typed), metrics.evaluate(ranking, relevance))
    for metric in [*AT_K, metrics.attribution_at]:
        assert torch.allclose(metric(ranking, typed, 5), metric(ranking, relevance, 5))
    for options in ({"gain": "linear"}, {"ideal": "retrieved"}):
        given, expected = (metrics.ndcg_at(ranking, r, 5, **options) for r in (typed, relevance))
        assert torch.allclose(given, expected)


@pytest.mark.parametrize(
    "relevance", [np.zeros((30, 25)), [[1]], None, torch.zeros(30, 25, dtype=torch.complex64)]
)
def test_what_is_no_tensor_of_grades_is_refused_by_name(relevance):
    ranking = Ranking.of_scores(problem(0)[0])
    for metric in AT_K:
        with pytest.raises(TypeError, match="relevance"):
            metric(ranking, relevance, 5)
    with pytest.raises(TypeError, match="relevance"):
        metrics.evaluate(ranking, relevance)


@pytest.mark.parametrize(("argument", "message"), [("ideal", "ideal must be"), ("gain", "gain must be")])
def test_unknown_kinds_of_ndcg_are_refused(argument, message):
    scores, relevance = problem(0)
    with pytest.raises(ValueError, match=message):
        metrics.ndcg_at(Ranking.of_scores(scores), relevance, 5, **{argument: "best"})


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0], "same queries, got 2 and 1"),
        ([1.0, np.inf], [1.0, 2.0], "compare reciprocal ranks"),
        ([1.0, np.nan], [1.0, 2.0], "a must hold no NaN, got 1"),
        ([1.0], [], "b must be one number per query"),
    ],
)
def test_paired_bootstrap_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        metrics.paired_bootstrap(a, b)


@pytest.mark.parametrize(
    ("options", "message"), [({"resamples": 0}, "resamples must be"), ({"confidence": 95}, "between 0 and 1")]
)
def test_bootstrap_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval([1.0, 2.0], **options)
