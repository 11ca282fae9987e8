"""The stores of an index side by side: exact numpy, faiss, LanceDB.

    python benchmarks/index.py [--rows 10000 20000] [--dim 512] [--queries 200] [--stores exact faiss lance]

The vectors are clustered, as those of encoders are. Each query is asked of all stores in turn, so that
whatever else the machine does falls on all of them; a first round each is not counted. Latency is that of
one query for the best 100, recall is against exact search, and the filter passes 2 % of the rows. Building
is upserting in batches and then `optimise`, at each number of rows: time per row that stays the same is
linear growth.

With 100,000 rows: --rows 50000 100000, some minutes more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _turns import seconds, timed
from torch import Tensor

from geoclip_lite.index import Hits, Index, field, open_index
from geoclip_lite.index.stand_ins import ROWS_PER_CLUSTER, clustered_vectors

BATCH = 5000
K = 100
PASSING, OF = 1, 50  # rows whose number modulo 50 is below 1
RARE = field("group") < PASSING


@dataclass(frozen=True)
class Built:
    """An index and the seconds that it took."""

    index: Index
    upserts: float
    optimise: float
    megabytes: float


def build(kind: str, folder: Path, gallery: Tensor) -> Built:
    """A fresh index of the gallery."""
    where = f"{kind}:{folder / f'{kind}-{len(gallery)}'}"
    index = open_index(where, dim=gallery.shape[1], encoder="benchmark", fields={"group": int})

    def upsert() -> None:
        for start in range(0, len(gallery), BATCH):
            numbers = range(start, min(len(gallery), start + BATCH))
            groups = {"group": [number % OF for number in numbers]}
            index.upsert([str(number) for number in numbers], gallery[start : start + BATCH], groups)

    upserts, optimise = seconds(upsert), seconds(index.optimise)
    files = Path(where.partition(":")[2]).rglob("*")
    return Built(index, upserts, optimise, sum(path.stat().st_size for path in files) / 1e6)


def compare_builds(kinds: list[str], folder: Path, galleries: list[Tensor]) -> dict[str, Built]:
    """Builds every store at every size; the largest are for searching."""
    print("build, in seconds (and microseconds a row)")
    largest = {}
    for kind in kinds:
        built = [build(kind, folder, gallery) for gallery in galleries]
        for gallery, one in zip(galleries, built, strict=True):
            total = one.upserts + one.optimise
            print(f"  {kind:<6} {len(gallery):>7,} rows: upserts {one.upserts:6.1f}", end="")
            print(f"  optimise {one.optimise:6.1f}  ({1e6 * total / len(gallery):5.0f})", end="")
            print(f"  {one.megabytes:5.0f} MB")
        largest[kind] = built[-1]
    return largest


def true_ids(queries: Tensor, gallery: Tensor, passing: Tensor, k: int) -> list[list[str]]:
    """By one matrix product, and none of the package's code."""
    scores = (queries @ gallery.T).masked_fill(~passing, -torch.inf)
    return [[str(int(number)) for number in row] for row in scores.topk(k).indices]


def recall(found: list[Hits], expected: list[list[str]], k: int) -> float:
    """The share of the true best k among the first k found; short lists count against it."""
    pairs = zip(found, expected, strict=True)
    return statistics.mean(len(set(hits.ids[0][:k]) & set(true[:k])) / k for hits, true in pairs)


def compare_searches(built: dict[str, Built], queries: Tensor, gallery: Tensor) -> None:
    """Times in turns, then recall."""
    numbers = torch.arange(len(gallery))
    for name, where, passing in (
        ("no filter", None, numbers >= 0),
        (f"filter, {PASSING / OF:.0%} of rows", RARE, numbers % OF < PASSING),
    ):
        print(f"{name}: latency of one query in ms, recall")
        times, found = {kind: [] for kind in built}, {kind: [] for kind in built}
        for query in [*queries[:3], *queries]:
            for kind, one in built.items():
                took, hits = timed(partial(one.index.search, query[None], K, where))
                times[kind].append(1e3 * took)
                found[kind].append(hits)
        expected = true_ids(queries, gallery, passing, K)
        for kind in built:
            own, reference = times[kind][3:], times["exact"][3:] if "exact" in built else times[kind][3:]
            ratio = statistics.median(a / b for a, b in zip(own, reference, strict=True))
            print(f"  {kind:<6} p50 {np.percentile(own, 50):6.1f}  p99 {np.percentile(own, 99):6.1f}", end="")
            print(f"  {ratio:5.2f} x exact", end="")
            print("".join(f"  R@{k} {recall(found[kind][3:], expected, k):.4f}" for k in (10, K)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--stores", nargs="+", default=["exact", "faiss", "lance"])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clusters = max(options.rows) // ROWS_PER_CLUSTER
    gallery = clustered_vectors(max(options.rows), options.dim, clusters=clusters, seed=0)
    queries = clustered_vectors(options.queries, options.dim, clusters=clusters, seed=1)
    print(f"{options.dim} dimensions, k = {K}, {options.queries} queries, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        galleries = [gallery[:rows] for rows in sorted(options.rows)]
        built = compare_builds(options.stores, Path(folder), galleries)
        compare_searches(built, queries, gallery)


if __name__ == "__main__":
    main()
