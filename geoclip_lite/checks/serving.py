"""Checks of chapter 12, serving."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
from scipy.stats import binom

from geoclip_lite.checks.feedback import check, expect, number, returned, same


@check
def recall_at(function: Callable) -> str:
    """`function(found, wanted, k)`: the share of the true k nearest among the first k found."""
    lists = [
        ("abcdefgh", "abcdefgh", 4),
        ("badc", "abcd", 4),
        ("abxy", "abcd", 4),
        ("ab", "abcd", 4),
        ("xyab", "abcd", 2),
        ("axyzbcd", "abcd", 4),
        ("ab", "ab", 10),
        ("", "abc", 3),
    ]
    for found, wanted, k in lists:
        answer = number(function(list(found), list(wanted), k))
        first, true = found[:k], wanted[:k]
        hits = len({*first} & {*true})
        right, case = hits / len(true), f"found {list(found)}, true {list(wanted)}, k = {k}"
        aligned = sum(a == b for a, b in zip(first, true, strict=False)) / len(true)
        expect(
            not first or len(first) >= len(true) or not same(answer, hits / len(first)),
            f"{case}: you divide by what was found. A short list must cost something: divide by the truth.",
        )
        expect(
            same(right, len({*found} & {*true}) / len(true))
            or not same(answer, len({*found} & {*true}) / len(true)),
            f"{case}: only the first {k} that were found count.",
        )
        expect(
            same(right, aligned) or not same(answer, aligned),
            f"{case}: you compare place by place. The order among the first {k} does not matter.",
        )
        expect(
            len(true) == k or not same(answer, hits / k),
            f"{case}: only {len(true)} rows could be found at all, and they were. That is a recall of 1.",
        )
        expect(same(answer, right), f"{case}: {hits} of {len(true)} were found, got {answer:.3f}.")
    return "Right. A list that comes out short costs recall, as it should."


@check
def over_fetch(function: Callable) -> str:
    """`function(k, share, sure)`: how many rows to ask for so that k of them pass."""
    for k, share, sure in ((10, 0.5, 0.99), (1, 0.1, 0.9), (100, 0.02, 0.95), (5, 1.0, 0.99), (20, 0.3, 0.5)):
        answer = number(function(k, share, sure))
        case = f"k = {k}, {share:.0%} pass, sure {sure:.0%}"
        wanted = next(n for n in range(k, 20_000) if binom.sf(k - 1, n, share) >= sure)
        off = next(n for n in range(k, 20_000) if share == 1 or binom.sf(k, n, share) >= sure)
        expect(answer == int(answer), f"{case}: one asks for a whole number of rows, got {answer}.")
        average = int(np.ceil(k / share))
        expect(
            answer != average or average == wanted,
            f"{case}: {average} rows hold {k} that pass on average; that is too few about half of the time.",
        )
        expect(
            answer != off or off == wanted,
            f"{case}: you ask for more than k that pass. k are enough: P(passing >= k), not P(passing > k).",
        )
        chance = binom.sf(k - 1, int(answer), share)
        expect(chance >= sure, f"{case}: of {int(answer)} rows, {k} pass with probability {chance:.3f} only.")
        expect(answer == wanted, f"{case}: {wanted} rows are enough, you ask for {int(answer)}.")
    return "Right. And no index knows the share of your filter beforehand."


@check
def merge_shards(function: Callable) -> str:
    """`function(shards, k)`: the k best ids of all shards together."""
    rng = np.random.default_rng(0)
    for n_shards, k, twice in ((1, 3, 0), (3, 4, 0), (4, 10, 3), (2, 6, 6), (3, 5, 2)):
        scores = rng.permutation(np.linspace(0.1, 0.9, 30)).round(4).tolist()
        rows = [(f"row {i}", score) for i, score in enumerate(scores)]
        ranked = sorted(rows, key=lambda row: -row[1])
        shards = [sorted(rows[s::n_shards], key=lambda row: -row[1]) for s in range(n_shards)]
        for row in ranked[:twice]:  # being moved: two shards have it
            if n_shards > 1:
                home = next(i for i, shard in enumerate(shards) if row in shard)
                other = (home + 1) % n_shards
                shards[other] = sorted([*shards[other], row], key=lambda row: -row[1])
        shards = [shard[:k] for shard in shards]
        answer = function([list(shard) for shard in shards], k)
        returned(answer)
        answer = [row[0] if isinstance(row, tuple) else row for row in answer]
        wanted = [name for name, _ in ranked[:k]]
        in_turn = [name for name, _ in chain(*shards)][:k]
        expect(
            len(answer) == len(set(answer)),
            "A row that is being moved comes from two shards. Return it once.",
        )
        expect(
            answer != in_turn or in_turn == wanted,
            "You read the shards one after the other. The best rows may all lie in the last one.",
        )
        expect(len(answer) == k, f"{k} rows were asked for, you return {len(answer)}.")
        expect(
            answer[0] == wanted[0] or set(answer) != set(wanted),
            "The right rows, in the wrong order: best first.",
        )
        expect(
            answer == wanted,
            f"{n_shards} shards, k = {k}: that misses a row. One shard may hold all of the best: "
            f"each has to be asked for {k}, and their lists merged by score.",
        )
    return "Right. Merging is exact: what sharding loses, each shard's own index loses."


@check
def slowest(function: Callable) -> str:
    """`function(stages)`: the 95th percentile of the whole, from milliseconds of queries x stages."""
    rng = np.random.default_rng(0)
    for n, n_stages in ((200, 4), (1000, 2), (60, 6)):
        stages = rng.gamma(2.0, 5.0, (n, n_stages)).round(3)
        answer = number(function(stages.copy()))
        wanted = np.percentile(stages.sum(1), 95)
        expect(
            abs(answer - np.percentile(stages, 95, axis=0).sum()) > 1e-6,
            "That adds the stages' percentiles. A query that is slow in one stage is seldom slow in all: "
            "first add up each query, then take the percentile.",
        )
        expect(
            abs(answer - stages.sum(1).mean()) > 1e-6,
            "That is the mean. One user in twenty waits for longer than the 95th percentile, which is it.",
        )
        expect(
            abs(answer - np.percentile(stages, 95)) > 1e-6,
            "That is the percentile of single stages. Each query passes through all of them.",
        )
        expect(
            abs(answer - wanted) < 0.01 * wanted, f"The 95th percentile is {wanted:.2f}, got {answer:.2f}."
        )
    return "Right. Percentiles do not add up."
