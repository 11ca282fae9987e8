"""The contract on a Milvus server, and what only a server can do. See test_index_milvus.py."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from index_contract import *
from index_contract import DIM, ENCODER, KINDS, PAYLOAD, fill
from index_processes import batch, check_batches, process, read, units, write, write_the_same_at_once
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from geoclip_lite.index import MismatchError, UnavailableError, field, milvus, open_index

URI = os.environ.get("GEOCLIP_MILVUS_URI", "")
RUN = f"test_{uuid.uuid4().hex[:8]}"  # a server may be used by several runs


@pytest.fixture(scope="module", autouse=True)
def client():
    """All collections of the run are dropped in the end."""
    client = MilvusClient(URI)
    yield client
    for name in client.list_collections():
        if name.startswith(RUN):
            client.drop_collection(name)


def where(name):
    return f"milvus:{URI}/{RUN}_{name}"


def opened(name, **schema):
    return open_index(where(name), encoder=ENCODER, patience=30, **schema)


@pytest.fixture
def begin():
    """An empty collection of the schema: making one takes seconds, so an old one without its rows."""

    def begin(dim=DIM, fields=KINDS, payload=0):
        name = f"{dim}_{'_'.join(fields)}_{payload}"
        index = opened(name, dim=dim, fields=fields, payload=payload)
        index.delete(where=field("year") > -100)
        return index

    return begin


@pytest.fixture(scope="module")
def kept():
    return fill(opened("kept", dim=DIM, fields=KINDS, payload=PAYLOAD))


def test_a_collection_remembers_whose_it_is(kept):
    assert open_index(where("kept")).schema == kept.schema
    for wish in ({"encoder": "another"}, {"dim": 17}, {"fields": {}}, {"payload": 0}):
        with pytest.raises(MismatchError, match="asked for"):
            open_index(where("kept"), **wish)


def test_many_rows_come_in_several_answers(begin, monkeypatch):
    monkeypatch.setattr(milvus, "AT_ONCE", 7)
    index, ids = begin(fields={"year": int}), [f'{n % 10}"ü\\{"é𝔘z"[n % 3]}{n}' for n in range(60)]
    for start in (0, 20, 40):
        index.upsert(ids[start : start + 20], units(20), {"year": range(start, start + 20)})
        index.optimise()
    assert index.values("year") == dict(zip(ids, range(60), strict=True))
    index.delete(where=field("year") < 45)
    assert index.values("year") == dict(zip(ids[45:], range(45, 60), strict=True))


def test_a_collection_of_something_else_is_left_alone(client):
    client.create_collection(f"{RUN}_foreign", dimension=8)
    with pytest.raises(MismatchError, match="foreign"):
        opened("foreign", dim=8)
    assert client.has_collection(f"{RUN}_foreign")


def test_kill_9_loses_no_acknowledged_row(begin):
    index, generator = begin(fields={"year": int}), np.random.default_rng(7)
    for _ in range(3):
        index.delete(where=field("year") >= 0)
        with process(write, where(f"{DIM}_year_0")) as (writer, pipe):
            for _ in range(generator.integers(3, 9)):
                acknowledged = pipe.recv()
            time.sleep(generator.uniform(0, 0.02))
            writer.kill()
            writer.join()
            with suppress(EOFError):
                while True:
                    acknowledged = pipe.recv()
        check_batches(index, acknowledged)


def test_three_processes_write_the_same_ids_while_others_read(begin):
    index, place = begin(fields={"year": int}), where(f"{DIM}_year_0")
    write_the_same_at_once(place, 3)
    check_batches(index, 11)
    with process(read, place) as (_, pipe):
        assert pipe.recv() == (121, 10, ("1-0",))
        index.upsert(*batch(12))
        pipe.send("and now?")
        assert pipe.recv() == (131, 10, ("1-0",))


def test_rows_larger_than_a_message_are_sent_and_read_in_parts(begin):
    index, vectors = begin(dim=64, fields={"year": int}, payload=4000), units(1200, 64)
    payload = torch.arange(1200)[:, None].expand(-1, 4000)
    index.upsert([str(n) for n in range(1200)], vectors, {"year": list(range(1200))}, payload)
    hits = index.search(vectors[:1], 1200, rows=True)
    assert [float(n) for n in hits.ids[0]] == hits.rows[0].payload[:, 7].tolist()
    index.delete(where=field("year") >= 20)
    assert sorted(index.search(vectors[:1], 100).ids[0]) == sorted(str(n) for n in range(20))


def test_more_rows_than_an_answer_holds_are_read(begin):
    index, vectors = begin(dim=64, fields={"year": int}), units(9000, 64)
    index.upsert([str(n) for n in range(9000)], vectors, {"year": [n % 2 for n in range(9000)]})
    rows = index.matching("year", [0, 1])
    assert sorted(map(int, rows.ids)) == list(range(9000))
    assert torch.allclose(rows.vectors, vectors[[int(name) for name in rows.ids]], atol=1e-6)


def test_a_dropped_collection_is_a_clear_error(client):
    index = opened("dropped", dim=DIM, fields={"year": int})
    client.drop_collection(f"{RUN}_dropped")
    for use in (lambda: index.search(units(1), 1), lambda: index.upsert(*batch(0)), index.count):
        with pytest.raises(UnavailableError, match=URI):
            use()


def refusing(ask, times):
    """A read that the server refuses at first, as it does while a collection is being loaded."""
    left = [MilvusException(65535, "fail to Search, reason=delegator closed during wait")] * times

    def answer(*args, **kwargs):
        if left:
            raise left.pop()
        return ask(*args, **kwargs)

    return answer


def test_a_read_waits_while_the_collection_is_loaded_anew(kept, monkeypatch):
    monkeypatch.setattr(MilvusClient, "query", refusing(MilvusClient.query, 2))
    assert len(kept) == 60
    with open_index(where("kept"), patience=0.5) as hasty:
        monkeypatch.setattr(MilvusClient, "query", refusing(MilvusClient.query, 100))
        with pytest.raises(UnavailableError, match="delegator closed"):
            len(hasty)


def test_others_see_all_while_the_graph_is_built(begin):
    index, vectors = begin(dim=64, fields={"year": int}), units(3000, 64)
    rows = [str(n) for n in range(3000)], vectors, {"year": list(range(3000))}
    index.upsert(*rows)
    built = threading.Event()

    def reads():
        seen = set()
        with open_index(where("64_year_0"), patience=30) as other:
            while not built.is_set():
                seen.add((len(other), other.search(vectors[7:8], 1).ids))
        return seen

    with ThreadPoolExecutor(2) as readers:
        answers = [readers.submit(reads) for _ in range(2)]
        try:
            index.optimise()
            index.upsert(*rows)
            index.optimise()
        finally:
            built.set()  # or the readers would never end
        assert answers[0].result() == answers[1].result() == {(3000, (("7",),))}
    hits = index.search(vectors[7:8], 100, field("year") < 100)
    assert sorted(hits.ids[0], key=int) == [str(n) for n in range(100)]
    index.verify()
