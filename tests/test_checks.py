"""Exercises that answer: solutions pass, plausible mistakes get the right words, stubs are derived."""

import math
from collections import Counter
from fractions import Fraction
from itertools import permutations, product

import nbformat
import numpy as np
import pytest
import torch
from built_book import ROOT
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score
from torch.nn.functional import normalize

from geoclip_lite import checks, course, transport
from geoclip_lite.transport import objective

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SHOWN_TO_READERS = {  # names that the chapters have imported when the exercises begin
    "checks": checks,
    "np": np,
    "binom": binom,
    "torch": torch,
    "transport": transport,
    "Counter": Counter,
    "linear_sum_assignment": linear_sum_assignment,
}


def cells(path, tag):
    return [c for c in nbformat.read(path, as_version=4).cells if tag in c.metadata.get("tags", [])]


# --- stubs and solutions in the notebooks ---------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stubs_are_derived_from_solutions(path):
    stubs, solutions = cells(path, "stub"), cells(path, "solution")
    assert len(solutions) >= 3
    assert [c.source for c in stubs] == [course.stub(c.source) for c in solutions]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_solution_passes_its_check_and_every_stub_says_what_to_do(path):
    for tag, passes in [("solution", True), ("stub", False)]:
        for cell in cells(path, tag):
            *body, check = cell.source.strip().splitlines()
            namespace = dict(SHOWN_TO_READERS)
            exec("\n".join(body), namespace)
            feedback = eval(check, namespace)
            assert feedback.passed == passes, f"{check}: {feedback}"
            assert passes or "Not written yet" in feedback.message


def test_a_stub_keeps_all_but_the_answer():
    solution = (
        "def f(x):\n    ### BEGIN SOLUTION\n    y = 2 * x\n    return y\n    ### END SOLUTION\n\n\ncheck(f)"
    )
    assert course.stub(solution) == 'def f(x):\n    raise NotImplementedError("your turn")\n\n\ncheck(f)'


@pytest.mark.parametrize("text", ["x = 1", "### BEGIN SOLUTION\nx = 1", "x\n### END SOLUTION"])
def test_unmarked_solutions_are_refused(text):
    with pytest.raises(ValueError, match="solution"):
        course.stub(text)


# --- mistakes -------------------------------------------------------------------------------------


def normalised(x):
    return x / x.norm(dim=1, keepdim=True)


def matches(pictures, titles):
    pairs = list(zip(pictures, titles, strict=True))
    return torch.tensor([[float(p == q or t == u) for q, u in pairs] for p, t in pairs])


def shares(match):
    return match / match.sum(1, keepdim=True)


def unsorted(scenes):
    return [tuple(word for thing in scene for word in thing) for scene in scenes]


def bags(scenes):
    return [tuple(sorted(word for thing in scene for word in thing)) for scene in scenes]


def shared_neighbours(a, b, k, skip_self=True):
    if skip_self:
        a, b = (d.clone().fill_diagonal_(float("inf")) for d in (a, b))
    near = [d.argsort(1)[:, :k].tolist() for d in (a, b)]
    return sum(len(set(x) & set(y)) for x, y in zip(*near, strict=True)) / (k * len(a))


def rotation(x, y):
    u, _, vt = torch.linalg.svd(x.T @ y)
    return u @ vt


def averaged(encode, phrases, templates):
    return normalised(sum(encode([t.format(p) for p in phrases]) for t in templates))


def softmin(scores, temperature):
    return -temperature * ((-scores / temperature).logsumexp(0) - torch.tensor(len(scores)).log())


def gw(left, right, plan, cross=2):
    p, q = plan.sum(1), plan.sum(0)
    return p @ left**2 @ p + q @ right**2 @ q - cross * torch.einsum("ik,jl,ij,kl", left, right, plan, plan)


def uniform_gw(left, right, plan):
    squares = (left**2).mean() + (right**2).mean()
    return squares - 2 * torch.einsum("ik,jl,ij,kl", left, right, plan, plan)


def lowest_over_maps(costs, left, right, alpha, mass=None, apart=False):
    n, m = costs.shape
    choices = permutations(range(m), n) if apart and n <= m else product(range(m), repeat=n)
    plans = [torch.eye(m, dtype=costs.dtype)[list(choice)] * (mass or 1 / n) for choice in choices]
    return min(objective(costs, left, right, plan, alpha) for plan in plans)


def nearest_each(costs, left, right, alpha):
    n, m = costs.shape
    return objective(costs, left, right, torch.eye(m, dtype=costs.dtype)[costs.argmin(1)] / n, alpha)


def matched(costs, price=float("inf")):
    """The best one-to-one matching of as many as can be; pairs dearer than the price are paid at it."""
    rows, columns = linear_sum_assignment(costs.clamp(max=price))
    return costs.clamp(max=price)[rows, columns].sum() + (len(costs) - len(rows)) * min(price, 1e6)


def greedily(costs, price):
    """The cheapest pair, again and again; what is dearer than the price is given up."""
    costs, paid = costs.clone(), []
    for _ in range(min(costs.shape)):
        i, j = divmod(int(costs.argmin()), costs.shape[1])
        paid.append(min(float(costs[i, j]), price))
        costs[i, :] = costs[:, j] = torch.inf
    return sum(paid) + price * (len(costs) - len(paid))


def capped_late(costs, price):
    rows, columns = linear_sum_assignment(costs)
    return costs[rows, columns].clamp(max=price).sum() + price * (len(costs) - len(rows))


def every_way(costs, price):
    """The chapter's search, which needs a column for every row."""
    ways = permutations(range(costs.shape[1]), len(costs))
    return min(sum(min(float(costs[i, j]), price) for i, j in enumerate(way)) for way in ways)


def could(which, **others):
    return {name: name in which for name in "ABCD"} | others


def market(scores, rounds=300):
    """Prices at which every image gets as much as any other."""
    price = torch.zeros(scores.shape[1], dtype=scores.dtype)
    for _ in range(rounds):
        price = price + (scores - price).softmax(dim=1).sum(dim=0).log()
    return price - price.mean()


def said(features, w_v, b_v, w_c, b_c):
    """What places say, not scaled."""
    return (features.flatten(2).mT @ w_v.T + b_v) @ w_c.T + b_c


def pushed(queries, directions, strengths):
    return torch.nn.functional.normalize(queries + strengths[:, None] * directions, dim=1)


def crossing(query, direction, a, b):
    faster = direction @ b - direction @ a
    return float((query @ a - query @ b) / faster) if faster > 0 else float("inf")


def left_of(direction, others):
    fit = torch.linalg.lstsq(others.T, direction[:, None]).solution[:, 0]
    return direction - others.T @ fit


def one_by_one(direction, others):
    for other in others:
        direction = direction - (direction @ other) * other
    return direction / direction.norm()


def merged(objects, which, direction, strength, rescale=True):
    moved = objects.clone()
    moved[which] = moved[which] + strength * direction
    if rescale:
        moved[which] = moved[which] / moved[which].norm()
    return moved.mean(0)


def in_place(objects, which, direction, strength):
    objects[which] += strength * direction
    return objects.mean(0)


def differing(wanted, shown, pairs):
    return [(i, s) for i, j in pairs for s in wanted[i] if wanted[i][s] != shown[j][s]]


def sideways(before, after, noise):
    aside = noise - (noise @ before) * before
    return aside / aside.norm()


def stepped(before, after, noise, sign=1):
    cosine = before @ after
    return cosine * before + sign * (1 - cosine**2).sqrt() * sideways(before, after, noise)


def enough(k, share, sure, over=1):
    """How many rows hold k that pass (or more than k, with over=0)."""
    return next(n for n in range(k, 20_000) if share == 1 or binom.sf(k - over, n, share) >= sure)


def by_score(shards):
    return sorted({row for shard in shards for row in shard}, key=lambda row: -row[1])


def advantages(rewards, dims=1, spread=None):
    centred = rewards - rewards.mean(dims, keepdim=True)
    return centred / (rewards.std(dims, keepdim=True) + 1e-4 if spread is None else spread(rewards))


def clipped(ratio, advantage, clip, choose=torch.minimum):
    return choose(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def places_above(scores, right):
    return (scores > scores.gather(1, right[:, None])).sum(1)


def gains(reward, change, rewrites=200, n=5):
    """Does any rewrite earn more after this change of its cosines?"""
    scores = torch.rand(rewrites, n, generator=torch.Generator().manual_seed(1))
    right = torch.zeros(rewrites, dtype=torch.int64)
    return bool((reward(change(scores), right) > reward(scores, right) + 1e-4).any())


def kappa(a, b, chance):
    agreed = sum(map(int.__eq__, a, b)) / len(a)
    return (agreed - chance) / (1 - chance)


def own_rates(a, b):
    return sum(a.count(label) * b.count(label) for label in {*a, *b}) / len(a) ** 2


def pooled_rates(a, b):
    return sum(n**2 for n in Counter(a + b).values()) / (2 * len(a)) ** 2


def dcg(grades, gain=lambda g: 2**g - 1, first=2):
    return sum(gain(g) / math.log2(i) for i, g in enumerate(grades, first))


def ndcg(ranked, ideal, **about):
    return dcg(ranked, **about) / dcg(ideal, **about) if any(ideal) else 0.0


def best(grades, k=None):
    return sorted(grades, reverse=True)[:k]


def as_share(share):
    return min(1, max(0, share))


MISTAKES = [
    (checks.group_advantages, lambda r: r - r.mean(1, keepdim=True), "Divide by the spread"),
    (checks.group_advantages, lambda r: advantages(r, (0, 1)), "all rewrites with each other"),
    (checks.group_advantages, lambda r: advantages(r, 0), "down the columns"),
    (
        checks.group_advantages,
        lambda r: advantages(r, spread=lambda x: x.std(1, keepdim=True)),
        "spread is 0",
    ),
    (checks.group_advantages, lambda r: r, "differ"),
    (checks.group_advantages, lambda r: r.mean(1), "one number per rewrite"),
    (checks.clipped_objective, lambda ratio, a, c: ratio * a, "Nothing is clipped"),
    (checks.clipped_objective, lambda ratio, a, c: ratio.clamp(1 - c, 1 + c) * a, "never be put right"),
    (checks.clipped_objective, lambda ratio, a, c: ratio.clamp(max=1 + c) * a, "multiply first"),
    (checks.clipped_objective, lambda ratio, a, c: clipped(ratio, a, c, torch.maximum), "optimist"),
    (checks.clipped_objective, lambda ratio, a, c: -clipped(ratio, a, c), "other sign"),
    (checks.clipped_objective, lambda ratio, a, c: clipped(ratio, a, 0.2), "differs"),
    (checks.rank_reward, lambda s, r: s.gather(1, r[:, None])[:, 0], "similarity"),
    (checks.rank_reward, lambda s, r: places_above(s, r) / (s.shape[1] - 1), "Upside down"),
    (checks.rank_reward, lambda s, r: 1 / (1 + places_above(s, r)), "reciprocal"),
    (checks.rank_reward, lambda s, r: 1 - places_above(s, r) / s.shape[1], "last place"),
    (checks.rank_reward, lambda s, r: 1 - (1 + places_above(s, r)) / s.shape[1], "first place"),
    (checks.rank_reward, lambda s, r: 1 - r / (s.shape[1] - 1), "in which column"),
    (checks.rank_reward, lambda s, r: s.mean(1), "differ"),
    (checks.rank_reward, lambda s, r: None, "return"),
    (checks.inflatable, lambda reward: True, "cannot be inflated"),
    (checks.inflatable, lambda reward: False, "can be inflated"),
    (checks.inflatable, lambda reward: gains(reward, lambda s: s + 0.3, rewrites=1), "several rises"),
    (
        checks.inflatable,
        lambda reward: not gains(reward, lambda s: s * torch.tensor([1.0, 0, 0, 0, 0])),
        "half of the rise",
    ),
    (checks.inflatable, lambda reward: not gains(reward, lambda s: s - 0.3), "be inflated"),
    (
        checks.inflatable,
        lambda reward: reward(torch.rand(3, 4), torch.zeros(3).long()) > 0,
        "one True or False",
    ),
    (checks.cohen_kappa, lambda a, b: sum(map(int.__eq__, a, b)) / len(a), "plain agreement"),
    (checks.cohen_kappa, lambda a, b: kappa(a, b, own_rates(a, b)) * (1 - own_rates(a, b)), "to gain"),
    (checks.cohen_kappa, lambda a, b: kappa(a, b, 1 / len({*a, *b})), "all labels alike"),
    (checks.cohen_kappa, lambda a, b: kappa(a, b, pooled_rates(a, b)), "Scott's pi"),
    (checks.cohen_kappa, lambda a, b: float(np.corrcoef(a, b)[0, 1]), "expected"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(r[:k])), "Use the pool"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(r, k)), "Use the pool"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(p)), "only k places"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r, best(p, k)), "of the ranking count"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], p[:k]), "in no order"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(p, k), gain=float), "2 to its power"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(p, k), first=3), "log2(2)"),
    (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(p, k)) if any(p) else 1.0, "score 0"),
    (checks.judged_ndcg, lambda r, p, k: dcg(r[:k]) / dcg(best(p, k)), "ZeroDivisionError"),
    (checks.judged_ndcg, lambda r, p, k: 0.123 * any(p), "expected"),
    (checks.true_share, lambda share, hits, alarms: share, "errors and all"),
    (checks.true_share, lambda share, hits, alarms: as_share(share / hits), "take them off"),
    (checks.true_share, lambda share, hits, alarms: as_share(share - alarms), "misses some: divide"),
    (checks.true_share, lambda s, hits, alarms: hits * s + alarms * (1 - s), "the other way round"),
    (checks.true_share, lambda share, hits, alarms: share * hits, "not less"),
    (checks.true_share, lambda share, hits, alarms: (share - alarms) / (hits - alarms), "stop there"),
    (checks.true_share, lambda share, hits, alarms: 0.123, "expected"),
    (checks.recall_at, lambda f, w, k: len({*f[:k]} & {*w[:k]}) / max(1, len(f[:k])), "divide by the truth"),
    (checks.recall_at, lambda f, w, k: len({*f} & {*w[:k]}) / len(w[:k]), "only the first"),
    (checks.recall_at, lambda f, w, k: len({*f[:k]} & {*w[:k]}) / k, "could be found at all"),
    (checks.recall_at, lambda f, w, k: sum(map(str.__eq__, f[:k], w[:k])) / len(w[:k]), "place by place"),
    (checks.recall_at, lambda f, w, k: 0.5, "were found"),
    (checks.over_fetch, lambda k, share, sure: math.ceil(k / share), "half of the time"),
    (checks.over_fetch, lambda k, share, sure: enough(k, share, sure, over=0), "k are enough"),
    (checks.over_fetch, lambda k, share, sure: k, "with probability"),
    (checks.over_fetch, lambda k, share, sure: 2 * enough(k, share, sure), "are enough, you ask"),
    (checks.over_fetch, lambda k, share, sure: k / share + 0.5, "whole number"),
    (checks.merge_shards, lambda s, k: [n for shard in s for n, _ in shard][:k], "one after the other"),
    (checks.merge_shards, lambda s, k: [n for n, _ in by_score([x[: k // len(s)] for x in s])], "you return"),
    (
        checks.merge_shards,
        lambda s, k: [n for n, _ in by_score([x[: -(-k // len(s))] for x in s])][:k],
        "misses a row",
    ),
    (checks.merge_shards, lambda s, k: [n for n, _ in by_score(s)[:k][::-1]], "best first"),
    (
        checks.merge_shards,
        lambda s, k: [n for n, _ in sorted([row for x in s for row in x], key=lambda r: -r[1])][:k],
        "once",
    ),
    (checks.slowest, lambda s: np.percentile(s, 95, axis=0).sum(), "adds the stages"),
    (checks.slowest, lambda s: s.sum(1).mean(), "the mean"),
    (checks.slowest, lambda s: np.percentile(s, 95), "single stages"),
    (checks.slowest, lambda s: s.sum(1).max(), "95th percentile is"),
    (checks.residual, lambda x, f, a: x + a * f(x), "length 1"),
    (checks.residual, lambda x, f, a: normalised(f(x)), "two-tower"),
    (checks.residual, lambda x, f, a: normalised((1 - a) * x + a * f(x)), "blends"),
    (checks.residual, lambda x, f, a: normalised(x + a * normalised(f(x))), "normalised residual"),
    (checks.residual, lambda x, f, a: normalised(x + a * f(x))[:1], "one row per vector"),
    (checks.residual, lambda x, f, a: x, "differ"),
    (checks.shared_targets, lambda p, t: torch.eye(len(t)), "plain target"),
    (checks.shared_targets, lambda p, t: matches(p, t).double(), "sum to 1"),
    (checks.shared_targets, lambda p, t: shares(matches(range(len(t)), t)), "Equal pictures count too"),
    (checks.shared_targets, lambda p, t: shares(matches(p, t))[:1], "one row per pair"),
    (checks.shared_targets, lambda p, t: shares(matches(p, t)).flip(0), "differ"),
    (checks.clamped_scale, lambda s: (math.exp(s), math.exp(s)), "at most 100"),
    (checks.clamped_scale, lambda s: (min(math.exp(s), 100), math.exp(s)), "slope there"),
    (checks.clamped_scale, lambda s: (min(math.exp(s), 100), 1.0), "the slope is"),
    (checks.clamped_scale, lambda s: min(math.exp(s), 100), "two numbers"),
    (checks.least_cosine, lambda a: 1 / math.sqrt(1 + a**2), "right angle"),
    (checks.least_cosine, lambda a: 1 - a, "how short"),
    (checks.least_cosine, lambda a: 1.0, "does not turn"),
    (checks.least_cosine, lambda a: math.sqrt(max(0, 1 - a**2)), "opposite"),
    (checks.least_cosine, lambda a: 0.5, "can be reached"),
    (checks.push, lambda q, v, s: q + s[:, None] * v, "length 1"),
    (checks.push, lambda q, v, s: (q + s[:, None] * v) / (q + s[:, None] * v).norm(), "whole matrix"),
    (checks.push, lambda q, v, s: pushed(q, -v, s), "backwards"),
    (
        checks.push,
        lambda q, v, s: torch.nn.functional.normalize((1 - s[:, None]) * q + s[:, None] * v, dim=1),
        "blends",
    ),
    (checks.push, lambda q, v, s: pushed(q, v, s)[0], "one row per query"),
    (checks.push, lambda q, v, s: q, "differ"),
    (checks.tipping_point, lambda q, v, a, b: -crossing(q, v, a, b), "sign"),
    (checks.tipping_point, lambda q, v, a, b: 1 / crossing(q, v, a, b), "Upside down"),
    (checks.tipping_point, lambda q, v, a, b: float((q @ (a - b)) / (v @ (b - a))), "return infinity"),
    (checks.tipping_point, lambda q, v, a, b: 0.5, "not level"),
    (checks.without, one_by_one, "one projection after the other"),
    (checks.without, lambda d, o: d - (o @ d) @ o, "all projections at once"),
    (checks.without, left_of, "length 1"),
    (checks.without, lambda d, o: d, "still has a component"),
    (checks.without, lambda d, o: o, "8 numbers"),
    (checks.steer_then_merge, in_place, "work on a copy"),
    (checks.steer_then_merge, merged, "Scale the average"),
    (
        checks.steer_then_merge,
        lambda o, w, d, s: torch.nn.functional.normalize(merged(o, w, d, s, rescale=False), dim=0),
        "counts for more",
    ),
    (
        checks.steer_then_merge,
        lambda o, w, d, s: torch.nn.functional.normalize(
            pushed(o, d[None], torch.tensor([s])).mean(0), dim=0
        ),
        "every object",
    ),
    (checks.steer_then_merge, lambda o, w, d, s: torch.nn.functional.normalize(o.mean(0), dim=0), "differs"),
    (checks.mispaired, differing, "missing values"),
    (checks.mispaired, lambda w, s, p: [], "expected"),
    (checks.mispaired, lambda w, s, p: len(p), "Return a list"),
    (checks.random_step, sideways, "cosine with before"),
    (checks.random_step, lambda b, a, n: stepped(b, a, n, sign=-1), "against the noise"),
    (checks.random_step, lambda b, a, n: 2 * stepped(b, a, n), "length 1"),
    (checks.random_step, lambda b, a, n: a, "not in the direction of the noise"),
    (checks.match_or_leave, lambda m, price: m.clamp(max=price).amin(1).sum(), "share a column"),
    (
        checks.match_or_leave,
        lambda m, price: matched(m) if len(m) <= m.shape[1] else matched(m, price),
        "better stay alone",
    ),
    (checks.match_or_leave, lambda m, price: matched(m, price) - max(0, len(m) - m.shape[1]) * price, "pay"),
    (checks.match_or_leave, lambda m, price: matched(m, price) / len(m), "a mean"),
    (checks.match_or_leave, capped_late, "cap before you match"),
    (checks.match_or_leave, greedily, "That is greedy"),
    (
        checks.match_or_leave,
        lambda m, price: matched(m, price) + max(0, m.shape[1] - len(m)) * price,
        "charge columns",
    ),
    (checks.match_or_leave, lambda m, price: matched(m, price) + price * (m.shape[1] - len(m)), "columns"),
    (checks.match_or_leave, lambda m, price: matched(m.clamp_(max=price), price), "changes the table"),
    (checks.match_or_leave, every_way, "`M` had 4 rows and 2 columns"),
    (checks.match_or_leave, lambda m, price: 0.5, "expected"),
    (checks.oracle_r1, lambda i, right: right.gather(1, i)[:, 0].double().mean(), "before reranking"),
    (checks.oracle_r1, lambda i, right: right.amax(1).double().mean(), "outside the shortlist"),
    (checks.oracle_r1, lambda i, right: right.gather(1, i).sum(1).double().mean(), "count once"),
    (checks.oracle_r1, lambda i, right: torch.tensor(0.5), "expected"),
    (checks.oracle_r1, lambda i, right: right[i].amax(1).double().mean(), "`indices` had shape (20, 4)"),
    (checks.csls_bias, lambda t, i, k: (i @ t.T).topk(k, dim=1).values.mean(1), "Half of that"),
    (
        checks.csls_bias,
        lambda t, i, k: (i @ t.T).topk(k, dim=1, largest=False).values.mean(1) / 2,
        "farthest",
    ),
    (checks.csls_bias, lambda t, i, k: (t @ i.T).mean(1), "one number per image"),
    (checks.csls_bias, lambda t, i, k: (i @ t.T).mean(1) / 3, "differ"),
    (checks.prices, lambda scores: -market(scores), "The sign is wrong"),
    (checks.prices, lambda scores: market(scores, rounds=1), "rounds enough"),
    (checks.prices, lambda scores: market(scores) + 1, "take the mean off"),
    (checks.prices, lambda scores: scores, "one price per image"),
    (
        checks.ceiling,
        lambda copies, k: sum(min(k, c) / c for c in copies) / len(copies),
        "average over images",
    ),
    (checks.ceiling, lambda copies, k: k * len(copies) / sum(copies), "at most 1"),
    (checks.ceiling, lambda copies, k: 0.5, "expected"),
    (checks.value_path, lambda f, a, b, c, d: said(f, a, b, c, d), "length one"),
    (checks.value_path, lambda f, a, b, c, d: normalize(said(f, a, b, c, 0 * d), dim=-1), "last bias"),
    (checks.value_path, lambda f, a, b, c, d: normalize(said(f.mT, a, b, c, d), dim=-1), "column by column"),
    (checks.value_path, lambda f, a, b, c, d: normalize(said(f, a, 0 * b, c, d), dim=-1), "differ"),
    (checks.value_path, lambda f, a, b, c, d: f, "places x dim"),
    (checks.max_sim, lambda p, w: (w @ p.T).amax(2).mean(1), "the other way round"),
    (checks.max_sim, lambda p, w: (w @ p.T).amax(1).sum(1), "not the sum"),
    (checks.max_sim, lambda p, w: (w @ p.T).amax(1), "one score per picture"),
    (checks.max_sim, lambda p, w: (w @ p.T).mean((1, 2)), "differ"),
    (checks.best_picture, lambda bounds, exact: max(range(len(bounds)), key=exact), "are enough"),
    (checks.best_picture, lambda bounds, exact: bounds.index(max(bounds)), "the best is number"),
    (checks.best_picture, lambda bounds, exact: [exact(0), exact(0), 0][2], "twice"),
    (checks.expected_hit, lambda tied, right: float(right > 0), "luckiest"),
    (checks.expected_hit, lambda tied, right: right, "at most 1"),
    (checks.expected_hit, lambda tied, right: 1 / tied, "one particular candidate"),
    (checks.expected_hit, lambda tied, right: right == tied, "unluckiest"),
    (checks.expected_hit, lambda tied, right: 0.25, "expected"),
    (checks.deployable, lambda: None, "return"),
    (checks.deployable, lambda: [True, False, True, False], "a dictionary"),
    (checks.deployable, lambda: {"A": True, "B": False}, "the keys A, B, C, D"),
    (checks.deployable, lambda: could("A", C="yes"), "not 'yes'"),
    (checks.deployable, lambda: could("C"), "A reads the user's own words"),
    (checks.deployable, lambda: could("ABC"), "An annotation stays one"),
    (checks.deployable, lambda: could("A"), "from a detector"),
    (checks.deployable, lambda: could("ACD"), "which picture is right"),
    (checks.hit_at_k, lambda ranks, k: (ranks < k).float().mean(), "start at 1"),
    (checks.hit_at_k, lambda ranks, k: (ranks <= k).sum(), "how many"),
    (checks.hit_at_k, lambda ranks, k: 100 * (ranks <= k).float().mean(), "percent"),
    (checks.hit_at_k, lambda ranks, k: (ranks > k).float().mean(), "misses"),
    (checks.hit_at_k, lambda ranks, k: 1 / 0, "stopped in line"),
    (checks.hit_at_k, lambda ranks, k: (ranks <= k).mean(), "stopped in line"),
    (checks.hit_at_k, lambda ranks, k: (ranks <= k).float(), "not a tensor of shape (6,)"),
    (checks.hit_at_k, lambda ranks, k: 0.5 * (ranks <= k).float().mean(), "expected 0.833"),
    (checks.retrieve, lambda q, x, k: (q @ x.T).topk(k).indices, "length"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).topk(k).values, "scores"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).argsort()[:, :k], "descending"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).topk(k).indices.flip(1), "order"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).argsort(descending=True), "shape"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).topk(k, dim=0).indices, "shape"),
    (checks.retrieve, lambda q, x, k: (q @ (x / x.norm(dim=0)).T).topk(k).indices, "dim=1"),
    (checks.retrieve, lambda q, x, k: (q @ normalised(x).T).topk(3).indices, "any k"),
    (checks.retrieve, lambda q, x, k: [[0] * k] * len(q), "tensor"),
    (
        checks.bag_ceiling,
        lambda scenes: len(set(map(frozenset, bags(scenes)))) / len(scenes),
        "count how often",
    ),
    (checks.bag_ceiling, lambda scenes: len({tuple(sorted(s)) for s in scenes}) / len(scenes), "who owns"),
    (
        checks.bag_ceiling,
        lambda scenes: len({tuple(w for o in s for w in o) for s in scenes}) / len(scenes),
        "order",
    ),
    (
        checks.bag_ceiling,
        lambda scenes: sum(n == 1 for n in Counter(bags(scenes)).values()) / len(scenes),
        "probability 1/n",
    ),
    (checks.bag_ceiling, lambda scenes: 6, "a count"),
    (checks.bag_ceiling, lambda scenes: 0.748, "simulate"),
    (checks.bag_ceiling, lambda scenes: 0.123, "expected 0.750"),
    (checks.overlap, lambda a, b, k: shared_neighbours(a, b, k, skip_self=False), "its own nearest"),
    (checks.overlap, lambda a, b, k: shared_neighbours(-a, -b, k), "farthest"),
    (checks.overlap, lambda a, b, k: k * shared_neighbours(a, b, k) * 5, "divide by k"),
    (checks.overlap, lambda a, b, k: 0.9, "expected 0.278"),
    (checks.rotation, lambda x, y: torch.linalg.lstsq(x, y).solution, "not orthogonal"),
    (checks.rotation, lambda x, y: rotation(x, y).T, "turns y to x"),
    (checks.rotation, lambda x, y: torch.eye(4), "does not find it"),
    (checks.rotation, lambda x, y: x, "4 x 4"),
    (checks.folds_by_image, lambda ids, folds: [i % folds for i in range(len(ids))], "picture 'a'"),
    (checks.folds_by_image, lambda ids, folds: [0] * len(ids), "empty"),
    (checks.folds_by_image, lambda ids, folds: [0] * len(set(ids)), "One fold per pair"),
    (checks.folds_by_image, lambda ids, folds: [hash(i) % 100 + 3 for i in ids], "numbers are 0"),
    (checks.encode_with_templates, lambda e, p, t: averaged(e, p, t) / 3, "unit length again"),
    (checks.encode_with_templates, lambda e, p, t: e(p), "first template only"),
    (checks.encode_with_templates, lambda e, p, t: averaged(e, p[::-1], t), "over templates, not"),
    (checks.encode_with_templates, lambda e, p, t: averaged(e, p, t)[0], "shape (2, 6)"),
    (checks.merge, lambda s, t: -t * torch.logsumexp(-s / t, 0), "a mean"),
    (checks.merge, lambda s, t: -softmin(-s, t), "soft maximum"),
    (checks.merge, lambda s, t: s.mean(0), "expected"),
    (checks.merge, lambda s, t: s.mean(1), "one score per image"),
    (checks.merge, lambda s, t: -t * (-s / t).exp().mean(0).log(), "not finite at 0.0001"),
    (checks.at_least_one, lambda slots: 0.5**slots, "all"),
    (checks.at_least_one, lambda slots: 1 - 0.25**slots, "One coin"),
    (checks.at_least_one, lambda slots: 100 * (1 - 0.5**slots), "percent"),
    (checks.at_least_one, lambda slots: slots / 2 if slots == 1 else 0.9, "expected 0.9961"),
    (checks.gw_by_products, lambda a, b, t: -2 * ((a @ t @ b) * t).sum(), "mixed term alone"),
    (checks.gw_by_products, lambda a, b, t: (a**2).mean() + (b**2).mean(), "mixed term is missing"),
    (checks.gw_by_products, lambda a, b, t: gw(a, b, t, cross=1), "has a 2"),
    (checks.gw_by_products, lambda a, b, t: gw(a, b, t, cross=-2), "minus sign"),
    (checks.gw_by_products, uniform_gw, "the plan's own sums"),
    (checks.gw_by_products, lambda a, b, t: 1.0, "expected"),
    (checks.best_step, lambda a, b: -b / (2 * a), "as far as the vertex"),
    (checks.best_step, lambda a, b: min(1, max(0, -b / (2 * a))), "compare the two ends"),
    (checks.best_step, lambda a, b: 1.0, "lies inside"),
    (
        checks.gw_by_products,
        lambda a, b, t: (a @ a).mean() + (b @ b).mean() - 2 * (a @ t @ b * t).sum(),
        "C**2",
    ),
    (checks.semi_relaxed, nearest_each, "nearest one"),
    (checks.semi_relaxed, lambda m, a, b, alpha: lowest_over_maps(m, a, b, alpha, mass=1), "divide the plan"),
    (checks.semi_relaxed, lambda m, a, b, alpha: lowest_over_maps(m, a, b, alpha, apart=True), "may share"),
    (checks.semi_relaxed, lambda m, a, b, alpha: lowest_over_maps(m, a, b, 1 - alpha), "expected"),
]


@pytest.mark.parametrize(("check", "mistake", "words"), MISTAKES)
def test_a_mistake_is_answered_in_words(check, mistake, words):
    feedback = check(mistake)
    assert not feedback.passed
    assert words in feedback.message


@pytest.mark.parametrize("name", sorted({*checks.__all__} - {"Feedback"}))
def test_a_forgotten_return_is_named_by_every_check(name):
    feedback = getattr(checks, name)(lambda *a: None)
    assert not feedback.passed
    assert feedback.message == "Your function returns nothing: did you forget `return`?"


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.hit_at_k, lambda ranks, k: sum(int(rank) <= k for rank in ranks) / len(ranks)),
        (checks.hit_at_k, lambda ranks, k: (ranks <= k).half().mean()),
        (
            checks.retrieve,
            lambda q, x, k: torch.cosine_similarity(q[:, None], x[None], -1).argsort(1, True)[:, :k],
        ),
        (checks.bag_ceiling, lambda scenes: Fraction(len(Counter(bags(scenes))), len(scenes))),
        (checks.overlap, shared_neighbours),
        (checks.rotation, rotation),
        (checks.folds_by_image, lambda ids, folds: torch.tensor([ord(i) % folds for i in ids])),
        (checks.encode_with_templates, averaged),
        (checks.merge, softmin),
        (checks.at_least_one, lambda slots: 1 - 2.0**-slots),
        (checks.gw_by_products, gw),
        (checks.best_step, lambda a, b: min(range(101), key=lambda s: a * s * s / 100 + b * s) / 100),
        (checks.semi_relaxed, lowest_over_maps),
        (checks.match_or_leave, matched),
        (checks.expected_hit, lambda tied, right: torch.tensor(right) / tied),
        (checks.push, pushed),
        (checks.group_advantages, lambda r: torch.nn.functional.layer_norm(r, r.shape[1:], eps=1e-8)),
        (
            checks.clipped_objective,
            lambda r, a, c: torch.where(a > 0, r.clamp(max=1 + c), r.clamp(min=1 - c)) * a,
        ),
        (checks.rank_reward, lambda s, r: (s < s.gather(1, r[:, None])).double().sum(1) / (s.shape[1] - 1)),
        (checks.inflatable, lambda reward: gains(reward, lambda s: s + 0.1)),
        (checks.tipping_point, crossing),
        (checks.without, lambda d, o: torch.nn.functional.normalize(left_of(d, o), dim=0)),
        (checks.random_step, stepped),
        (checks.cohen_kappa, cohen_kappa_score),
        (checks.judged_ndcg, lambda r, p, k: ndcg(r[:k], best(p, k))),
        (checks.true_share, lambda s, hits, alarms: np.clip((s - alarms) / (hits - alarms), 0, 1)),
    ],
)
def test_other_right_solutions_pass(check, solution):
    assert check(solution).passed, check(solution)


def test_feedback_shows_a_tick_or_a_cross():
    assert repr(checks.Feedback(True, "Right.")) == "✓ Right."
    assert repr(checks.Feedback(False, "No.")) == "✗ No."
