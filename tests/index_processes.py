"""What the tests of the index let other processes do, started by a server that has imported the rest."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from itertools import count

import torch

from geoclip_lite.index import field, open_index
from geoclip_lite.retrieval import unit_rows

DIM = 16

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest", "geoclip_lite.embed"])  # not LanceDB: it has threads


@contextmanager
def process(work, *arguments):
    """Another process at work; what it sends comes through the pipe. It is killed in the end."""
    ours, theirs = processes.Pipe()
    worker = processes.Process(target=work, args=(theirs, *arguments), daemon=True)
    worker.start()
    theirs.close()
    try:
        yield worker, ours
    finally:
        worker.kill()
        worker.join()
        ours.close()


def units(rows, dim=DIM, seed=0):
    """Random unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    return unit_rows(torch.randn(rows, dim, generator=generator), "rows")


def batch(number):
    """Ten rows of their own and one that every batch replaces."""
    ids = [f"{number}-{n}" for n in range(10)] + ["latest"]
    return ids, units(11, seed=number), {"year": [number] * 11}


def write(pipe, where, first):
    """One batch after the other; a number is sent when the batch is safe."""
    index = open_index(where)
    for number in count(first):
        index.upsert(*batch(number))
        pipe.send(number)


def write_some(pipe, where, numbers):
    """Some batches, once told to."""
    index = open_index(where)
    pipe.send("ready")
    pipe.recv()
    for number in numbers:
        index.upsert(*batch(number))
    pipe.send("done")


def read(pipe, places):
    """Whenever it is asked: for each index the number of rows, and that of the latest batch."""
    indexes = [open_index(where) for where in places]
    while True:
        answers = [(len(index), index.count(field("year") == 1)) for index in indexes]
        ids = [index.search(batch(1)[1][:1], 1).ids[0] for index in indexes]
        pipe.send((answers, ids))
        pipe.recv()
