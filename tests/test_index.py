"""The index in memory and in folders: one contract for all, and what disks and processes do."""

import sqlite3
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from index_contract import *
from index_contract import (
    DIM,
    ENCODER,
    KINDS,
    ROWS,
    check_batches,
    fill,
    kill_writers,
    row_fields,
    units,
    write_the_same_twice,
)
from index_processes import batch, process, read
from near_ties import assert_same_ranking

from geoclip_lite.index import (
    BadInputError,
    DamagedError,
    IndexWarning,
    LockedError,
    MismatchError,
    MissingPackageError,
    UnavailableError,
    VectorStoreError,
    field,
    open_index,
)

PLACES = {"memory": "memory:", "exact": "exact:{}", "faiss": "faiss:{}", "lance": "{}"}
each_store = pytest.fixture(params=PLACES, scope="module")


@each_store
def store(request):
    return request.param


@pytest.fixture
def begin(store, tmp_path):
    """Opens a new index of the store."""

    def begin(dim=DIM, fields=KINDS):
        return open_index(PLACES[store].format(tmp_path / "index"), dim=dim, encoder=ENCODER, fields=fields)

    return begin


@pytest.fixture(scope="module")
def kept(store, tmp_path_factory):
    where = PLACES[store].format(tmp_path_factory.mktemp("kept") / "index")
    return fill(open_index(where, dim=DIM, encoder=ENCODER, fields=KINDS))


# --- places ---------------------------------------------------------------------------------------

PERSISTENT = ["exact", "faiss", "lance"]
each_folder = pytest.mark.parametrize("kind", PERSISTENT)


def place(kind, folder):
    return PLACES[kind].format(folder / "index")


def begun(kind, folder, fields=KINDS):
    return open_index(place(kind, folder), dim=DIM, encoder=ENCODER, fields=fields)


@each_folder
def test_an_index_is_as_it_was_when_it_is_opened_again(kind, tmp_path):
    index = fill(begun(kind, tmp_path))
    index.optimise()
    index.delete(["row 3"])
    fill(index, [7])
    expected = index.search(ROWS.vectors, 60)
    again = open_index(place(kind, tmp_path), verify=True)
    assert again.schema == index.schema == open_index(place(kind, tmp_path), fields=KINDS).schema
    found = again.search(ROWS.vectors, 60)
    # Rows that lie elsewhere in memory may be multiplied in another order.
    assert_same_ranking(found.ranking(ROWS.ids), expected.ranking(ROWS.ids))
    assert dict(again.read(ROWS.ids[4:9]).fields) == row_fields(range(4, 9))


@each_folder
@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"encoder": "another"}, "encoder 'another' was asked for, .* holds '0123abcd'.* GPU"),
        ({"dim": 17}, "dim 17 was asked for, .* holds 16"),
        ({"fields": KINDS | {"year": float}}, "fields .*asked for"),
    ],
)
def test_an_index_of_something_else_is_refused(kind, wish, message, tmp_path):
    fill(begun(kind, tmp_path))
    with pytest.raises(MismatchError, match=message):
        open_index(place(kind, tmp_path), **wish)
    assert len(open_index(place(kind, tmp_path))) == 60


@pytest.mark.parametrize(("kind", "other"), [("exact", "faiss"), ("faiss", "lance"), ("lance", "exact")])
def test_an_index_of_another_kind_is_refused(kind, other, tmp_path):
    begun(kind, tmp_path)
    with pytest.raises(MismatchError, match=f"of the kind {kind}, not {other}: open {kind}:"):
        open_index(place(other, tmp_path))


@each_folder
def test_a_folder_of_other_things_is_left_alone(kind, tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "thesis.txt").write_text("mine")
    with pytest.raises(MismatchError, match=r"holds files \(thesis.txt\) but no index"):
        begun(kind, tmp_path)
    assert (tmp_path / "index" / "thesis.txt").read_text() == "mine"


@each_folder
def test_a_file_where_the_folder_should_be_is_a_clear_error(kind, tmp_path):
    (tmp_path / "index").write_text("")
    with pytest.raises(UnavailableError, match="cannot be used"):
        begun(kind, tmp_path)


@pytest.mark.parametrize(
    ("where", "arguments", "message"),
    [
        ("redis:photos", {}, "where must be memory:, a folder, .* got 'redis:photos'"),
        ("faiss:", {}, "where must be memory:"),
        ("", {}, "where must be memory:"),
        ("memory:", {}, "to begin one, give dim and encoder"),
        ("memory:", {"dim": 0}, "dim must be a whole number from 1 to 32768, got 0"),
        ("memory:", {"dim": 2.0}, "dim must be a whole number"),
        ("memory:", {"encoder": ""}, "encoder must be a fingerprint"),
        ("memory:", {"fields": {"Price": float}}, "fields must each have a name .* got 'Price'"),
        ("memory:", {"fields": {"a b; --": int}}, "fields must each have a name"),
        ("memory:", {"fields": {"id": int}}, "fields must each have a name"),
        ("memory:", {"fields": {"price": list}}, "fields must be of type str, int, float, bool"),
        ("memory:", {"patience": 0}, "patience must be a time"),
    ],
)
def test_what_open_index_cannot_do_it_says(where, arguments, message):
    known = {"dim": 4, "encoder": "x"} if arguments else {}
    with pytest.raises(BadInputError, match=message):
        open_index(where, **known | arguments)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("geoclip_lite.index.lance.lancedb", None)
    monkeypatch.setattr("geoclip_lite.index.hnsw.faiss", None)
    for kind in ("lance", "faiss"):
        with pytest.raises(MissingPackageError, match=r"pip install 'geoclip-lite\[index\]'"):
            begun(kind, tmp_path / kind)


# --- damage ---------------------------------------------------------------------------------------


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".json"))


@each_folder
def test_flipped_bits_are_noticed(kind, tmp_path):
    """In whatever file, wherever: an error, unless no row is touched (SQLite's unused bytes)."""
    index = fill(begun(kind, tmp_path))
    index.optimise()
    fill(index, range(5, 9))
    expected = index.search(units(3), 60)
    generator, noticed = np.random.default_rng(0), 0
    for path in files(tmp_path):
        content = path.read_bytes()
        for offset in generator.integers(len(content), size=12 if kind == "lance" else 60):
            path.write_bytes(content[:offset] + bytes([content[offset] ^ 0x55]) + content[offset + 1 :])
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", IndexWarning)
                    found = open_index(place(kind, tmp_path), verify=True).search(units(3), 60)
                assert path.suffix == ".sqlite"
                assert found.ids == expected.ids
            except VectorStoreError:
                noticed += 1
        path.write_bytes(content)
    assert noticed > 5
    assert open_index(place(kind, tmp_path), verify=True).search(units(3), 60).ids == expected.ids


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_a_changed_row_of_a_journal_is_noticed_when_it_is_read(kind, tmp_path):
    fill(begun(kind, tmp_path))
    path, vector = tmp_path / "index" / "index.sqlite", ROWS.vectors[17].numpy().tobytes()
    assert vector in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(vector, vector[::-1]))
    with pytest.raises(DamagedError, match="is damaged at the row 'row 17': restore it"):
        open_index(place(kind, tmp_path))


def test_a_lost_or_truncated_file_of_lance_is_noticed_when_it_is_opened(tmp_path):
    fill(begun("lance", tmp_path))
    for path in files(tmp_path / "index" / "rows.lance"):
        content = path.read_bytes()
        for broken in (None, content[:-3]):
            path.unlink() if broken is None else path.write_bytes(broken)
            with pytest.raises(DamagedError, match="it is missing" if broken is None else "bytes, not"):
                open_index(place("lance", tmp_path))
        path.write_bytes(content)
    assert len(open_index(place("lance", tmp_path), verify=True)) == 60


def test_a_file_that_lance_loses_under_an_open_index_is_noticed(tmp_path):
    index = fill(begun("lance", tmp_path))
    for path in (tmp_path / "index" / "rows.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(DamagedError, match="it is missing"):
        open_index(place("lance", tmp_path)).search(units(1), 3)
    with pytest.raises(DamagedError, match="it is missing"):
        index.read(["row 1"])


@each_folder
def test_a_lost_ledger_is_no_fresh_index(kind, tmp_path):
    index = fill(begun(kind, tmp_path))
    index.optimise()
    (tmp_path / "index" / "index.sqlite").write_bytes(b"no database" * 999)
    with pytest.raises(DamagedError, match="cannot be read"):
        begun(kind, tmp_path)
    (tmp_path / "index" / "index.sqlite").unlink()
    if kind != "exact":  # where there is nothing else
        with pytest.raises(MismatchError, match="is missing or empty; restore it"):
            begun(kind, tmp_path)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_without_its_graph_faiss_searches_exactly_and_says_so(damage, tmp_path):
    index = fill(begun("faiss", tmp_path))
    index.optimise()
    (graph,) = (tmp_path / "index").glob("graph-*.faiss")
    graph.write_bytes(b"no graph") if damage == "changed" else graph.unlink()
    message = f"graph-.* is {damage if damage == 'missing' else 'damaged'}: search is exact, and slower"
    with pytest.warns(IndexWarning, match=message) as caught:
        again = open_index(place("faiss", tmp_path))
    said = [warning for warning in caught if warning.category is IndexWarning]  # others warn on newer Pythons
    assert said[0].filename == __file__
    found, expected = (one.search(units(2), 60).ranking(ROWS.ids) for one in (again, index))
    assert_same_ranking(found, expected)
    with pytest.raises(DamagedError, match=r"no row is lost, optimise\(\) builds it anew"):
        again.verify()
    again.optimise()
    open_index(place("faiss", tmp_path), verify=True)
    assert len(list((tmp_path / "index").glob("graph-*"))) == 1


# --- several processes ----------------------------------------------------------------------------


@each_folder
def test_kill_9_loses_no_acknowledged_row(kind, tmp_path):
    index = begun(kind, tmp_path, {"year": int})
    assert kill_writers(index, place(kind, tmp_path)) >= 9
    open_index(place(kind, tmp_path), verify=True)


def test_other_processes_see_what_is_written(tmp_path):
    places = [place(kind, tmp_path / kind) for kind in PERSISTENT]
    indexes = [begun(kind, tmp_path / kind, {"year": int}) for kind in PERSISTENT]
    with process(read, places) as (_, one), process(read, places) as (_, two):
        for pipe in (one, two):
            assert pipe.recv() == ([(0, 0)] * 3, [()] * 3)
        for number, counts in ((0, (11, 0)), (1, (21, 11)), (2, (31, 10))):
            for index in indexes:
                index.upsert(*batch(number))
                index.optimise()
            for pipe in (one, two):
                pipe.send("and now?")
                answers, ids = pipe.recv()
                assert answers == [counts] * 3
                assert ids == [("1-0",)] * 3 or number == 0


@each_folder
def test_two_processes_that_write_the_same_ids_leave_each_once(kind, tmp_path):
    index = begun(kind, tmp_path, {"year": int})
    write_the_same_twice(place(kind, tmp_path))
    assert check_batches(index, 11) == 12
    index.verify()


@each_folder
def test_a_locked_index_is_an_error_after_a_while_and_loses_nothing(kind, tmp_path):
    fill(begun(kind, tmp_path))
    index = open_index(place(kind, tmp_path), patience=0.2)
    with closing(sqlite3.connect(tmp_path / "index" / "index.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match=r"was locked for 0\.2 s: wait .* or raise patience"):
            fill(index, [1])
        assert len(index.search(units(1), 60).ids[0]) == 60
        other.execute("ROLLBACK")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LockedError):
            open_index(place(kind, tmp_path), patience=0.2)
    fill(index, [1])
    assert len(index) == 60


def test_threads_may_share_an_index(store, begin):
    index = begin(fields={"year": int})
    index.upsert(*batch(0))

    def search(number):
        for _ in range(10):
            (ids,) = index.search(batch(0)[1][:1], 5, field("year") <= number).ids
            assert ids[0] == "0-0"

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search, number) for number in range(3)]
        for number in range(1, 10):
            index.upsert(*batch(number))
        for done in searches:
            done.result()
    assert len(index) == 101
