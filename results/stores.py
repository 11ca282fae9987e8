"""Stores of an index measured: from ten thousand to a million vectors, their curves, their filters.

Vectors are 512 numbers long and clustered, a hundred to a cluster: compare the stores with each other, not
with photographs. Truth is a matrix product. A store is built here, then opened and searched by a process of
its own, one query at a time. Latency is by the clock, so run it on a quiet machine; all lies in a temporary
folder that is deleted. Takes about forty minutes and 6 GB of memory.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from torch import Tensor

from geoclip_lite.index import Filter, Index, field, hnsw, lance, open_index
from geoclip_lite.index.stand_ins import ROWS_PER_CLUSTER, clustered_vectors
from geoclip_lite.results import Row, Study

DIM, QUERIES, K = 512, 100, 100
SIZES = {  # faiss's graph is the slowest to build
    "exact": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "faiss": (10_000, 30_000, 100_000),
    "lance": (10_000, 30_000, 100_000, 300_000, 1_000_000),
}
CLOSER_LOOK = 100_000  # rows at which breadths and filters are swept
BREADTHS = {"faiss": (200, 400, 800, 1600, 3200), "lance": (300, 500, 1000, 2000, 4000)}
NARROW = (16, 50, 100, 200, 400, 800)  # faiss's default is 16; it takes k where that is more
CLEAR, LOOSE = 1.0, 2.0  # spreads: a cosine of about .5 within a cluster, and of about .2
SHARES = (0.5, 0.1, 0.02, 0.002)  # of rows that pass a filter
BATCH = 10_000
WARM = 10  # searches that are not counted

# --- vectors and truth ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Vectors to search, queries for them, and what is true.

    Args:
        spread: see `clustered_vectors`.
    """

    rows: int
    spread: float = CLEAR

    def gallery(self) -> Tensor:
        return self._vectors(self.rows, seed=0)

    def queries(self) -> Tensor:
        """The first ones only warm."""
        return self._vectors(WARM + QUERIES, seed=1)

    def _vectors(self, n: int, seed: int) -> Tensor:
        clusters = self.rows // ROWS_PER_CLUSTER
        return clustered_vectors(n, DIM, clusters=clusters, seed=seed, spread=self.spread)

    def shares(self) -> np.ndarray:
        """A number from 0 to 1 for each row, for filters."""
        return np.random.default_rng(2).random(self.rows)

    def truth(self, share: float = 1.0) -> list[list[str]]:
        """The K nearest of the rows whose number is below the share, by one matrix product."""
        scores, passes = self.queries()[WARM:] @ self.gallery().T, self.shares() < share
        scores[:, ~passes] = -np.inf
        best = scores.topk(min(K, int(passes.sum()))).indices.tolist()
        return [[str(i) for i in row] for row in best]


def first_ids(index: Index, query: Tensor, k: int = K, where: Filter | None = None) -> list[str]:
    return list(index.search(query, k, where).ids[0])


def recall(found: list[list[str]], wanted: list[list[str]], k: int) -> float:
    """Share of the true k nearest among the first k."""
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([len({*ids[:k]} & {*true[:k]}) / len(true[:k]) for ids, true in pairs]))


def timed(search: Callable[[Tensor], list[str]], data: Data) -> tuple[list[list[str]], Row]:
    """What every query finds, and how long one takes."""
    found, seconds = [], []
    for query in data.queries():
        start = time.perf_counter()
        found.append(search(query[None]))
        seconds.append(time.perf_counter() - start)
    p50, p95 = 1000 * np.percentile(seconds[WARM:], [50, 95])
    return found[WARM:], {"p50 ms": round(float(p50), 2), "p95 ms": round(float(p95), 2)}


def judged(found: list[list[str]], wanted: list[list[str]]) -> Row:
    return {f"recall@{k}": round(recall(found, wanted, k), 4) for k in (10, K)}


# --- one store of one size ------------------------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    """A place that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="stores-"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def built(kind: str, data: Data, place: Path) -> Row:
    """Takes all rows in and builds what makes searching quick."""
    vectors, passes = data.gallery(), data.shares().tolist()
    start = time.perf_counter()
    with open_index(f"{kind}:{place}", dim=DIM, encoder="stand-in", fields={"share": float}) as index:
        for first in range(0, data.rows, BATCH):
            some = range(first, min(first + BATCH, data.rows))
            part = slice(some.start, some.stop)
            index.upsert([str(i) for i in some], vectors[part], {"share": passes[part]})
        upserts = time.perf_counter() - start
        index.optimise()
    total = time.perf_counter() - start
    disk = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"upserts s": round(upserts, 1), "build s": round(total, 1), "disk MB": round(disk / 1e6, 1)}


def memory() -> float:
    """What this process has in memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def searched(kind: str, data: Data, place: Path) -> list[Row]:
    """Opens a store as a service would, and searches it. For a process of its own."""
    wanted, asked = data.truth(), data.queries()
    asked @ asked.T  # what the first product needs is not the store's
    before, start = memory(), time.perf_counter()
    with open_index(f"{kind}:{place}") as index:
        opening = time.perf_counter() - start
        found, latency = timed(lambda query: first_ids(index, query), data)
        about = {"open s": round(opening, 2), "memory MB": round(memory() - before, 1)}
        first = [{"part": "growth"} | about | latency | judged(found, wanted)]
        if data.rows != CLOSER_LOOK:
            return first
        if data.spread != CLEAR:
            return list(curve(kind, index, data))
        return [*first, *curve(kind, index, data), *filtered(index, data)]


# --- a closer look --------------------------------------------------------------------------------


def curve(kind: str, index: Index, data: Data) -> Iterator[Row]:
    """Recall and latency by how broadly the graph is searched."""
    store = {"faiss": hnsw, "lance": lance}.get(kind)
    if store is None:
        return
    usual, wanted = store.BREADTH, data.truth()
    for breadth in BREADTHS[kind]:
        store.BREADTH = breadth
        found, latency = timed(lambda query: first_ids(index, query), data)
        yield {"part": "curve", "breadth": breadth} | latency | judged(found, wanted)
    store.BREADTH = usual


def filtered(index: Index, data: Data) -> Iterator[Row]:
    """The store's own filter, against a filter on the list of a search without one."""
    for share in SHARES:
        wanted = data.truth(share)
        where = field("share") < share
        found, latency = timed(lambda query, where=where: first_ids(index, query, K, where), data)
        yield {"part": "filter", "way": "by the store", "share": share} | latency | kept(found, wanted)
        for k in (K, 10 * K):
            search = first_that_pass(index, k, data.shares() < share)
            found, latency = timed(search, data)
            about = {"part": "filter", "way": f"afterwards, of {k:,}", "share": share}
            yield about | latency | kept(found, wanted)


def first_that_pass(index: Index, k: int, passes: np.ndarray) -> Callable[[Tensor], list[str]]:
    """Asks for k rows and throws away those that do not pass."""
    return lambda query: [name for name in first_ids(index, query, k) if passes[int(name)]][:K]


def kept(found: list[list[str]], wanted: list[list[str]]) -> Row:
    """Of lists that may be short."""
    return {
        "list": round(float(np.mean([len(ids) for ids in found])), 1),
        f"recall@{K}": round(recall(found, wanted, K), 4),
    }


def bare_graph(data: Data) -> list[Row]:
    """faiss by itself: walks narrower than our stores take, and filters with nothing to catch short lists."""
    graph = hnsw.graph_over(data.gallery().numpy())
    about = {"store": "faiss, bare", "rows": data.rows, "spread": data.spread}
    rows = [about | row for row in narrow(graph, data)]
    return rows + [about | row for row in stepping_over(graph, data)] if data.spread == CLEAR else rows


def narrow(graph: faiss.IndexHNSWFlat, data: Data) -> Iterator[Row]:
    """The curve from faiss's own default on."""
    wanted = data.truth()
    for breadth in NARROW:
        params = faiss.SearchParametersHNSW(efSearch=breadth)

        def search(query: Tensor, params: faiss.SearchParametersHNSW = params) -> list[str]:
            return [str(i) for i in graph.search(query.numpy(), K, params=params)[1][0]]

        found, latency = timed(search, data)
        yield {"part": "curve", "breadth": breadth} | latency | judged(found, wanted)


def stepping_over(graph: faiss.IndexHNSWFlat, data: Data) -> Iterator[Row]:
    """A walk that returns only what passes."""
    for share in (1.0, *SHARES):
        bits, wanted = np.packbits(data.shares() < share, bitorder="little"), data.truth(share)
        params = faiss.SearchParametersHNSW(efSearch=hnsw.BREADTH, sel=faiss.IDSelectorBitmap(bits))

        def search(query: Tensor, params: faiss.SearchParametersHNSW = params) -> list[str]:
            return [str(i) for i in graph.search(query.numpy(), K, params=params)[1][0] if i >= 0]

        found, latency = timed(search, data)
        yield {"part": "filter", "way": "by the store", "share": share} | latency | kept(found, wanted)


# --- all of it ------------------------------------------------------------------------------------


def alone(work: Callable, *arguments: object) -> object:
    """In a process of its own, whose memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure_store(kind: str, data: Data) -> Iterator[Row]:
    """One store of one size."""
    with folder() as place:
        build = alone(built, kind, data, place)
        print(kind, f"{data.rows:,}", build, flush=True)
        for row in alone(searched, kind, data, place):
            about = {"store": kind, "rows": data.rows, "spread": data.spread} | row
            yield about | build if row["part"] == "growth" else about


def measure() -> Iterator[Row]:
    for kind, sizes in SIZES.items():
        for rows in sizes:
            yield from measure_store(kind, Data(rows))
    yield from measure_store("lance", Data(CLOSER_LOOK, LOOSE))
    for spread in (CLEAR, LOOSE):
        yield from alone(bare_graph, Data(CLOSER_LOOK, spread))


def sample() -> Iterator[Row]:
    """What each store finds of ten thousand rows."""
    data = Data(SIZES["exact"][0])
    for kind in SIZES:
        with folder() as place:
            built(kind, data, place)
            [row] = searched(kind, data, place)
            recalls = {name: row[name] for name in row if name.startswith("recall")}
            yield {"store": kind, "rows": data.rows, "spread": data.spread, "part": row["part"]} | recalls


STUDY = Study(__file__, measure, sample, {"recall@10": 0.01, "recall@100": 0.01})

if __name__ == "__main__":
    STUDY.run()
