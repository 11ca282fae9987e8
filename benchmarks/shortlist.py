"""The shortlist against faiss's flat index: time side by side, and memory while the gallery grows.

    python benchmarks/shortlist.py [--threads 2] [--repeats 9]

Both search the same vectors with the same number of threads, in turns, so that whatever else the machine
does falls on both; a first turn each is not counted. Two ratios: the median of the turns' ratios, and that
of the best turns, which other work on the machine disturbs least. Memory is the peak of the tensors that a
search allocates, as torch's profiler counts them.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from itertools import accumulate

import faiss
import torch
from _turns import in_turns
from torch.profiler import ProfilerActivity, profile

from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene

QUERIES, ITEMS, DIM, K = 1000, 100_000, 512, 100
CHUNKS = (2048, 4096, 8192)  # the default first


def vectors(rows: int, seed: int) -> torch.Tensor:
    rows = torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))
    return rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))


def gallery_of(rows: int) -> Gallery:
    return Gallery(vectors(rows, seed=0), (Scene("any", "", (), draw=None),) * rows)


def compare_times(repeats: int) -> None:
    gallery, queries = gallery_of(ITEMS), vectors(QUERIES, seed=1)
    index = faiss.IndexFlatIP(DIM)
    index.add(gallery.vectors.numpy())
    searches = {"faiss": lambda: index.search(queries.numpy(), K)}
    searches |= {f"chunk {c}": (lambda c=c: shortlist(queries, gallery, K, chunk=c)) for c in CHUNKS}
    times = in_turns(searches, repeats)
    print(f"{QUERIES:,} queries, {ITEMS:,} items x {DIM}, k = {K}; {repeats} turns")
    for name, own in times.items():
        ratio = statistics.median(t / reference for t, reference in zip(own, times["faiss"], strict=True))
        best = min(own) / min(times["faiss"])
        print(f"  {name:<12} median {statistics.median(own):6.3f} s, {ratio:4.2f} x faiss", end="")
        print(f"   best {min(own):6.3f} s, {best:4.2f} x faiss")
    same = (shortlist(queries, gallery, K).indices.numpy() == searches["faiss"]()[1]).mean()
    print(f"  same item at the same rank: {same:.4%} (the rest: cosines equal to rounding)")


def peak_mib(search: Callable[[], object]) -> float:
    """The most memory that a search's tensors took at once, from the profiler's log of allocations."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        search()
    log = sorted(run.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in log if event.name() == "[memory]")) / 2**20


def compare_memory() -> None:
    print("peak memory of a search, in MiB")
    queries = vectors(QUERIES, seed=1)
    for items in (ITEMS, 4 * ITEMS):
        gallery = gallery_of(items)
        for chunk in sorted(CHUNKS):
            peak = peak_mib(lambda g=gallery, c=chunk: shortlist(queries, g, K, chunk=c))
            print(f"  {items:>7,} items, chunk {chunk:<5} {peak:6.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    print(f"{options.threads} threads, torch {torch.__version__}, faiss {faiss.__version__}")
    compare_times(options.repeats)
    compare_memory()


if __name__ == "__main__":
    main()
