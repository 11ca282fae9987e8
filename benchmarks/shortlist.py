"""The shortlist against faiss's flat index: time side by side, and memory while the gallery grows.

    python benchmarks/shortlist.py [--threads 2] [--repeats 9]

Both search the same vectors with the same number of threads, in turns, so that whatever else the machine
does falls on both; a first turn each is not counted. The ratio is the median of the turns' ratios. Memory is
the peak that a search adds to what the vectors take, each in a process of its own (Linux only).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

QUERIES, ITEMS, DIM, K = 1000, 100_000, 512, 100
CHUNKS = (2048, 4096, 8192)


def vectors(rows: int, seed: int):
    """Random unit rows; made in place, so that the process's peak is the matrix itself."""
    import torch

    rows = torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))
    return rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))


def gallery_of(rows: int):
    from geoclip_lite.retrieval import Gallery
    from geoclip_lite.scenes import Scene

    return Gallery(vectors(rows, seed=0), (Scene("any", "", (), draw=None),) * rows)


def seconds(search: Callable[[], object]) -> float:
    start = time.perf_counter()
    search()
    return time.perf_counter() - start


def in_turns(searches: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    turns = [{name: seconds(search) for name, search in searches.items()} for _ in range(repeats + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in searches}


def compare_times(repeats: int) -> None:
    import faiss

    from geoclip_lite.retrieval import shortlist

    gallery, queries = gallery_of(ITEMS), vectors(QUERIES, seed=1)
    index = faiss.IndexFlatIP(DIM)
    index.add(gallery.vectors.numpy())
    searches = {"faiss": lambda: index.search(queries.numpy(), K)}
    searches |= {f"chunk {c}": (lambda c=c: shortlist(queries, gallery, K, chunk=c)) for c in CHUNKS}
    times = in_turns(searches, repeats)
    print(f"{QUERIES:,} queries, {ITEMS:,} items x {DIM}, k = {K}; median of {repeats} turns")
    for name, own in times.items():
        ratio = statistics.median(t / reference for t, reference in zip(own, times["faiss"], strict=True))
        print(f"  {name:<12} {statistics.median(own):6.3f} s   {ratio:5.2f} x faiss")
    same = (shortlist(queries, gallery, K).indices.numpy() == searches["faiss"]()[1]).mean()
    print(f"  same item at the same rank: {same:.4%} (the rest: cosines equal to rounding)")


def peak_mib() -> float:
    """The most memory the process held since the last `forget_peak` (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)


def added_memory(items: int, chunk: int) -> float:
    """Peak MiB that one search adds; to be called in a fresh process, for freed memory is used again."""
    from geoclip_lite.retrieval import shortlist

    gallery, queries = gallery_of(items), vectors(QUERIES, seed=1)
    shortlist(queries[:8], gallery, 1, chunk=64)  # let the libraries set up their own buffers
    forget_peak()
    before = peak_mib()
    shortlist(queries, gallery, K, chunk=chunk)
    return peak_mib() - before


def compare_memory() -> None:
    print("peak memory that a search adds, in MiB")
    for chunk in CHUNKS:
        for items in (ITEMS, 4 * ITEMS):
            child = [sys.executable, __file__, "--memory", str(items), str(chunk)]
            added = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            print(f"  chunk {chunk:<5}  {items:>7,} items   {float(added):6.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory", type=int, nargs=2, metavar=("ITEMS", "CHUNK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(added_memory(*options.memory))
        return
    import faiss
    import torch

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    print(f"{options.threads} threads, torch {torch.__version__}, faiss {faiss.__version__}")
    compare_times(options.repeats)
    compare_memory()


if __name__ == "__main__":
    main()
