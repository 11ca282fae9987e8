"""Kills a process in the middle of its work on an index in a folder, and counts what is left.

    python benchmarks/index_kills.py [--rounds 20] [--work optimise write delete]

A process optimises, writes or deletes over and over and says what is done; at a random moment it is killed,
in every other round by Ctrl-C. All versions count as old, so each optimise drops what it may. Meanwhile
another process opens the index and reads from it without a pause. Then the index is opened: all that was
acknowledged must be there, `verify` must pass, and writing and optimising must work. No reader may have
failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from geoclip_lite.index import Index, open_index
from geoclip_lite.index.stand_ins import clustered_vectors

DIM, PAYLOAD, SIZE = 32, 64, 20  # of a batch of rows
BATCHES = 150  # that are there before
LONGEST = 1.5  # seconds until the kill
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["geoclip_lite.index.stand_ins"])  # not LanceDB: it has threads


def batch(number: int) -> dict:
    """Rows that follow from their number."""
    vectors = clustered_vectors(SIZE, DIM, clusters=4, seed=number)
    about = {"fields": {"batch": [number] * SIZE}, "payload": torch.full((SIZE, PAYLOAD), number / 1000)}
    return {"ids": [f"{number}-{row}" for row in range(SIZE)], "vectors": vectors, **about}


def age_versions() -> None:
    """Here an optimise drops all versions but the last."""
    from geoclip_lite.index import lance

    lance.OLD = timedelta(0)


# --- other processes ------------------------------------------------------------------------------

WORK: dict[str, Callable[[Index, int], None]] = {
    "optimise": lambda index, number: index.optimise(),
    "write": lambda index, number: index.upsert(**batch(BATCHES + number)),
    "delete": lambda index, number: index.delete(batch(number)["ids"]),
}


def work(pipe: Connection, place: str, kind: str) -> None:
    """Sends a number when all work before it is done."""
    age_versions()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    with suppress(KeyboardInterrupt):
        index = open_index(place)
        for number in count():
            pipe.send(number)
            WORK[kind](index, number)
    os._exit(0)  # whatever is still under way ends here


def read(pipe: Connection, place: str) -> None:
    """Opens the index and reads, over and over; sends "ready", then how often and what went wrong."""
    times, failures, query = 0, [], batch(0)["vectors"][:1]
    while times < 2 or not pipe.poll():
        try:
            with open_index(place) as index:
                assert len(index.search(query, 5, rows=True).ids[0]) == 5
                index.read(["kept"])
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        times += 1
        if times == 1:
            pipe.send("ready")
    pipe.send((times, failures))


@contextmanager
def process(target: Callable, *arguments: object) -> Iterator[tuple[multiprocessing.Process, Connection]]:
    """Another process, and a pipe to it."""
    ours, theirs = processes.Pipe()
    other = processes.Process(target=target, args=(theirs, *arguments), daemon=True)
    other.start()
    theirs.close()
    try:
        yield other, ours
    finally:
        other.kill()
        other.join()


# --- a round --------------------------------------------------------------------------------------


def kill(place: str, kind: str, delay: float, how: signal.Signals) -> int:
    """How much was acknowledged before the process was killed."""
    with process(work, place, kind) as (worker, pipe):
        number = pipe.recv()
        time.sleep(delay)
        os.kill(worker.pid, how)
        worker.join()
        with suppress(EOFError):
            while True:
                number = pipe.recv()
    return number


def wrong_rows(index: Index, present: set[int], doubtful: int | None) -> int:
    """Rows that are lost, changed or too many; the batch that was under way may be there whole, or not."""
    started = doubtful is not None and len(index.matching("batch", [doubtful])) > 0
    batches = [batch(number) for number in sorted(present | ({doubtful} if started else set()))]
    if not batches:
        return len(index) - 1
    ids = [name for one in batches for name in one["ids"]]
    rows = index.matching("id", ids)
    places = {name: place for place, name in enumerate(rows.ids)}
    kept = [place for place, name in enumerate(ids) if name in places]
    rows = rows.take([places[ids[place]] for place in kept])
    same = torch.ones(len(kept), dtype=torch.bool)
    for name, values in (("vectors", rows.vectors), ("payload", rows.payload.float())):
        same &= values.isclose(torch.cat([one[name] for one in batches])[kept], atol=1e-3).all(1)
    return len(ids) - int(same.sum()) + max(0, len(index) - 1 - len(ids))


def round_of(kind: str, place: str, delay: float, how: signal.Signals) -> tuple[int, int, int, list[str]]:
    """One kill: how much was acknowledged, how many rows are wrong, how often was read, what failed."""
    with process(read, place) as (_, pipe):
        pipe.recv()
        done = kill(place, kind, delay, how)
        pipe.send("stop")
        times, failures = pipe.recv()
    first, last = {"optimise": (0, BATCHES), "write": (0, BATCHES + done), "delete": (done + 1, BATCHES)}[
        kind
    ]
    doubtful = {"optimise": None, "write": last, "delete": done}[kind]
    with open_index(place) as index:
        index.verify()
        wrong = wrong_rows(index, set(range(first, last)), doubtful)
        index.upsert(**batch(5000))
        index.optimise()
        wrong += wrong_rows(index, {*range(first, last), 5000}, doubtful)
    return done, wrong, times, failures


def begin(place: str) -> None:
    """With a graph, rows that are not in it, and several versions."""
    with open_index(place, dim=DIM, encoder="kills", fields={"batch": int}, payload=PAYLOAD) as index:
        index.upsert(["kept"], batch(0)["vectors"][:1], {"batch": [-1]}, torch.zeros(1, PAYLOAD))
        for number in range(BATCHES):
            index.upsert(**batch(number))
            if number == BATCHES - 10:
                index.optimise()


def main() -> int:
    """The exit status: 1 if a row is wrong or a reader failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    age_versions()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        begin(f"{folder}/fresh")
        print("killed in  kills  acknowledged  wrong rows  reads meanwhile  failed")
        for kind in options.work:
            totals, reasons = np.zeros(4, int), []
            for number in range(options.rounds):
                place = Path(folder) / f"{kind} {number}"
                shutil.copytree(f"{folder}/fresh", place)
                how = signal.SIGINT if number % 2 else signal.SIGKILL
                *sums, failures = round_of(kind, str(place), generator.uniform(0, LONGEST), how)
                totals += [*sums, len(failures)]
                reasons += failures
                shutil.rmtree(place)
            done, wrong, times, failed = totals
            print(f"{kind:<9} {options.rounds:>6} {done:>13} {wrong:>11} {times:>16} {failed:>7}", flush=True)
            bad += wrong + failed
            print(*reasons[:3], sep="\n", end="\n" if reasons else "")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
