"""The index in memory and in folders: one contract for all, and what disks and processes do."""

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from index_contract import *
from index_contract import DIM, ENCODER, KINDS, PAYLOAD, ROWS, check_rows, fill, units
from index_processes import batch, check_batches, process, read, write_the_same_at_once

from geoclip_lite.index import (
    BadInputError,
    DamagedError,
    LockedError,
    MismatchError,
    MissingPackageError,
    UnavailableError,
    field,
    open_index,
)

PLACES = {"memory": "memory:", "exact": "exact:{}", "faiss": "faiss:{}", "lance": "{}"}
ROOT = Path(__file__).parents[1]
each_folder = pytest.mark.parametrize("kind", ["exact", "faiss", "lance"])


@pytest.fixture(params=PLACES, scope="module")
def store(request):
    return request.param


@pytest.fixture
def begin(store, tmp_path):
    """Opens a new index of the store."""
    return lambda **schema: begun(store, tmp_path, **schema)


@pytest.fixture(scope="module")
def kept(store, tmp_path_factory):
    return fill(begun(store, tmp_path_factory.mktemp("kept"), payload=PAYLOAD))


def place(kind, folder):
    return PLACES[kind].format(folder / "index")


def begun(kind, folder, dim=DIM, fields=KINDS, payload=0):
    return open_index(place(kind, folder), dim=dim, encoder=ENCODER, fields=fields, payload=payload)


def saved(kind, folder, **schema):
    """What a closed index has left in its folder: a file or a table."""
    fill(begun(kind, folder, **schema)).close()
    return folder / "index" / ("rows.lance" if kind == "lance" else "rows.npz")


# --- places ---------------------------------------------------------------------------------------


@each_folder
@pytest.mark.parametrize("optimised", [False, True])
def test_an_index_is_as_it_was_when_it_is_opened_again(kind, optimised, tmp_path):
    with fill(begun(kind, tmp_path, payload=PAYLOAD)) as index:
        index.optimise()
        index.delete(["row 3"])
        fill(index, [7])
        if optimised:
            index.optimise()
        expected = index.search(ROWS.vectors, 10)
    with open_index(place(kind, tmp_path), fields=KINDS, payload=PAYLOAD) as again:
        again.verify()
        assert again.schema == index.schema
        for one, other in zip(again.search(ROWS.vectors, 10).scores, expected.scores, strict=True):
            assert np.allclose(one, other, atol=1e-5)
        check_rows(again.read(ROWS.ids[4:9]), list(range(4, 9)))
        assert len(again) == 59


@each_folder
@pytest.mark.parametrize(
    "wish",
    [{"encoder": "another"}, {"dim": 17}, {"fields": KINDS | {"year": float}}, {"payload": 5}],
    ids=str,
)
def test_an_index_of_something_else_is_refused(kind, wish, tmp_path):
    saved(kind, tmp_path)
    with pytest.raises(MismatchError, match=f"^{next(iter(wish))} .*asked for"):
        open_index(place(kind, tmp_path), **wish)
    assert len(open_index(place(kind, tmp_path))) == 60


def test_faiss_and_exact_open_each_other_but_not_lance(tmp_path):
    saved("faiss", tmp_path)
    assert len(open_index(place("exact", tmp_path))) == 60
    with pytest.raises(MismatchError, match=r"rows\.npz"):
        open_index(place("lance", tmp_path))


@each_folder
@pytest.mark.parametrize("name", ["thesis.txt", "index.sqlite"])
def test_a_folder_of_other_things_or_an_older_version_is_left_alone(kind, name, tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / name).write_text("mine")
    with pytest.raises(MismatchError, match="older version" if "sqlite" in name else name):
        begun(kind, tmp_path)
    assert [path.name for path in (tmp_path / "index").iterdir()] == [name]


@each_folder
def test_a_file_where_the_folder_should_be_is_a_clear_error(kind, tmp_path):
    (tmp_path / "index").write_text("")
    with pytest.raises(UnavailableError, match="index"):
        begun(kind, tmp_path)


@pytest.mark.parametrize(
    ("where", "wrong", "name"),
    [
        *((where, {}, "where must") for where in ("redis:photos", "faiss:", "", "memory", "memory:x")[:3]),
        ("memory:x", {}, "where must"),
        ("memory:", {"dim": None}, "give dim and encoder"),
        *(("memory:", {"dim": dim}, "dim must") for dim in (0, 2.0, 40_000)),
        *(("memory:", {"payload": payload}, "payload must") for payload in (-1, True, 32_769)),
        ("memory:", {"encoder": ""}, "encoder must"),
        *(
            ("memory:", {"fields": {name: int}}, "fields must")
            for name in ("Price", "a b; --", "id", "x" * 65)
        ),
        ("memory:", {"fields": {"price": list}}, "fields must"),
        ("memory:", {"patience": 0}, "patience must"),
    ],
)
def test_what_open_index_cannot_do_it_says(where, wrong, name):
    with pytest.raises(BadInputError, match=name):
        open_index(where, **{"dim": 4, "encoder": "x"} | wrong)


@pytest.mark.parametrize(("kind", "package"), [("lance", "lancedb"), ("faiss", "faiss")])
def test_a_missing_package_is_named(kind, package, monkeypatch, tmp_path):
    for name in ("geoclip_lite.index.lance", "geoclip_lite.index.hnsw"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*geoclip-lite\[index\]"):
        begun(kind, tmp_path)


def test_stores_are_imported_when_they_are_asked_for():
    code = "import sys, geoclip_lite.index; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout
    assert not {"lancedb", "faiss", "pymilvus", "pandas", "pyarrow"} & set(loaded.split())


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_flipped_bits_of_a_saved_file_are_noticed(kind, tmp_path):
    """Wherever: an error that names the file, or nothing that a row depends on."""
    file, generator, noticed = saved(kind, tmp_path), np.random.default_rng(0), 0
    content, expected = file.read_bytes(), open_index(place(kind, tmp_path)).search(units(3), 60).ids
    for offset in generator.integers(len(content), size=60):
        file.write_bytes(content[:offset] + bytes([content[offset] ^ 0x55]) + content[offset + 1 :])
        try:
            assert open_index(place(kind, tmp_path)).search(units(3), 60).ids == expected
        except DamagedError as error:
            noticed += file.name in str(error)
    assert noticed > 50


@each_folder
def test_a_file_cut_short_is_named(kind, tmp_path):
    path = saved(kind, tmp_path)
    for file in path.glob("data/*") if path.is_dir() else [path]:
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DamagedError, match=path.parent.name):
        open_index(place(kind, tmp_path)).verify()


def test_what_lance_has_lost_is_an_error_and_no_fresh_index(tmp_path):
    index = fill(begun("lance", tmp_path))
    for part in ("data", "_versions"):
        place_of_part = tmp_path / "index" / "rows.lance" / part
        place_of_part.rename(tmp_path / part)
        with pytest.raises(DamagedError, match="index"):
            begun("lance", tmp_path).read(["row 1"])
        (tmp_path / part).rename(place_of_part)
    assert len(index) == 60


def test_verify_notices_a_vector_that_is_no_unit_row(tmp_path):
    index, vector = fill(begun("lance", tmp_path)), ROWS.vectors[17].numpy()
    for file in (tmp_path / "index" / "rows.lance" / "data").iterdir():
        content = file.read_bytes()
        file.write_bytes(content.replace(vector.tobytes(), (3 * vector).tobytes()))
        assert content != file.read_bytes()
    with pytest.raises(DamagedError, match="row 17"):
        index.verify()


# --- several processes ----------------------------------------------------------------------------


def test_a_kill_in_optimise_write_or_delete_loses_nothing_and_readers_go_on():
    """One kill each, with versions that are old enough to be dropped."""
    command = [sys.executable, "benchmarks/index_kills.py", "--rounds", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_three_processes_that_write_the_same_ids_leave_each_once(tmp_path):
    index = begun("lance", tmp_path, fields={"year": int})
    write_the_same_at_once(place("lance", tmp_path), 3)
    check_batches(index, 11)
    index.verify()


def test_other_processes_see_what_is_written(tmp_path):
    index = begun("lance", tmp_path, fields={"year": int})
    with process(read, place("lance", tmp_path)) as (_, pipe):
        assert pipe.recv() == (0, 0, ())
        for number, counts in ((0, (11, 0)), (1, (21, 11)), (2, (31, 10))):
            index.upsert(*batch(number))
            index.optimise()
            pipe.send("and now?")
            *seen, ids = pipe.recv()
            assert tuple(seen) == counts
            assert ids == ("1-0",) or number == 0


@each_folder
def test_a_locked_index_is_an_error_after_a_while_and_loses_nothing(kind, tmp_path):
    saved(kind, tmp_path)
    index = open_index(place(kind, tmp_path), patience=0.2)
    with FileLock(tmp_path / "index" / ".lock"):
        assert len(open_index(place(kind, tmp_path)).search(units(1), 60).ids[0]) == 60
        with pytest.raises(LockedError, match="patience"):
            fill(index, [1]).optimise()
    fill(index, [1]).close()
    assert len(open_index(place(kind, tmp_path))) == 60


def test_what_another_process_has_saved_is_not_overwritten(tmp_path):
    one, other = (begun("exact", tmp_path) for _ in range(2))
    fill(one, [1]).close()
    with pytest.raises(LockedError, match="another process"):
        fill(other, [2]).close()
    assert open_index(place("exact", tmp_path)).read(["row 1"]).ids == ("row 1",)


def write_too_much(pipe, where):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    index = open_index(where)
    try:
        index.upsert([str(n) for n in range(5000)], units(5000), {"year": [1] * 5000})
        index.optimise()
    except UnavailableError as error:
        pipe.send(str(error))


@each_folder
def test_a_full_disk_is_a_clear_error_and_loses_nothing(kind, tmp_path):
    """Stood in for by a limit on the size of files."""
    begun(kind, tmp_path, fields={"year": int}).close()
    with open_index(place(kind, tmp_path)) as index:
        index.upsert(*batch(0))
    with process(write_too_much, place(kind, tmp_path)) as (_, pipe):
        assert "is there room" in pipe.recv()
    with open_index(place(kind, tmp_path)) as index:
        check_batches(index, 0)
    assert not list((tmp_path / "index").glob(".rows*"))


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
        index.optimise()
        for done in searches:
            done.result()
    assert len(index) == 101
