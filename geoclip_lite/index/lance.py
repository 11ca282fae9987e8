"""LanceDB, embedded: a folder, searched by an HNSW graph over scalar-quantised vectors, the best rescored.

Lance never changes a file: a write adds files and a new version that lists them. So a killed writer leaves
the last version whole, and readers take no lock. Writers do: two that upsert the same new id would both
insert it. Filters are evaluated before the search, rows not yet in the graph are scanned: lists are full.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import lancedb
import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from lancedb.index import BTree, HnswSq

from geoclip_lite.index.base import Capabilities, Nearest, Queries, Rows, Schema, not_unit
from geoclip_lite.index.errors import DamagedError, UnavailableError, VectorStoreError
from geoclip_lite.index.filters import Filter, Value, column, render
from geoclip_lite.index.folders import holds_index, locked

ARROW = {str: pa.utf8(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
KEY = b"geoclip-lite"  # of the schema in the table's metadata
GRAPH_FROM = 1000  # rows; fewer are scanned
NEIGHBOURS, BREADTH_OF_BUILD = 20, 150  # HNSW's m and ef_construction
BREADTH = 1000  # HNSW's ef, at least. 100,000 x 512 in 1,000 clusters: recall@100 .998; with 300, .992
REFINE = 3  # times k rows are rescored with their full vectors
OLD = timedelta(hours=1)  # versions that no reader is in the middle of any more
BATCH = 1024  # rows in memory while all are read
ATTEMPTS = 3  # at reading: the version that is read may be cleaned up meanwhile

T = TypeVar("T")


class Lance:
    """A table of LanceDB in a folder. An upsert is there as a whole or not at all."""

    capabilities = Capabilities("lance", exact=False, durable=True, shared=True)

    def __init__(self, folder: str, expected: Mapping[str, object], patience: float):
        self.folder, self.patience = Path(folder), patience
        if not self._begun():
            schema = Schema.agreed(None, expected, folder)
            with self._writing():
                if not self._begun():  # by another process, just now
                    lancedb.connect(folder).create_table("rows", schema=_arrow_schema(schema))
        with self._errors():
            every_time = {"read_consistency_interval": timedelta(0)}  # a search sees what others have written
            self._table = lancedb.connect(folder, **every_time).open_table("rows")
            self._arrow = self._table.schema
            present = Schema.from_json(self._arrow.metadata[KEY])
        self.schema = Schema.agreed(present, expected, folder)

    def _begun(self) -> bool:
        """Whether there is a version. A process killed while it began may leave a folder without."""
        table = self.folder / "rows.lance"
        begun = holds_index(table) and any(table.glob("_versions/*.manifest"))
        if not begun and any(table.glob("data/*")):
            raise DamagedError(f"{table}/_versions is lost: restore it from a copy, or embed anew elsewhere")
        return begun

    # --- rows ---

    def put(self, rows: Rows) -> None:
        columns = {"id": pa.array(rows.ids), "vector": _lists(rows.vectors)}
        columns |= {} if rows.payload is None else {"payload": _lists(rows.payload)}
        columns |= {column(name): values for name, values in rows.fields.items()}
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        with self._writing():
            merge.execute(pa.table(columns, schema=self._arrow))

    def remove(self, where: Filter) -> None:
        with self._writing():
            self._table.delete(_sql(where))

    def count(self, where: Filter | None) -> int:
        return self._ask(lambda: self._table.count_rows(None if where is None else _sql(where)))

    def read(self, where: Filter) -> Rows:
        return self._rows(self._ask(lambda: self._table.search().where(_sql(where)).to_arrow()))

    def values(self, name: str) -> dict[str, Value]:
        table = self._ask(lambda: self._table.search().select(["id", column(name)]).to_arrow())
        return dict(zip(table["id"].to_pylist(), table[column(name)].to_pylist(), strict=True))

    def _rows(self, table: pa.Table) -> Rows:
        fields = {name: table[column(name)].to_pylist() for name in self.schema.fields}
        payload = _matrix(table["payload"]) if self.schema.payload else None
        return Rows(tuple(table["id"].to_pylist()), _matrix(table["vector"]), fields, payload)

    def nearest(self, queries: Queries, k: int, where: Filter | None, rows: bool) -> list[Nearest]:
        return [self._ask(lambda query=query: self._nearest(query, k, where, rows)) for query in queries]

    def _nearest(self, query: Float[np.ndarray, " dim"], k: int, where: Filter | None, rows: bool) -> Nearest:
        search = self._table.search(query, vector_column_name="vector").distance_type("dot").limit(k)
        search = search.ef(max(BREADTH, REFINE * k)).refine_factor(REFINE)
        search = search.select([*(self._arrow.names if rows else ["id"]), "_distance"])
        search = search if where is None else search.where(_sql(where), prefilter=True)
        hits = search.to_arrow()
        if len(hits) < k and len(hits) < self.count(where):  # a graph may run dry; scanning does not
            hits = search.bypass_vector_index().to_arrow()
        scores = (1 - hits["_distance"].to_numpy()).tolist()
        return (hits["id"].to_pylist(), scores, self._rows(hits) if rows else None)

    def optimise(self) -> None:
        """Drops old versions, merges small files, and builds a tree of ids and the graph over all rows."""
        with self._writing():
            for index in self._table.list_indices():
                self._table.drop_index(index.name)
            self._table.optimize(cleanup_older_than=OLD)
            self._table.create_index("id", config=BTree())
            if self._table.count_rows() >= GRAPH_FROM:
                graph = HnswSq("dot", num_partitions=1, m=NEIGHBOURS, ef_construction=BREADTH_OF_BUILD)
                self._table.create_index("vector", config=graph)

    def verify(self) -> None:
        """Lance has no checksums: a bit of a field or payload may flip unnoticed."""
        self._ask(self._check_vectors)

    def _check_vectors(self) -> None:
        for batch in self._table.search().to_batches(BATCH):
            if off := not_unit(_matrix(batch["vector"])):
                raise ValueError(f"a vector: {off}")

    def close(self) -> None:
        """Lance keeps no file open."""

    # --- what may happen ---

    def _ask(self, read: Callable[[], T]) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return read()
            except Exception:
                continue
        with self._errors():
            return read()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with locked(self.folder, self.patience), self._errors():
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what Lance raises into our errors."""
        try:
            yield
        except VectorStoreError:
            raise
        except Exception as error:
            if re.search(r"os error (?!2\b)|\[Errno", str(error)):  # 2: no such file
                advice = "is there room, may it be written to?"
                raise UnavailableError(f"{self.folder} cannot be used ({error}): {advice}") from error
            advice = "restore it from a copy, or embed anew elsewhere"
            raise DamagedError(f"{self.folder} is damaged ({error}): {advice}") from error


def _sql(where: Filter) -> str:
    """In a quoted text of SQL, nothing but the quote itself has a meaning."""
    return render(
        where, lambda v: "'" + v.replace("'", "''") + "'" if isinstance(v, str) else json.dumps(v), "()"
    )


def _arrow_schema(schema: Schema) -> pa.Schema:
    types = {"id": pa.utf8(), "vector": pa.list_(pa.float32(), schema.dim)}
    types |= {"payload": pa.list_(pa.float16(), schema.payload)} if schema.payload else {}
    types |= {column(name): ARROW[kind] for name, kind in schema.fields.items()}
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    return pa.schema(fields, metadata={KEY: schema.to_json()})


def _lists(matrix: Float[torch.Tensor, "rows width"]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.numpy().ravel()), matrix.shape[1])


def _matrix(lists: pa.ChunkedArray | pa.Array) -> Float[torch.Tensor, "rows width"]:
    """Copied: Arrow's memory is read-only."""
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return torch.from_numpy(lists.flatten().to_numpy().reshape(-1, lists.type.list_size).copy())
