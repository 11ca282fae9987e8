"""Fused Gromov-Wasserstein between small sets, against what else there is: speed, objectives, marginals.

    python benchmarks/transport.py [--rounds 5]

Everything runs in one process on one core, in turns; figures are medians over the rounds, compilation is
excluded (the first round is not counted, its time is printed). alpha = .5, random unit vectors in 16
dimensions, cosine distances. POT, scipy and our Frank-Wolfe work in double precision, tables and ot.batch in
single. A peer's objective counts only as far as its plan keeps the marginals, so both are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import ot
import pandas as pd
import torch
from _turns import in_turns
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geoclip_lite.retrieval import shortlist, unit_rows
from geoclip_lite.transport import PointSets, Problems, assign, objective, solve, solve_shortlist

SIZES = ((2, 2), (3, 3), (2, 5), (5, 5), (6, 10), (10, 10), None)  # None: both sides 1 to 10
OURS, PEERS = 100_000, 2000  # problems a round; a rate needs no more of the slow ones
COMPARED = 500  # problems whose plans are looked at
DIM, ALPHA = 16, 0.5

Matrices = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    compile_once()
    table = pd.DataFrame([row for size in SIZES for row in compare_solvers(size, rounds)])
    print(table.fillna("").to_string(index=False))
    print()
    end_to_end(rounds)
    linear_growth(rounds)
    if torch.cuda.is_available():
        compare_on("cuda", rounds)


# --- the solvers ----------------------------------------------------------------------------------


def compare_solvers(size: tuple[int, int] | None, rounds: int) -> list[dict[str, object]]:
    """One row per way to solve problems of one size."""
    problems = random_problems(OURS, size, seed=0)
    double = in_double(problems)
    matrices = [tuple(m.numpy() for m in double.matrices(i)) for i in range(PEERS)]
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "POT loop": (PEERS, lambda: [pot(*m) for m in matrices]),
        "scipy loop (assignment)": (PEERS, lambda: [linear_sum_assignment(m[0]) for m in matrices]),
        "ours: assign": (OURS, lambda: assign(double)),
        "ours: frank-wolfe": (OURS, lambda: solve(double, alpha=ALPHA, solver="frank-wolfe")),
        "ours: auto": (OURS, lambda: solve(problems, alpha=ALPHA)),
    }
    if size is not None:
        ways |= {"ot.batch": (PEERS, lambda: batch(problems, PEERS))}
    seconds = in_turns({name: work for name, (_, work) in ways.items()}, rounds)
    rates = {name: [count / s for s in seconds[name]] for name, (count, _) in ways.items()}
    quality = objectives_and_marginals(problems, double, matrices, size)
    rows = []
    for name, rate in rates.items():
        row = {"n, m": "1-10" if size is None else f"{size[0]}, {size[1]}", "solver": name}
        row["a second"] = f"{median(rate):,.0f}"
        for peer in ("POT loop", "ot.batch"):
            known = peer in rates and name in ("ours: frank-wolfe", "ours: auto")
            ratios = [a / b for a, b in zip(rate, rates.get(peer, rate), strict=True)]
            row[f"x {peer}"] = f"{median(ratios):,.0f}" if known else ""
        rows.append(row | quality.get(name, {}))
    return rows


def pot(costs: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """What a reader would write."""
    return ot.gromov.fused_gromov_wasserstein2(costs, left, right, symmetric=True, alpha=ALPHA)


def batch(problems: Problems, count: int) -> Tensor:
    """Plans of ot.batch with its default settings; all problems are of one size."""
    n, m = int(problems.rows[0]), int(problems.columns[0])
    features = problems.features[: count * n * m].view(count, m, n).mT
    left = problems.left.entries[: count * n * n].view(count, n, n)
    right = problems.right.entries[: count * m * m].view(count, m, m)
    return ot.batch.solve_gromov_batch(left, right, M=features, alpha=ALPHA).plan


def objectives_and_marginals(
    problems: Problems, double: Problems, matrices: Matrices, size: tuple[int, int] | None
) -> dict[str, dict[str, str]]:
    """Per solver: how far its objective lies above the lowest found, and its largest marginal error."""
    ours = {
        name: solve(double, alpha=ALPHA, solver=s, plans=True)
        for name, s in (("fw", "frank-wolfe"), ("auto", "auto"))
    }
    plans = {
        "POT loop": [
            torch.from_numpy(ot.gromov.fused_gromov_wasserstein(*m, symmetric=True, alpha=ALPHA))
            for m in matrices[:COMPARED]
        ],
        "ours: frank-wolfe": [ours["fw"].plan(i) for i in range(COMPARED)],
        "ours: auto": [ours["auto"].plan(i) for i in range(COMPARED)],
    }
    if size is not None:
        plans["ot.batch"] = list(batch(problems, COMPARED).double())
    values = {
        name: torch.stack(
            [
                objective(*map(torch.from_numpy, m), plan, ALPHA)
                for m, plan in zip(matrices[:COMPARED], each, strict=True)
            ]
        )
        for name, each in plans.items()
    }
    feasible = [v for name, v in values.items() if name != "ot.batch"]
    lowest = torch.stack(feasible).amin(0)
    found = {}
    for name, value in values.items():
        gap = (value - lowest) / lowest.clamp_min(1e-12)
        errors = [
            max(abs(p.sum(1) - 1 / len(p)).max(), abs(p.sum(0) - 1 / p.shape[1]).max()) for p in plans[name]
        ]
        found[name] = {
            "above the lowest": f"{(gap > 1e-9).double().mean():.0%} of them",
            "mean gap": f"{gap.mean():+.1e}",
            "marginal error": f"{max(errors):.0e}",
        }
    return found


# --- end to end -----------------------------------------------------------------------------------


def end_to_end(rounds: int, queries: int = 1000, items: int = 20_000, k: int = 100, dim: int = 512) -> None:
    """Top k by cosine, then every candidate's objects against the query's, beside a loop over POT."""
    asked, scenes, vectors = random_retrieval(queries, items, dim)

    def with_ours() -> Tensor:
        found = shortlist(vectors[0], vectors[1], k)
        sets = PointSets.of(asked), PointSets.of(scenes)
        return solve_shortlist(*sets, found.indices, alpha=ALPHA, progress=False).values

    def with_pot(some: int) -> Callable[[], list[float]]:
        def work() -> list[float]:
            found = shortlist(vectors[0][:some], vectors[1], k)
            values = []
            for query, candidates in enumerate(found.indices.tolist()):
                own = 1 - asked[query] @ asked[query].T
                for candidate in candidates:
                    other = scenes[candidate]
                    costs, inner = 1 - asked[query] @ other.T, 1 - other @ other.T
                    values.append(pot(costs.numpy(), own.numpy(), inner.numpy()))
            return values

        return work

    share = 10  # the loop is slow: a tenth of the queries, and the time of the shortlist in proportion
    seconds = in_turns({"ours": with_ours, "POT": with_pot(queries // share)}, rounds)
    ratios = [share * b / a for a, b in zip(seconds["ours"], seconds["POT"], strict=True)]
    whole_loop = share * median(seconds["POT"])
    size = f"{queries:,} queries x {k} candidates, {items:,} scenes of 1 to 5 objects, {dim} dimensions"
    print(f"end to end: {size}")
    print(f"  ours {median(seconds['ours']):.2f} s, shortlist and POT loop {whole_loop:.1f} s", end="")
    print(f" ({share} x a tenth of the queries): x {median(ratios):.0f}\n")


def linear_growth(rounds: int) -> None:
    """Seconds for more queries and for more candidates."""
    asked, scenes, _ = random_retrieval(queries=800, items=2000, dim=64)
    gallery = PointSets.of(scenes)
    generator = torch.Generator().manual_seed(0)
    print("growth: solve_shortlist, seconds (microseconds per problem)")
    for count in (200, 400, 800):
        some = PointSets.of(asked[:count])
        cells = []
        for k in (50, 100, 200):
            candidates = torch.randint(len(gallery), (count, k), generator=generator)
            work = {
                "it": lambda c=candidates, s=some: solve_shortlist(s, gallery, c, alpha=ALPHA, progress=False)
            }
            taken = median(in_turns(work, rounds)["it"])
            cells.append(f"{k} candidates {taken:6.3f} ({1e6 * taken / candidates.numel():.2f})")
        print(f"  {count} queries:  " + "   ".join(cells))


# --- on a GPU -------------------------------------------------------------------------------------


def compare_on(device: str, rounds: int, ours: int = 1_000_000, peers: int = 20_000) -> None:
    """The vertex table and ot.batch, both on one device."""
    print(f"\nexact against ot.batch on {device}, single precision")
    for size in ((2, 2), (3, 3), (2, 5), (5, 5)):
        many, few = (random_problems(count, size, seed=0, device=device) for count in (ours, peers))
        ways = {
            "exact": partial(solve, many, alpha=ALPHA, solver="exact"),
            "ot.batch": partial(batch, few, peers),
        }
        seconds = in_turns({name: partial(finished, work) for name, work in ways.items()}, rounds)
        rates = [[n / s for s in seconds[name]] for name, n in (("exact", ours), ("ot.batch", peers))]
        ratio = median(a / b for a, b in zip(*rates, strict=True))
        print(
            f"  {size[0]}, {size[1]}: exact {median(rates[0]):,.0f} a second, "
            f"ot.batch {median(rates[1]):,.0f}, x {ratio:,.0f}"
        )


def finished(work: Callable[[], object]) -> None:
    """Runs the work and waits until the device is done with it."""
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# --- data and clocks ------------------------------------------------------------------------------


def random_problems(count: int, size: tuple[int, int] | None, seed: int, device: str = "cpu") -> Problems:
    """Cosine costs between and inside sets of random unit vectors."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 11, (2, count)) if size is None else np.repeat([[s] for s in size], count, axis=1)
    left, right = (random_sets(each, DIM, seed + side) for side, each in enumerate(sizes))
    features = torch.cat([(1 - y @ x.T).flatten() for x, y in zip(left, right, strict=True)])
    ids = torch.arange(count, device=device)
    inner = [PointSets.of(sets).to(device).inner for sets in (left, right)]
    return Problems(features.to(device), *inner, ids, ids)


def random_sets(sizes: Sequence[int], dim: int, seed: int) -> list[Tensor]:
    """Unit vectors, cut into sets."""
    points = torch.randn(int(sum(sizes)), dim, generator=torch.Generator().manual_seed(seed))
    return list(unit_rows(points, "points").split([int(s) for s in sizes]))


def random_retrieval(
    queries: int, items: int, dim: int
) -> tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor]]:
    """Objects of queries and of scenes, 1 to 5 each, and a vector for each: the mean of its objects."""
    sizes = np.random.default_rng(0).integers(1, 6, queries + items)
    sets = random_sets(sizes, dim, seed=0)
    means = torch.stack([points.mean(0) for points in sets])
    return sets[:queries], sets[queries:], (means[:queries], means[queries:])


def in_double(problems: Problems) -> Problems:
    """The same problems in double precision."""
    left, right = (type(s)(s.sizes, s.entries.double()) for s in (problems.left, problems.right))
    return Problems(problems.features.double(), left, right, problems.left_of, problems.right_of)


def compile_once() -> None:
    start = time.perf_counter()
    problems = random_problems(1, (2, 2), seed=0)
    solve(problems, solver="frank-wolfe"), assign(problems)
    print(f"compiling, or reading what was compiled before: {time.perf_counter() - start:.1f} s\n")


if __name__ == "__main__":
    main()
