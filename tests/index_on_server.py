"""The contract on a Milvus server, and what only a server can do. See test_index_milvus.py."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from index_contract import *
from index_contract import (
    DIM,
    ENCODER,
    KINDS,
    check_batches,
    fill,
    kill_writers,
    row_fields,
    write_the_same_twice,
)
from index_processes import batch, process, read, units
from pymilvus.exceptions import MilvusException

from geoclip_lite.index import MismatchError, UnavailableError, field, open_index

URI = os.environ.get("GEOCLIP_MILVUS_URI", "")
RUN = uuid.uuid4().hex[:8]  # a server may be used by several runs


@pytest.fixture(scope="module")
def collections():
    """Collections by their schemas: making one takes seconds. All are dropped in the end."""
    made = {}
    yield made
    for index in made.values():
        index._store._client.drop_collection(index._store.name)


def where(name):
    return f"milvus:{URI}/test_{RUN}_{name}"


@pytest.fixture
def begin(collections):
    """An empty collection of the schema: an old one without its rows."""

    def begin(dim=DIM, fields=KINDS):
        name = f"{dim}_{'_'.join(fields)}"
        if name in collections:
            collections[name].delete(where=~(field("id") == "nobody"))
        index = open_index(where(name), dim=dim, encoder=ENCODER, fields=fields, patience=30)
        collections.setdefault(name, index)
        return open_index(where(name), patience=30)

    return begin


@pytest.fixture(scope="module")
def kept(collections):
    collections["kept"] = open_index(where("kept"), dim=DIM, encoder=ENCODER, fields=KINDS, patience=30)
    return fill(collections["kept"])


def test_a_collection_remembers_whose_it_is(kept):
    assert open_index(where("kept")).schema == kept.schema
    for wish in ({"encoder": "another"}, {"dim": 17}, {"fields": {}}):
        with pytest.raises(MismatchError, match="was asked for"):
            open_index(where("kept"), **wish)


def test_a_collection_of_something_else_is_left_alone(collections):
    from pymilvus import MilvusClient

    name = f"test_{RUN}_foreign"
    client = MilvusClient(URI)
    client.create_collection(name, dimension=8)
    with pytest.raises(MismatchError, match="was not made by open_index: name another collection"):
        open_index(where("foreign"), dim=8, encoder=ENCODER)
    assert client.has_collection(name)
    client.drop_collection(name)


def test_kill_9_loses_no_acknowledged_row(begin):
    assert kill_writers(begin(fields={"year": int}), where(f"{DIM}_year")) >= 9


def test_two_processes_write_the_same_ids_while_others_read(begin):
    index = begin(fields={"year": int})
    place = where(f"{DIM}_year")
    write_the_same_twice(place)
    assert check_batches(index, 11) == 12
    with process(read, [place]) as (_, pipe):
        assert pipe.recv() == ([(121, 10)], [("1-0",)])
        index.upsert(*batch(12))
        pipe.send("and now?")
        assert pipe.recv() == ([(131, 10)], [("1-0",)])


def test_an_upsert_larger_than_a_message_is_sent_in_parts(begin):
    index = begin(dim=64, fields={"year": int})
    vectors = units(9000, 64)
    index.upsert([str(n) for n in range(9000)], vectors, {"year": list(range(9000))})
    assert len(index) == 9000
    assert index.search(vectors[8999:], 1).ids == (("8999",),)
    index.delete(where=field("year") >= 20)
    assert sorted(index.search(vectors[:1], 100).ids[0]) == sorted(str(n) for n in range(20))
    assert torch.allclose(index.read(["3"]).vectors, vectors[3:4], atol=1e-6)


def test_a_dropped_collection_is_a_clear_error(begin, monkeypatch):
    index = begin()
    monkeypatch.setattr(index._store, "name", "dropped")
    upsert = partial(index.upsert, ["a"], units(1), row_fields([0]))
    for use in (lambda: index.search(units(1), 1), upsert, len):
        with pytest.raises(UnavailableError, match=f"the server {URI} .*refused .*is it up"):
            use(index) if use is len else use()


def refusing(ask, times):
    """A read that the server refuses at first, as it does while a collection is being loaded."""
    left = [MilvusException(65535, "fail to Search, reason=delegator closed during wait")] * times

    def answer(*args, **kwargs):
        if left:
            raise left.pop()
        return ask(*args, **kwargs)

    return answer


def test_a_read_waits_while_the_collection_is_loaded_anew(kept, monkeypatch):
    store, size = kept._store, len(kept)
    monkeypatch.setattr(store._client, "search", refusing(store._client.search, 2))
    monkeypatch.setattr(store._client, "query", refusing(store._client.query, 2))
    assert len(kept.search(units(1), 3).ids[0]) == 3
    assert len(kept) == size
    monkeypatch.setattr(store, "patience", 0.0)
    monkeypatch.setattr(store._client, "query", refusing(store._client.query, 2))
    with pytest.raises(UnavailableError, match="delegator closed"):
        len(kept)


def test_others_see_all_while_the_graph_is_built(begin):
    index = begin(dim=64, fields={"year": int})
    vectors = units(3000, 64)
    index.upsert([str(n) for n in range(3000)], vectors, {"year": list(range(3000))})
    built = threading.Event()

    def reads():
        seen = set()
        with open_index(where("64_year"), patience=30) as other:
            while not built.is_set():
                seen.add((len(other), other.search(vectors[7:8], 1).ids))
        return seen

    with ThreadPoolExecutor(2) as readers:
        found = [readers.submit(reads) for _ in range(2)]
        try:
            index.optimise()
            index.upsert([str(n) for n in range(1500)], vectors[:1500], {"year": list(range(1500))})
            index.optimise()
        finally:
            built.set()  # or the readers would never end
        assert found[0].result() == found[1].result() == {(3000, (("7",),))}
    hits = index.search(vectors[7:8], 100, field("year") < 100)
    assert sorted(hits.ids[0], key=int) == [str(n) for n in range(100)]
