"""Reranking by neighbourhoods and its peers: loops, brute force, POT and scipy; flags; what is refused."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from near_ties import assert_same_ranking
from scipy.optimize import linear_sum_assignment
from scipy.stats import skew
from torch.testing import assert_close

from geoclip_lite import neighbourhood, transport
from geoclip_lite.neighbourhood import (
    LIFT,
    MATCHERS,
    RULES,
    TextBank,
    csls,
    dual_softmax,
    dynamic,
    global_assignment,
    hubness,
    inverted_softmax,
    match,
    neighbourhoods,
    nnn,
    partners,
    rescale,
    sinkhorn,
)
from geoclip_lite.retrieval import Ranking, shortlist, unit_rows
from geoclip_lite.transport import Problems

PEERS = (csls, nnn, inverted_softmax, dual_softmax, sinkhorn)
few = settings(max_examples=20, deadline=None)


def gaussian(rows, dim=6, seed=0):
    return unit_rows(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), "vectors")


def in_sample(n=12, k=5, seed=0):
    """Queries, their gallery, the shortlist, the bank of all queries and their rows in it."""
    queries, gallery = gaussian(n, seed=seed), gaussian(n + 3, seed=seed + 1000)
    return queries, gallery, shortlist(queries, gallery, k), TextBank(queries, True), torch.arange(n)


def held_out(texts=20, seed=7):
    return TextBank(gaussian(texts, seed=seed), in_sample=False)


def cosines(a, b):
    return (unit_rows(a.double(), "a") @ unit_rows(b.double(), "b").T).numpy()


# --- who stands beside a query --------------------------------------------------------------------


def assert_best(found, scores):
    """Different rows with the highest of the scores, best first, but for the order of near ties."""
    highest = sorted(scores.values(), reverse=True)[: len(found)]
    assert [scores[row] for row in found] == pytest.approx(highest, abs=1e-6)
    assert len(set(found)) == len(found)


@few
@given(m=st.integers(1, 12), k=st.integers(1, 15), seed=st.integers(0, 99))
def test_neighbours_against_loops(m, k, seed):
    queries, gallery, first, bank, own = in_sample(k=k, seed=seed)
    to_query, to_image = cosines(queries, queries), cosines(queries, gallery)
    for rule in ("text-text", "reverse"):
        found = neighbourhoods(first, queries, bank, gallery, m, rule, own)
        for q in range(12):
            others = [row for row in range(12) if row != q]
            by_image = {row: max(to_image[row, j] for j in first.indices[q].tolist()) for row in others}
            by_query = {row: to_query[q, row] for row in others}
            assert_best(found[q].tolist(), by_query if rule == "text-text" else by_image)
            assert len(found[q]) == m - 1


@few
@given(m=st.integers(1, 21), seed=st.integers(0, 99))
def test_neighbours_from_a_held_out_bank(m, seed):
    queries, gallery, first, _, _ = in_sample(seed=seed)
    bank = held_out()
    to_query = cosines(queries, bank.vectors)
    to_any = cosines(bank.vectors, gallery)[:, first.indices].max(-1).T  # queries x texts
    for rule, scores in (("text-text", to_query), ("reverse", to_any)):
        near = neighbourhoods(first, queries, bank, gallery, m, rule)
        assert near.shape == (12, m - 1)
        for row, of_query in zip(near.tolist(), scores, strict=True):
            assert_best(row, dict(enumerate(of_query)))


def test_global_is_everyone_else_whatever_m():
    queries, gallery, first, bank, own = in_sample(4, 2)
    for m in (1, 3, 99):
        found = neighbourhoods(first, queries, bank, gallery, m, "global", own)
        assert found.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert neighbourhoods(first, queries, held_out(3), gallery, 1, "global").tolist() == [[0, 1, 2]] * 4


@pytest.mark.parametrize("rule", RULES)
def test_copies_of_the_query_stay_and_only_its_own_row_goes(rule):
    queries = torch.cat([gaussian(1).repeat(4, 1), gaussian(3, seed=1)])
    gallery, own = gaussian(8, seed=2), torch.arange(7)
    first = shortlist(queries, gallery, 8)
    found = neighbourhoods(first, queries, TextBank(queries, True), gallery, 4, rule, own)
    assert not (found == own[:, None]).any()
    if rule == "text-text":
        assert [set(row) | {q} for q, row in enumerate(found[:4].tolist())] == [{0, 1, 2, 3}] * 4


def test_partners_are_the_captions_of_the_candidates():
    indices = torch.tensor([[2, 0, 1], [3, 2, 0]])
    first = Ranking(indices, torch.zeros(2, 3), gallery_size=4)
    captions = torch.tensor([10, 11, 12, 13])
    own = torch.tensor([10, 11])  # the second query's image is not among its candidates
    assert partners(first, captions, own).tolist() == [[12, 11], [13, 12]]


def test_the_leak_finds_what_cosine_does_not():
    meant = gaussian(60, 16)
    queries, gallery = (unit_rows(meant + 0.5 * gaussian(60, 16, seed), "vectors") for seed in (1, 2))
    first, own, bank = shortlist(queries, gallery, 10), torch.arange(60), TextBank(queries, True)

    def hits(ranking):
        return int((ranking.indices[:, 0] == own).sum())

    leaky = match(first, queries, gallery, bank, partners(first, own, own), oracle=True)
    honest = match(first, queries, gallery, bank, neighbourhoods(first, queries, bank, gallery, 10, own=own))
    assert hits(leaky) > hits(first)
    assert hits(leaky) > hits(honest)


# --- sharing out the images -----------------------------------------------------------------------


def assigned_by_hand(costs):
    """The first row's column in the cheapest one-to-one matching of all, or None."""
    m, k = costs.shape
    if m <= k:
        ways = [list(enumerate(columns)) for columns in permutations(range(k), m)]
    else:
        ways = [[(row, j) for j, row in enumerate(rows)] for rows in permutations(range(m), k)]
    cheapest = min(ways, key=lambda pairs: sum(costs[pair] for pair in pairs))
    return dict(cheapest).get(0)


@few
@given(m=st.integers(1, 5), k=st.integers(1, 5), seed=st.integers(0, 999))
def test_assignment_against_all_ways(m, k, seed):
    queries, gallery, first, bank, own = in_sample(6, k, seed)
    near = neighbourhoods(first, queries, bank, gallery, m, "reverse", own)
    found = match(first, queries, gallery, bank, near)
    for q in range(6):
        shown = first.indices[q]
        gained = cosines(queries[[q, *near[q].tolist()]], gallery[shown])
        column = assigned_by_hand(1 - gained)
        scores = gained[0] + LIFT * (np.arange(k) == column)
        order = np.argsort(-scores)
        assert found.indices[q].tolist() == shown[order].tolist()
        np.testing.assert_allclose(found.scores[q], scores[order], atol=1e-9)


def one_problem(queries, gallery, first, near, q):
    texts = unit_rows(queries[[q, *near[q].tolist()]].double(), "texts")
    images = unit_rows(gallery[first.indices[q]].double(), "images")
    return [1 - a @ b.T for a, b in ((texts, images), (texts, texts), (images, images))]


@pytest.mark.parametrize(("m", "k"), [(3, 3), (4, 4), (2, 4), (4, 2), (6, 9), (9, 6)])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_fgw_orders_by_a_plan_that_is_no_worse_than_pots(m, k, alpha):
    queries, gallery, first, bank, own = in_sample(k=k)
    near = neighbourhoods(first, queries, bank, gallery, m, own=own)
    found = match(first, queries, gallery, bank, near, matcher="fgw", alpha=alpha)
    for q in range(4):
        costs, left, right = one_problem(queries, gallery, first, near, q)
        plan = transport.solve(Problems.of([costs], [left], [right]), alpha=alpha, plans=True).plan(0)
        pots = ot.gromov.fused_gromov_wasserstein2(
            costs.numpy(), left.numpy(), right.numpy(), alpha=alpha, tol_rel=1e-12, tol_abs=1e-12
        )
        assert float(transport.objective(costs, left, right, plan, alpha)) <= pots + 1e-9
        shares = (plan[0] * m).round(decimals=9).tolist()
        order = sorted(range(k), key=lambda j, s=shares, c=costs: (-s[j], float(c[0, j])))
        assert found.indices[q].tolist() == first.indices[q, order].tolist()


def test_without_structure_fgw_of_equally_many_is_the_assignment():
    queries, gallery, first, bank, own = in_sample(30, 6)
    near = neighbourhoods(first, queries, bank, gallery, 6, own=own)
    one = match(first, queries, gallery, bank, near)
    other = match(first, queries, gallery, bank, near, matcher="fgw", alpha=0)
    assert torch.equal(one.indices, other.indices)
    assert_close(one.scores, other.scores)


def test_all_texts_against_the_whole_gallery_is_the_global_assignment():
    queries, gallery, _, bank, own = in_sample()
    first = shortlist(queries, gallery, 15)
    near = neighbourhoods(first, queries, bank, gallery, 1, "global", own)
    found, wanted = match(first, queries, gallery, bank, near), global_assignment(queries, gallery)
    assert torch.equal(found.indices, wanted.indices)
    assert_close(found.scores, wanted.scores)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_alone_a_query_keeps_the_order_of_the_cosine(matcher):
    queries, gallery, first, bank, own = in_sample()
    near = neighbourhoods(first, queries, bank, gallery, 1, own=own)
    found = match(first, queries, gallery, bank, near, matcher=matcher)
    assert torch.equal(found.indices, first.indices)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_only_the_shortlist_is_reordered(matcher):
    queries, gallery, first, bank, own = in_sample()
    near = neighbourhoods(first, queries, bank, gallery, 9, own=own)
    found = match(first, queries, gallery, bank, near, matcher=matcher)
    assert torch.equal(found.indices.sort(1).values, first.indices.sort(1).values)
    assert found.method == f"neighbourhood {matcher}"


def test_texts_that_are_far_away_change_nothing():
    """Texts at right angles to all images take any, as long as there are enough."""
    queries, gallery = (torch.nn.functional.pad(v, (0, 1)) for v in (gaussian(5), gaussian(9, seed=1)))
    far = TextBank(torch.eye(7)[-1:].repeat(3, 1), in_sample=False)
    first = shortlist(queries, gallery, 6)
    near = neighbourhoods(first, queries, far, gallery, 4)
    assert torch.equal(match(first, queries, gallery, far, near).indices, first.indices)
    for peer in (csls, nnn):
        assert torch.equal(rescale(first, peer(far, gallery, k=2), far, "").indices, first.indices)
    for peer in (inverted_softmax, dual_softmax):
        assert torch.equal(rescale(first, peer(far, gallery), far, "").indices, first.indices)


def test_of_the_copies_of_an_image_one_is_assigned_and_the_others_tie():
    queries, gallery = gaussian(50, 64), gaussian(60, 64, seed=1)
    copies = torch.arange(60) % 3 == 0
    gallery[copies] = gallery[0].clone()
    first, bank = shortlist(queries, gallery, 60), TextBank(queries, True)
    near = neighbourhoods(first, queries, bank, gallery, 50, own=torch.arange(50))
    found = match(first, queries, gallery, bank, near)
    assert ((found.scores > 1.5).sum(1) == 1).all()  # there are images for all
    for scores, is_copy in zip(found.scores, copies[found.indices], strict=True):
        assert len(scores[is_copy & (scores < 1.5)].unique()) == 1


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("rule", RULES)
def test_the_size_of_blocks_changes_nothing(matcher, rule, monkeypatch):
    queries, gallery, first, bank, own = in_sample(30, 6)
    results = []
    for entries in (1, 1_000, 10_000_000):
        monkeypatch.setattr(neighbourhood, "ENTRIES_AT_ONCE", entries)
        near = neighbourhoods(first, queries, bank, gallery, 5, rule, own)
        found = match(first, queries, gallery, bank, near, matcher=matcher)
        results.append((near, found, [peer(bank, gallery, beta=9) for peer in PEERS[2:]]))
    for near, found, biases in results[1:]:
        assert torch.equal(near, results[0][0])
        assert_same_ranking(found, results[0][1])
        assert_close(biases, results[0][2])


def test_work_of_long_shows_a_bar(capsys, monkeypatch):
    queries, gallery, first, bank, own = in_sample()
    near = neighbourhoods(first, queries, bank, gallery, 3, own=own)
    match(first, queries, gallery, bank, near)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(neighbourhood, "PATIENCE", 0)
    match(first, queries, gallery, bank, near)
    assert "12/12" in capsys.readouterr().err
    match(first, queries, gallery, bank, near, progress=False)
    assert capsys.readouterr().err == ""


# --- peers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4, 20])
def test_mean_of_nearest_texts_against_loops(k):
    gallery, bank = gaussian(9), held_out(20)
    grid = cosines(bank.vectors, gallery)
    means = [sum(sorted((grid[i, j] for i in range(20)), reverse=True)[:k]) / k for j in range(9)]
    assert_close(csls(bank, gallery, k), torch.tensor(means) / 2, atol=1e-6, rtol=0)
    assert_close(nnn(bank, gallery, k, strength=0.3), torch.tensor(means) * 0.3, atol=1e-6, rtol=0)


def test_csls_ranks_as_its_formula_does():
    queries, gallery, first, bank, _ = in_sample(30, 20)
    grid = cosines(queries, gallery)
    of_text = np.sort(grid, axis=1)[:, -10:].mean(1)
    of_image = np.sort(grid, axis=0)[-10:].mean(0)
    formula = torch.from_numpy(2 * grid - of_text[:, None] - of_image[None, :])
    found = rescale(first, csls(bank, gallery), bank, "CSLS")
    assert torch.equal(found.indices, first.rescored(formula.gather(1, first.indices), "").indices)


@pytest.mark.parametrize("beta", [0.5, 20.0, 200.0])
def test_softmaxes_against_loops(beta):
    queries, gallery, first, bank, _ = in_sample(14, 17)
    grid = cosines(queries, gallery)
    over_texts = np.zeros_like(grid)
    over_images = np.zeros_like(grid)
    for i in range(14):
        for j in range(17):
            over_texts[i, j] = -np.log(sum(np.exp(beta * (grid[t, j] - grid[i, j])) for t in range(14)))
            over_images[i, j] = -np.log(sum(np.exp(beta * (grid[i, t] - grid[i, j])) for t in range(17)))
    for peer, wanted in ((inverted_softmax, over_texts), (dual_softmax, over_texts + over_images)):
        found = rescale(first, peer(bank, gallery, beta), bank, "")
        share = wanted / (beta if peer is inverted_softmax else 2 * beta)
        gaps = found.scores - torch.from_numpy(share).gather(1, found.indices)
        assert_close(gaps, gaps[:, :1].expand_as(gaps), atol=1e-6, rtol=0)  # one constant a query


def test_sinkhorn_against_pot():
    queries, gallery, first, bank, _ = in_sample(14, 17)
    grid, beta = cosines(queries, gallery), 8.0
    even = [np.full(n, 1 / n) for n in grid.shape]
    plan, log = ot.sinkhorn(*even, -grid, 1 / beta, stopThr=1e-13, numItermax=10_000, log=True)
    bias = sinkhorn(bank, gallery, beta, rounds=10_000)
    wanted = -np.log(log["v"]) / beta
    np.testing.assert_allclose(bias, wanted - wanted.mean(), atol=1e-5)
    found = rescale(first, bias, bank, "Sinkhorn")
    assert torch.equal(
        found.indices, first.rescored(torch.from_numpy(plan).gather(1, first.indices), "").indices
    )


def test_sinkhorn_spreads_the_mass_evenly_and_stops_early():
    gallery, bank = gaussian(11), held_out(20)
    grid, beta = torch.from_numpy(cosines(bank.vectors, gallery)), 8.0
    plan = torch.softmax(beta * (grid - sinkhorn(bank, gallery, beta)), dim=1) / 20  # each text sends 1/20
    assert_close(plan.sum(0), torch.full((11,), 1 / 11).double(), atol=1e-6, rtol=0)
    assert_close(sinkhorn(bank, gallery, beta, 100), sinkhorn(bank, gallery, beta, 100_000))
    assert (sinkhorn(bank, gallery, beta, 1) - sinkhorn(bank, gallery, beta, 100)).abs().max() > 1e-4


def test_sinkhorn_counts_its_rounds_and_stops_when_they_change_nothing(monkeypatch):
    sums, log_sum = [], torch.logsumexp
    monkeypatch.setattr(torch, "logsumexp", lambda *args, **how: sums.append(1) or log_sum(*args, **how))
    for rounds, most in ((3, 6), (10_000, 200)):
        sums.clear()
        sinkhorn(held_out(), gaussian(11), 8.0, rounds)
        assert 6 <= len(sums) <= most  # two a round


def test_dynamic_against_loops():
    _, gallery, first, _, _ = in_sample(40, 8)
    bank = held_out(12)
    biased = rescale(first, 3 * csls(bank, gallery, 3), bank, "CSLS")
    found = dynamic(first, biased, bank, gallery)
    hubs = {max(range(43), key=lambda j, row=row: row[j]) for row in cosines(bank.vectors, gallery)}
    is_active = [int(first.indices[q, 0]) in hubs for q in range(40)]
    assert 0 < sum(is_active) < 40
    for q, active in enumerate(is_active):
        source = biased if active else first
        assert found.indices[q].tolist() == source.indices[q].tolist()
        assert found.scores[q].tolist() == source.scores[q].tolist()
    assert found.method == "dynamic CSLS"


def test_dynamic_is_no_choice_where_the_queries_are_in_the_bank():
    _, gallery, first, bank, _ = in_sample(40, 8)
    biased = rescale(first, csls(bank, gallery, 3), bank, "CSLS")
    assert torch.equal(dynamic(first, biased, bank, gallery).indices, biased.indices)


@few
@given(n=st.integers(1, 12), more=st.integers(0, 5), seed=st.integers(0, 99))
def test_global_assignment_against_scipy(n, more, seed):
    queries, gallery = gaussian(n, seed=seed), gaussian(n + more, seed=seed + 1)
    grid = cosines(queries, gallery)
    found = global_assignment(queries, gallery)
    rows, columns = linear_sum_assignment(-grid)
    assert found.indices[:, 0].tolist() == columns.tolist()
    for q in rows:
        others = [j for j in np.argsort(-grid[q]) if j != columns[q]]
        assert found.indices[q, 1:].tolist() == others
    assert found.transductive


def test_the_image_assigned_comes_first_even_if_it_is_opposite():
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = global_assignment(queries, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert sorted(found.indices[:, 0].tolist()) == [0, 1]
    assert (found.scores[:, 0] > found.scores[:, 1]).all()


@pytest.mark.parametrize("peer", PEERS)
def test_a_constant_on_top_of_a_bias_changes_no_ranking(peer):
    _, gallery, first, bank, _ = in_sample(30)
    bias = peer(bank, gallery)
    assert bias.shape == (33,)
    one, other = (rescale(first, bias + constant, bank, "") for constant in (0, 5.0))
    assert torch.equal(one.indices, other.indices)


@pytest.mark.parametrize("peer", PEERS)
def test_copies_of_an_image_share_a_bias_and_still_tie(peer):
    order = torch.randperm(65, generator=torch.Generator().manual_seed(0))
    gallery = torch.cat([gaussian(1).repeat(5, 1), gaussian(60, seed=1)])[order]
    bank, first = held_out(30), shortlist(gaussian(8, seed=3), gallery, 65)
    found = rescale(first, peer(bank, gallery), bank, "")
    assert [len(row.unique()) for row in first.scores] == [61] * 8
    assert [len(row.unique()) for row in found.scores] == [61] * 8


def test_a_hub_is_taken_down():
    common = torch.eye(16)[0]  # in all texts alike, in some images more than in others
    queries = unit_rows(gaussian(200, 16) + common, "queries")
    gallery = unit_rows(gaussian(200, 16, 1) + torch.linspace(0, 2, 200)[:, None] * common, "gallery")
    first, bank = shortlist(queries, gallery, 200), TextBank(queries, True)
    for peer in PEERS:
        assert hubness(rescale(first, peer(bank, gallery), bank, "")) < hubness(first) / 2


def test_hubness_counts_and_skews():
    first = in_sample(30, 8)[2]
    counts = [sum(item in row for row in first.indices[:, :5].tolist()) for item in range(33)]
    assert hubness(first, 5) == pytest.approx(skew(counts))
    everywhere = shortlist(gaussian(4), gaussian(3, seed=1), 3)
    assert hubness(everywhere, 3) == 0


# --- flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("is_in", [True, False])
@pytest.mark.parametrize("oracle", [True, False])
def test_flags_say_what_was_read(matcher, is_in, oracle):
    queries, gallery, first, _, own = in_sample()
    bank = TextBank(queries, True) if is_in else held_out()
    near = neighbourhoods(first, queries, bank, gallery, 3, own=own if is_in else None)
    found = match(first, queries, gallery, bank, near, matcher=matcher, oracle=oracle)
    assert (found.transductive, found.oracle) == (is_in, oracle)
    biased = rescale(first, csls(bank, gallery), bank, "CSLS")
    for peer in (biased, dynamic(first, biased, bank, gallery)):
        assert (peer.transductive, peer.oracle) == (is_in, False)


def test_flags_stay():
    queries, gallery, first, _, _ = in_sample()
    bank, seen = held_out(), replace(first, oracle=True, transductive=True)
    near = neighbourhoods(seen, queries, bank, gallery, 3)
    biased = rescale(seen, csls(bank, gallery), bank, "")
    kept = (match(seen, queries, gallery, bank, near), biased, dynamic(first, biased, bank, gallery))
    assert all(ranking.oracle and ranking.transductive for ranking in kept)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [torch.empty(0, 6), torch.empty(3, 0), torch.ones(6)])
def test_an_empty_bank_is_refused(vectors):
    with pytest.raises(ValueError, match="vectors of a bank must be a non-empty matrix, one text a row"):
        TextBank(vectors, False)


@pytest.mark.parametrize("entry", [2.0, float("nan")])
def test_a_bank_holds_unit_rows(entry):
    with pytest.raises(ValueError, match="row 1 is not: pass them through unit_rows"):
        TextBank(torch.tensor([[1.0, 0.0], [0.0, entry]]), False)


def test_neighbourhoods_that_cannot_be_are_refused():
    queries, gallery, first, bank, own = in_sample()
    for rule in ("text-text", "reverse"):
        for m in (0, 13):
            with pytest.raises(ValueError, match=rf"m must be 1 to 12, the query and .*, got {m}"):
                neighbourhoods(first, queries, bank, gallery, m, rule, own)
        with pytest.raises(ValueError, match="m must be 1 to 21"):
            neighbourhoods(first, queries, held_out(), gallery, 22, rule)
    with pytest.raises(ValueError, match=r"rule must be one of text-text, reverse, global, got 'nearest'"):
        neighbourhoods(first, queries, bank, gallery, 3, "nearest", own)


def test_who_is_who_in_the_bank_must_be_said():
    queries, gallery, first, bank, own = in_sample()
    with pytest.raises(ValueError, match="own must say which row of the bank is which query, got None"):
        neighbourhoods(first, queries, bank, gallery, 3)
    with pytest.raises(ValueError, match="own must be None for a bank without test queries"):
        neighbourhoods(first, queries, held_out(), gallery, 3, own=own)
    for wrong in (own[:5], own + 1, own - 1, own.float()):
        with pytest.raises(
            ValueError, match="own must hold one row per query, 12 int64 numbers from 0 to 11"
        ):
            neighbourhoods(first, queries, bank, gallery, 3, own=wrong)


def test_partners_that_cannot_be_are_refused():
    first, own = in_sample()[2], torch.arange(12)
    for wrong in (torch.arange(14), torch.zeros(15, dtype=torch.long)):
        with pytest.raises(
            ValueError, match="caption_of must hold one row of the bank per item, 15, none twice"
        ):
            partners(first, wrong, own)
    with pytest.raises(ValueError, match="own must hold one row per query, 12"):
        partners(first, torch.arange(15), own[:3])


def test_neighbours_are_different_rows_of_the_bank():
    queries, gallery, first, bank, _ = in_sample()
    for wrong in (torch.zeros(11, 2).long(), torch.zeros(12).long(), torch.zeros(12, 2)):
        with pytest.raises(ValueError, match="neighbours must be an int64 matrix, one row per query, 12"):
            match(first, queries, gallery, bank, wrong)
    for entries in ([3, 3], [0, 12], [-1, 0]):
        with pytest.raises(ValueError, match="neighbours must be different rows of the bank, 0 to 11"):
            match(first, queries, gallery, bank, torch.tensor(entries).repeat(12, 1))


def test_options_of_match_that_cannot_be_are_refused():
    queries, gallery, first, bank, _ = in_sample()
    near = torch.zeros(12, 1).long()
    with pytest.raises(ValueError, match="matcher must be one of assignment, fgw, got 'hungarian'"):
        match(first, queries, gallery, bank, near, matcher="hungarian")
    with pytest.raises(ValueError, match="alpha must be 0"):
        match(first, queries, gallery, bank, near, matcher="fgw", alpha=1.1)


def test_vectors_that_do_not_fit_are_refused():
    queries, gallery, first, bank, own = in_sample()
    near = neighbourhoods(first, queries, bank, gallery, 2, own=own)
    for asked, shown, name in ((queries[1:], gallery, "queries"), (queries, gallery[1:], "gallery_vectors")):
        for call in (
            lambda a, s: neighbourhoods(first, a, bank, s, 2, own=own),
            lambda a, s: match(first, a, s, bank, near),
        ):
            with pytest.raises(ValueError, match=f"{name} must be those that the ranking was made from"):
                call(asked, shown)
    with pytest.raises(ValueError, match=r"gallery_vectors must be those .* 15 rows, got 14"):
        dynamic(first, first, bank, gallery[1:])
    short = gaussian(15, dim=4)
    for call in (
        lambda: neighbourhoods(first, queries, bank, short, 2, own=own),
        lambda: match(first, queries, short, bank, near),
        lambda: dynamic(first, first, bank, short),
        lambda: global_assignment(queries, short),
        *(lambda peer=peer: peer(bank, short) for peer in PEERS),
    ):
        with pytest.raises(
            ValueError, match=r"must come from one space, got vectors of length .*6 in .*4 in"
        ):
            call()


@pytest.mark.parametrize("k", [0, 21])
@pytest.mark.parametrize("peer", [csls, nnn])
def test_a_peer_cannot_look_at_more_texts_than_there_are(peer, k):
    with pytest.raises(ValueError, match=f"k must be 1 to 20, the texts of the bank, got {k}"):
        peer(held_out(20), gaussian(5), k)


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf")])
def test_numbers_that_must_be_positive(wrong):
    for peer in (inverted_softmax, dual_softmax, sinkhorn):
        with pytest.raises(ValueError, match=f"beta must be a finite number above 0, got {wrong}"):
            peer(held_out(), gaussian(5), beta=wrong)
    with pytest.raises(ValueError, match="rounds must be a finite number above 0"):
        sinkhorn(held_out(), gaussian(5), rounds=wrong)
    with pytest.raises(ValueError, match="strength must be a finite number above 0"):
        nnn(held_out(), gaussian(5), strength=wrong)


def test_a_matrix_too_large_for_sinkhorn_is_refused(monkeypatch):
    monkeypatch.setattr(neighbourhood, "MOST_ENTRIES", 99)
    with pytest.raises(ValueError, match=r"at most 99 pairs, got 20 texts x 5 items: sample its texts"):
        sinkhorn(held_out(), gaussian(5))


def test_a_bias_is_one_finite_number_per_item():
    first, bank = in_sample()[2], held_out()
    with pytest.raises(ValueError, match=r"bias must hold one finite number per item, 15, got shape \(14,\)"):
        rescale(first, torch.zeros(14), bank, "")
    with pytest.raises(ValueError, match="3 of them not finite"):
        rescale(first, torch.zeros(15).index_fill(0, torch.arange(3), torch.nan), bank, "")


def test_dynamic_needs_the_same_shortlists():
    _, gallery, first, bank, _ = in_sample()
    with pytest.raises(ValueError, match="biased must rerank the shortlists of first"):
        dynamic(first, first.top(3), bank, gallery)


def test_more_queries_than_items_are_refused():
    with pytest.raises(
        ValueError, match="queries must be at most as many as items, 3, got 4: some would get"
    ):
        global_assignment(gaussian(4), gaussian(3))


def test_hubness_of_lists_that_are_too_short_is_refused():
    with pytest.raises(ValueError, match="k must be 1 to 5"):
        hubness(in_sample()[2], 6)
