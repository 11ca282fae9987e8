"""LanceDB, embedded: a folder, searched by an HNSW graph over scalar-quantised vectors, the best rescored.

Lance never changes a file: a write adds files and a new version that lists them. So a killed writer leaves
the last version whole, and readers of other processes are not disturbed. What Lance does not have is in the
ledger: the checksum of every file, and one writer at a time (two that upsert the same new id would both
insert it).

Filters are evaluated before the search (`prefilter`), rows not yet in the graph are scanned: lists are full.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from geoclip_lite.index.base import Abilities, Found, Rows, Schema, Wish
from geoclip_lite.index.errors import DamagedError, MissingPackageError, UnavailableError, VectorStoreError
from geoclip_lite.index.filters import Dialect, Filter, Value, render
from geoclip_lite.index.ledger import Ledger

try:
    import lancedb
    import pyarrow as pa
    from lancedb.index import BTree, HnswSq
except ImportError:  # an extra
    lancedb = None

TABLES = ("CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, sha256 TEXT) WITHOUT ROWID",)
GRAPH_FROM = 1000  # rows; fewer are scanned
NEIGHBOURS, BREADTH_OF_BUILD = 20, 150  # HNSW's m and ef_construction
BREADTH = 1000  # HNSW's ef, at least. 100,000 x 512 in 1,000 clusters: recall@100 .998; with 300, .992
REFINE = 3  # times k rows are rescored with their full vectors
HINT = "latest_version_hint.json"  # the only file that Lance writes over; it can do without
OLD = timedelta(hours=1)  # versions that no reader is in the middle of any more
ARROW = {} if lancedb is None else {str: pa.utf8(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class Lance:
    """A table of LanceDB in a folder. See `Store` for the methods."""

    abilities = Abilities(
        "lance", exact=False, persistent=True, several_readers=True, atomic=True, checksums=True
    )

    def __init__(self, folder: Path, wish: Wish, patience: float):
        if lancedb is None:
            raise MissingPackageError("an index in a folder needs LanceDB: pip install 'geoclip-lite[index]'")
        self.ledger = Ledger(folder, "lance", wish, TABLES, patience)
        self.schema = self.ledger.schema
        self._arrow = _arrow_schema(self.schema)
        self._check(self._first_loss)
        self._table = self._open()

    def _open(self) -> lancedb.table.Table:
        """The table, made if there is none. Every search looks for the newest version."""
        with self._named():
            database = lancedb.connect(self.ledger.folder, read_consistency_interval=timedelta(0))
            if "rows" in database.list_tables().tables:
                return database.open_table("rows")
        with self._writing():
            return database.create_table("rows", schema=self._arrow, exist_ok=True)

    # --- rows ---

    def put(self, rows: Rows) -> None:
        """One version of the table."""
        numbers = pa.array(rows.vectors.numpy().ravel())
        columns = [pa.array(rows.ids), pa.FixedSizeListArray.from_arrays(numbers, self.schema.dim)]
        columns += [pa.array(rows.fields[name], ARROW[kind]) for name, kind in self.schema.fields.items()]
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        with self._writing():
            merge.execute(pa.table(columns, schema=self._arrow))

    def remove(self, where: Filter) -> None:
        """One version of the table."""
        with self._writing():
            self._table.delete(render(where, SQL))

    def count(self, where: Filter | None) -> int:
        """How many rows pass."""
        with self._named():
            return self._table.count_rows(None if where is None else render(where, SQL))

    def read(self, where: Filter) -> Rows:
        """The rows that pass."""
        with self._named():
            found = self._table.search().where(render(where, SQL)).to_arrow()
        numbers = found["vector"].combine_chunks().flatten().to_numpy()
        vectors = torch.from_numpy(numbers.reshape(-1, self.schema.dim).copy())
        fields = {name: found[_column(name)].to_pylist() for name in self.schema.fields}
        return Rows(tuple(found["id"].to_pylist()), vectors, fields)

    # --- search ---

    def nearest(self, queries: Float[np.ndarray, "queries dim"], k: int, where: Filter | None) -> list[Found]:
        """Nearly all of the nearest rows, with their exact cosines."""
        text = None if where is None else render(where, SQL)
        with self._named():
            wanted = min(k, self._table.count_rows(text))
            return [self._nearest(query, k, text, wanted) for query in queries]

    def _nearest(self, query: Float[np.ndarray, " dim"], k: int, where: str | None, wanted: int) -> Found:
        search = self._table.search(query, vector_column_name="vector").distance_type("dot").limit(k)
        search = search.ef(max(BREADTH, REFINE * k)).refine_factor(REFINE).select(["id", "_distance"])
        search = search if where is None else search.where(where, prefilter=True)
        found = search.to_arrow()
        if len(found) < wanted:  # a graph may run dry; scanning does not
            found = search.bypass_vector_index().to_arrow()
        return found["id"].to_pylist(), (1 - found["_distance"].to_numpy()).tolist()

    def optimise(self, by_vector: bool) -> None:
        """Merges small files, drops old versions, and builds a tree of ids and the graph over all rows."""
        with self._writing():
            for index in self._table.list_indices():
                self._table.drop_index(index.name)
            self._table.optimize(cleanup_older_than=OLD)
            self._table.create_index("id", config=BTree())
            if by_vector and self._table.count_rows() >= GRAPH_FROM:
                graph = HnswSq("dot", num_partitions=1, m=NEIGHBOURS, ef_construction=BREADTH_OF_BUILD)
                self._table.create_index("vector", config=graph)

    # --- files ---

    def verify(self) -> None:
        """Compares every file with its checksum."""
        self.ledger.check()
        self._check(self._first_change)

    def close(self) -> None:
        """Lance keeps no file open."""

    def _check(self, first_damage: Callable[[], str | None]) -> None:
        """A writer may just be clearing up: what seems damaged is looked at again when there is none."""
        if first_damage():
            with self.ledger.writing():
                if damage := first_damage():
                    advice = "restore the folder from a copy, or begin anew and upsert all rows"
                    raise DamagedError(f"{self.ledger.folder / damage}: {advice}")

    def _first_loss(self) -> str | None:
        """A file that is missing or of another size, and what is wrong with it."""
        for name, size, _ in self._known():
            path = self.ledger.folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                return (
                    f"{name} is damaged, {'it is missing' if found is None else f'{found} bytes, not {size}'}"
                )
        return None

    def _first_change(self) -> str | None:
        """The same, also if only the content differs."""
        for name, size, digest in self._known():
            path = self.ledger.folder / name
            if path.is_file() and _sha256(path) != digest:
                return f"{name} is damaged, its {size} bytes have changed"
        return self._first_loss()

    def _known(self) -> list[tuple[str, int, str]]:
        with self.ledger.reading() as database:
            return database.execute("SELECT path, size, sha256 FROM files").fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Holds the lock, and afterwards notes the files that have come and gone."""
        with self.ledger.writing() as database:
            with self._named():
                yield
            known = {name for (name,) in database.execute("SELECT path FROM files")}
            there = set(_files(self.ledger.folder))
            database.executemany("DELETE FROM files WHERE path = ?", ((name,) for name in known - there))
            about = ((name, self.ledger.folder / name) for name in there - known)
            rows = ((name, path.stat().st_size, _sha256(path)) for name, path in about)
            database.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turns what Lance raises into our errors."""
        try:
            yield
        except VectorStoreError:
            raise
        except Exception as error:  # Lance reports most of what happens to it as RuntimeError
            if damage := self._first_change():
                raise DamagedError(f"{self.ledger.folder / damage}: restore the folder") from error
            advice = "run verify(), and see that the folder has room and may be written to"
            raise UnavailableError(f"{self.ledger.folder} cannot be used ({error}): {advice}") from error


def _arrow_schema(schema: Schema) -> pa.Schema:
    fields = [pa.field("id", pa.utf8(), False)]
    fields += [pa.field("vector", pa.list_(pa.float32(), schema.dim), False)]
    return pa.schema(fields + [pa.field(_column(n), ARROW[kind], False) for n, kind in schema.fields.items()])


def _files(folder: Path) -> Iterator[str]:
    """Lance's files, by their paths in the folder."""
    for place, _, names in os.walk(folder / "rows.lance"):
        paths = (os.path.relpath(os.path.join(place, name), folder) for name in names if name != HINT)
        yield from paths


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- filters --------------------------------------------------------------------------------------


def _column(name: str) -> str:
    """Prefixed: a field may be called `order`."""
    return name if name == "id" else f"f_{name}"


def _literal(value: Value) -> str:
    """As SQL. In a quoted text, nothing but the quote itself has a meaning."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


SQL = Dialect(_column, _literal, equal="=", brackets="()")
