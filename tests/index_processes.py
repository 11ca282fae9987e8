"""What the tests of the index let other processes do, started by a server that has imported the rest."""

from __future__ import annotations

import multiprocessing
from contextlib import ExitStack, contextmanager
from itertools import count

import torch

from geoclip_lite.index import field, open_index
from geoclip_lite.retrieval import unit_rows

DIM = 16

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest", "geoclip_lite.index"])  # not LanceDB: it has threads


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


def write(pipe, where):
    """One batch after the other; a number is sent when the batch is safe."""
    index = open_index(where)
    for number in count():
        index.upsert(*batch(number))
        pipe.send(number)


def write_some(pipe, where, numbers):
    """Some batches, once asked to."""
    index = open_index(where)
    pipe.send("ready")
    pipe.recv()
    for number in numbers:
        index.upsert(*batch(number))
    pipe.send("done")


def read(pipe, where):
    """Whenever it is asked: the number of rows, how many are of batch 1, and its first row."""
    index = open_index(where)
    while True:
        ids = index.search(batch(1)[1][:1], 1).ids[0]
        pipe.send((len(index), index.count(field("year") == 1), ids))
        pipe.recv()


def write_the_same_at_once(where, writers):
    """Several processes write the same twelve batches."""
    with ExitStack() as stack:
        pipes = [stack.enter_context(process(write_some, where, range(12)))[1] for _ in range(writers)]
        assert [pipe.recv() for pipe in pipes] == ["ready"] * writers
        for pipe in pipes:
            pipe.send("go")
        assert [pipe.recv() for pipe in pipes] == ["done"] * writers


def check_batches(index, acknowledged):
    """All that was acknowledged is there, and of the next batch all or nothing."""
    latest = index.read(["latest"]).fields["year"][0]
    assert latest in (acknowledged, acknowledged + 1)
    batches = [batch(number) for number in range(latest + 1)]
    rows = index.read([name for ids, _, _ in batches for name in ids[:10]])
    assert torch.allclose(rows.vectors, torch.cat([vectors[:10] for _, vectors, _ in batches]), atol=1e-6)
    assert rows.fields["year"] == [number for number in range(latest + 1) for _ in range(10)]
    assert len(index) == 10 * (latest + 1) + 1
