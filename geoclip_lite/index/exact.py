"""Exact search with numpy: every row is looked at. The oracle of all other stores.

Up to some ten thousand rows nothing is quicker. With a journal the rows outlive the process, and what other
processes write is seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from geoclip_lite.index.base import Abilities, Found, Rows, Schema
from geoclip_lite.index.filters import Filter, mask
from geoclip_lite.index.journal import Changes, Journal

SCORES_AT_ONCE = 20_000_000  # 80 MB
GATHER_BELOW = 0.15  # of all rows: copying more than these takes longer than scoring all
DTYPES = {str: object, int: np.int64, float: np.float64, bool: np.bool_}


class Growing:
    """An array that grows at its end. It doubles, so that n appends copy no more than 2n rows."""

    def __init__(self, width: tuple[int, ...], dtype: type):
        self._room = np.empty((64, *width), dtype)
        self._size = 0

    def extend(self, values: Iterable) -> None:
        """Appends rows."""
        values = np.asarray(values, self._room.dtype).reshape(-1, *self._room.shape[1:])
        size = self._size + len(values)
        if size > len(self._room):
            room = np.empty((max(size, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            room[: self._size] = self.filled
            self._room = room
        self._room[self._size : size] = values
        self._size = size

    @property
    def filled(self) -> np.ndarray:
        """What has been appended, as a view."""
        return self._room[: self._size]


class Table:
    """Rows in memory, in the order in which they came. A replaced or deleted row stays, marked as dead."""

    def __init__(self, schema: Schema):
        self.columns = {name: Growing((), DTYPES[kind]) for name, kind in schema.columns.items()}
        self.vectors = Growing((schema.dim,), np.float32)
        self.stamps, self.alive = Growing((), np.int64), Growing((), np.bool_)
        self.places: dict[str, int] = {}

    def apply(self, changes: Changes) -> None:
        """Appends what was written, buries what was replaced or deleted."""
        start = len(self.alive.filled)
        for name in changes.ids:
            if (place := self.places.pop(name, None)) is not None:
                self.alive.filled[place] = False
        kept = [name for name, live in zip(changes.ids, changes.live, strict=True) if live]
        self.vectors.extend(changes.vectors)
        for name, values in {"id": kept, **changes.fields}.items():
            self.columns[name].extend(values)
        self.stamps.extend(changes.stamps[np.array(changes.live, bool)])
        self.alive.extend([True] * len(kept))
        self.places |= {name: start + number for number, name in enumerate(kept)}

    def view(self, where: Filter | None = None) -> View:
        """The rows as they are now, and which of them are alive and pass."""
        passing = self.alive.filled.copy()
        if where is not None:
            passing &= mask(where, {name: column.filled for name, column in self.columns.items()})
        return View(self.columns["id"].filled, self.vectors.filled, self.stamps.filled, passing)


@dataclass(frozen=True)
class View:
    """Rows to search. It stays as it is while the table grows.

    Args:
        stamps: rising.
        passing: which of the rows may be found.
    """

    ids: Shaped[np.ndarray, " rows"]
    vectors: Float[np.ndarray, "rows dim"]
    stamps: Int[np.ndarray, " rows"]
    passing: Bool[np.ndarray, " rows"]

    def after(self, start: int) -> View:
        """The rows from a place on."""
        return View(self.ids[start:], self.vectors[start:], self.stamps[start:], self.passing[start:])

    def best(self, queries: Float[np.ndarray, "queries dim"], k: int) -> list[Found]:
        """The k best of the rows that pass, or all of them."""
        n_passing = int(self.passing.sum())
        few = n_passing < GATHER_BELOW * len(self.passing)
        vectors, ids = (
            (self.vectors[self.passing], self.ids[self.passing]) if few else (self.vectors, self.ids)
        )
        found, step = [], max(1, SCORES_AT_ONCE // max(1, len(vectors)))
        for block in (queries[start : start + step] for start in range(0, len(queries), step)):
            scores = block @ vectors.T
            if n_passing < len(vectors):
                scores[:, ~self.passing] = -np.inf
            for row, places in zip(scores, _top(scores, min(k, n_passing)), strict=True):
                found.append((ids[places].tolist(), row[places].tolist()))
        return found


class Exact:
    """Rows in memory and, with a journal, on disk.

    Several threads may use it: what a search looks at is taken under a lock, and then never changes.
    """

    abilities = Abilities(
        "exact", exact=True, persistent=False, several_readers=False, atomic=True, checksums=False
    )

    def __init__(self, schema: Schema, journal: Journal | None = None):
        self.schema, self.journal = schema, journal
        self._lock = threading.RLock()
        self._table, self._seen = Table(schema), 0
        if journal is not None:
            self.abilities = Abilities(
                "exact", exact=True, persistent=True, several_readers=True, atomic=True, checksums=True
            )
            self._refresh()

    # --- rows ---

    def put(self, rows: Rows) -> None:
        """Journal first: what is on disk is seen by the next look."""
        with self._lock:
            if self.journal is not None:
                self.journal.append(rows)
                return
            stamps = np.arange(self._seen, self._seen + len(rows)) + 1
            fields = {name: list(values) for name, values in rows.fields.items()}
            live = [True] * len(rows)
            self._take(Changes(stamps, list(rows.ids), live, rows.vectors.numpy(), fields))

    def remove(self, where: Filter) -> None:
        """Deletes the rows that pass."""
        with self._lock:
            view = self._refresh().view(where)
            ids = view.ids[view.passing].tolist()
            if self.journal is not None:
                self.journal.strike(ids)
                return
            stamps, nothing = np.full(len(ids), self._seen), np.empty((0, self.schema.dim), np.float32)
            fields = {name: [] for name in self.schema.fields}
            self._take(Changes(stamps, ids, [False] * len(ids), nothing, fields))

    def count(self, where: Filter | None) -> int:
        """How many rows pass."""
        with self._lock:
            return int(self._refresh().view(where).passing.sum())

    def read(self, where: Filter) -> Rows:
        """The rows that pass."""
        with self._lock:
            table = self._refresh()
            places = table.view(where).passing.nonzero()[0]
            values = {name: column.filled[places].tolist() for name, column in table.columns.items()}
            ids = tuple(values.pop("id"))
            return Rows(ids, torch.from_numpy(table.vectors.filled[places]), values)

    def _refresh(self) -> Table:
        """The rows as they are now, whoever has written them."""
        with self._lock:
            for changes in self.journal.since(self._seen) if self.journal is not None else ():
                self._take(changes)
            return self._table

    def _take(self, changes: Changes) -> None:
        self._table.apply(changes)
        self._seen = int(max(self._seen, *changes.stamps)) if len(changes.stamps) else self._seen

    # --- search ---

    def nearest(self, queries: Float[np.ndarray, "queries dim"], k: int, where: Filter | None) -> list[Found]:
        """The true nearest rows."""
        with self._lock:
            view = self._refresh().view(where)
        return view.best(queries, k)

    # --- the rest ---

    def optimise(self, by_vector: bool) -> None:
        """Forgets the dead rows."""
        with self._lock:
            if self.journal is not None:
                self._table, self._seen = Table(self.schema), 0
                self._refresh()

    def verify(self) -> None:
        """Reads the journal once more."""
        if self.journal is not None:
            self.journal.ledger.check()
            for _ in self.journal.since(0):
                pass

    def close(self) -> None:
        """Gives the memory back."""
        self._table = Table(self.schema)


def _top(scores: Float[np.ndarray, "queries rows"], k: int) -> Int[np.ndarray, "queries k"]:
    """Where the k largest stand, in any order."""
    rest = scores.shape[1] - k
    if k == 0 or rest == 0:
        return np.broadcast_to(np.arange(k), (len(scores), k))
    return np.argpartition(scores, rest, axis=1)[:, rest:]
