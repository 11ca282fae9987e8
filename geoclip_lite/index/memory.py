"""Rows in memory, searched exactly with numpy: the oracle of all other stores."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int

from geoclip_lite.index.base import Capabilities, Nearest, Queries, Rows, Schema, not_unit
from geoclip_lite.index.errors import DamagedError, LockedError
from geoclip_lite.index.filters import Filter, Value, mask
from geoclip_lite.index.folders import holds_index, locked

DTYPES = {str: object, int: np.int64, float: np.float64, bool: np.bool_}
SCORES_AT_ONCE = 20_000_000  # 80 MB
GATHER_BELOW = 0.15  # of all rows: copying more than these takes longer than scoring all
SLACK = 1e-5  # what a cosine in single precision may be off by

Passing = Bool[np.ndarray, " rows"] | None  # None: all rows pass
Places = Int[np.ndarray, " hits"]


class View(NamedTuple):
    """The rows as they were when a search began, their fields for filters, and a graph, if there is one."""

    rows: Rows
    columns: Mapping[str, np.ndarray]
    graph: object | None = None


class Exact:
    """Every row is looked at. With a folder, `optimise` and `close` save the rows whole.

    The file is numpy's, whose parts have checksums, written beside and renamed. Rows that are written are put
    together with the others at the next look, so many small writes are quick, and every look sees one state.
    """

    capabilities = Capabilities("exact", exact=True, durable=False, shared=False)

    def __init__(self, folder: str, expected: Mapping[str, object], patience: float):
        self.file, self.patience = Path(folder) / "rows.npz" if folder else None, patience
        self._lock, self._new, self._changed = threading.RLock(), [], True
        stored = self._load() if folder and holds_index(self.file) else (None, None, None)
        self._stamp, (present, rows, graph) = self._saved_at(), stored
        self.schema = Schema.agreed(present, expected, folder or "memory:")
        self._replace(rows or Rows.none(self.schema))
        self._view, self._changed = self._view._replace(graph=graph), present is None

    def _replace(self, rows: Rows) -> None:
        kinds = {"id": str, **self.schema.fields}
        values = {"id": rows.ids, **rows.fields}
        columns = {name: np.array(values[name], DTYPES[kind]) for name, kind in kinds.items()}
        self._view, self._new, self._changed = View(rows, columns), [], True

    def _look(self) -> View:
        """All rows; of those with the same id the last, in the place of the first."""
        with self._lock:
            if self._new:
                rows = Rows.joined([self._view.rows, *self._new])
                last = {name: place for place, name in enumerate(rows.ids)}
                self._replace(rows if len(last) == len(rows) else rows.take(list(last.values())))
            return self._view

    def values(self, name: str) -> dict[str, Value]:
        rows = self._look().rows
        return dict(zip(rows.ids, rows.fields[name], strict=True))

    def put(self, rows: Rows) -> None:
        with self._lock:
            self._new.append(rows)

    def remove(self, where: Filter) -> None:
        with self._lock:
            view = self._look()
            self._replace(view.rows.take(np.flatnonzero(~mask(where, view.columns))))

    def count(self, where: Filter | None) -> int:
        view = self._look()
        return len(view.rows) if where is None else int(mask(where, view.columns).sum())

    def read(self, where: Filter) -> Rows:
        view = self._look()
        return view.rows.take(np.flatnonzero(mask(where, view.columns)))

    def nearest(self, queries: Queries, k: int, where: Filter | None, rows: bool) -> list[Nearest]:
        """Cosines are in double precision: those of equal vectors are equal, wherever the rows stand."""
        view, hits = self._look(), []
        passing = None if where is None else mask(where, view.columns)
        vectors, ids = view.rows.vectors.numpy(), view.rows.ids
        for query, places in zip(queries, self._candidates(view, queries, k, passing), strict=True):
            scores = np.einsum("rd,d->r", vectors[places], query, dtype=np.float64).astype(np.float32)
            names, found = [ids[place] for place in places], view.rows.take(places) if rows else None
            hits.append((names, scores.tolist(), found))
        return hits

    def _candidates(self, view: View, queries: Queries, k: int, passing: Passing) -> Iterable[Places]:
        """For each query the places of its k best, and of all that may tie with the last of them."""
        vectors = view.rows.vectors.numpy()
        places = None if passing is None else np.flatnonzero(passing)
        if places is not None and len(places) < GATHER_BELOW * len(vectors):
            return (places[best] for best in _best(queries, vectors[places], k, None))
        return _best(queries, vectors, k, passing)

    # --- the file ---

    def optimise(self) -> None:
        self._save()

    def close(self) -> None:
        self._save()

    def verify(self) -> None:
        if self._stamp:
            self._load()
        if off := not_unit(self._look().rows.vectors):
            raise DamagedError(f"{self.file or 'memory:'} is damaged, {off}: embed anew")

    def _save(self) -> None:
        with self._lock:
            view = self._look()
            if self.file is None or not self._changed:
                return
            beside = self.file.with_name(f".{self.file.name}.{os.getpid()}")
            with locked(self.file.parent, self.patience):
                if self._saved_at() != self._stamp:
                    advice = "open it anew, and take LanceDB (a folder alone) for several writers"
                    raise LockedError(f"{self.file} was written by another process meanwhile: {advice}")
                try:
                    with beside.open("wb") as file:
                        np.savez(file, **self._content(view))
                    beside.replace(self.file)
                finally:
                    beside.unlink(missing_ok=True)
            self._stamp, self._changed = self._saved_at(), False

    def _saved_at(self) -> int:
        """Tells one saved file from another; 0 if there is none."""
        return self.file.stat().st_mtime_ns if self.file and self.file.exists() else 0

    def _content(self, view: View) -> dict[str, np.ndarray]:
        """Texts are in JSON, which unlike a pickle runs nothing."""
        texts = {"schema": self.schema.to_json(), "fields": json.dumps([view.rows.ids, view.rows.fields])}
        content = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
        payload = {} if view.rows.payload is None else {"payload": view.rows.payload.numpy()}
        return content | payload | {"vectors": view.rows.vectors.numpy()}

    def _load(self) -> tuple[Schema, Rows, np.ndarray | None]:
        """What is saved: the schema, the rows, and a graph as bytes, if there is one."""
        try:
            with np.load(self.file) as file:
                if part := file.zip.testzip():
                    raise ValueError(f"the checksum of {part} is wrong")
                schema, (ids, fields) = (
                    Schema.from_json(bytes(file["schema"])),
                    json.loads(bytes(file["fields"])),
                )
                payload = torch.from_numpy(file["payload"]) if schema.payload else None
                rows = Rows(tuple(ids), torch.from_numpy(file["vectors"]), fields, payload)
                return schema, rows, file.get("graph")
        except Exception as error:  # a zip file can be broken in as many ways as it has parts
            advice = "restore it from a copy, or embed anew elsewhere"
            raise DamagedError(f"{self.file} is damaged ({error}): {advice}") from error


def _best(queries: Queries, vectors: Queries, k: int, passing: Passing) -> Iterator[Places]:
    """For each query the places of its k best rows that pass, and of all that may tie with the last."""
    n_passing = len(vectors) if passing is None else int(passing.sum())
    step = max(1, SCORES_AT_ONCE // max(1, len(vectors)))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ vectors.T
        if passing is not None:
            scores[:, ~passing] = -np.inf
        for row in scores:
            least = np.partition(row, -k)[-k] - SLACK if k < n_passing else np.float32(-2)
            yield np.flatnonzero(row >= least)
