"""What an index is: rows of an id, a unit vector and fields; and how one talks to a store of them.

Schema     whose vectors, how long, with which fields
Rows       what goes in and what can be read back
Hits       what a search returns
Abilities  what a store promises beyond the contract
Store      the protocol that every store speaks
Index      the only way to a store: everything is checked here, before a store sees it
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geoclip_lite.index.errors import BadInputError, MismatchError, VectorStoreError
from geoclip_lite.index.filters import Filter, OneOf, Value, check_text, checked, plain
from geoclip_lite.retrieval import ROUNDING, Ranking, unit_rows

KINDS = {kind.__name__: kind for kind in (str, int, float, bool)}
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_DIM = 32_768
MAX_K = 10_000
MAX_ID = 512  # bytes
READ_AT_ONCE = 1000  # ids asked for in one request

Vectors = Tensor | np.ndarray
Found = tuple[list[str], list[float]]  # ids and cosines, in any order


# --- what is kept ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schema:
    """Whose vectors an index holds.

    Args:
        dim: numbers in a vector.
        encoder: the encoder's fingerprint. Vectors of two encoders cannot be compared.
        fields: name -> str, int, float or bool. Every row has a value for each.

    Raises:
        BadInputError: a dimension, name or type that cannot be.
    """

    dim: int
    encoder: str
    fields: Mapping[str, type]

    def __post_init__(self):
        if type(self.dim) is not int or not 1 <= self.dim <= MAX_DIM:
            raise BadInputError(f"dim must be a whole number from 1 to {MAX_DIM}, got {self.dim!r}")
        if not isinstance(self.encoder, str) or not self.encoder:
            raise BadInputError(f"encoder must be a fingerprint, got {self.encoder!r}: encoder.fingerprint")
        for name, kind in dict(self.fields).items():
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in ("id", "vector"):
                rule = "a name of up to 64 of a-z, 0-9 and _, not id or vector"
                raise BadInputError(f"fields must each have {rule}, got {name!r}")
            if kind not in KINDS.values():
                raise BadInputError(f"fields must be of type {', '.join(KINDS)}, got {kind!r} for {name!r}")

    @property
    def columns(self) -> dict[str, type]:
        """What a filter may name."""
        return {"id": str, **self.fields}

    def to_json(self) -> str:
        """For the store's own records."""
        fields = {name: kind.__name__ for name, kind in self.fields.items()}
        return json.dumps({"dim": self.dim, "encoder": self.encoder, "fields": fields})

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Raises ValueError or KeyError for what `to_json` has not written."""
        about = json.loads(text)
        return cls(**about | {"fields": {name: KINDS[kind] for name, kind in about["fields"].items()}})


@dataclass(frozen=True)
class Wish:
    """What the caller of `open_index` expects to find; None: whatever there is."""

    dim: int | None = None
    encoder: str | None = None
    fields: Mapping[str, type] | None = None

    def fresh(self, where: str) -> Schema:
        """For an index that does not exist yet."""
        if self.dim is None or self.encoder is None:
            raise BadInputError(f"there is no index at {where} yet: to begin one, give dim and encoder")
        return Schema(self.dim, self.encoder, dict(self.fields or {}))

    def check(self, found: Schema, where: str) -> Schema:
        """Raises MismatchError if the index holds something else."""
        for name in ("encoder", "dim", "fields"):
            wanted, have = getattr(self, name), getattr(found, name)
            if wanted is not None and wanted != have:
                advice = "open it with that, or begin another index elsewhere"
                if name == "encoder":
                    advice += "; one that version 0.1.0 began on a GPU has to be begun anew"
                raise MismatchError(f"{name} {wanted!r} was asked for, {where} holds {have!r}: {advice}")
        return found


@dataclass(frozen=True)
class Rows:
    """Rows that have been checked.

    Args:
        vectors: unit rows in single precision, on the CPU.
        fields: a list per field, one value a row.
    """

    ids: tuple[str, ...]
    vectors: Float[Tensor, "rows dim"]
    fields: Mapping[str, Sequence[Value]]

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> Rows:
        """Some of them."""
        fields = {name: values[start:stop] for name, values in self.fields.items()}
        return Rows(self.ids[start:stop], self.vectors[start:stop], fields)


@dataclass(frozen=True)
class Hits:
    """For each query ids and cosines, best first; equal cosines in the order of the ids.

    A query has k of them, or as many as there are rows that pass the filter.
    """

    ids: tuple[tuple[str, ...], ...]
    scores: tuple[Float[Tensor, " hits"], ...]

    def ranking(self, gallery: Sequence[str], **about) -> Ranking:
        """The same as numbers of gallery items, for rerankers and metrics.

        Args:
            gallery: the id of each item.
            about: `method`, see `Ranking`.

        Raises:
            ValueError: if an id is not in the gallery, or queries have different numbers of hits.
        """
        numbers = {name: number for number, name in enumerate(gallery)}
        if unknown := {name for row in self.ids for name in row if name not in numbers}:
            raise ValueError(f"gallery must name every hit, {sorted(unknown)[0]!r} is not in it")
        if len({len(row) for row in self.ids}) != 1:
            raise ValueError("queries must have the same number of hits: lower k, or widen the filter")
        indices = torch.tensor([[numbers[name] for name in row] for row in self.ids])
        return Ranking(indices, torch.stack(self.scores), len(gallery), **about)


# --- stores ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Abilities:
    """What a store promises beyond the contract that all keep.

    Args:
        exact: a search returns the true nearest rows; else nearly all of them.
        persistent: rows outlive the process. An upsert that has returned survives `kill -9`.
        several_readers: other processes may read while one writes, and see what it has written.
        atomic: an upsert is there as a whole or not at all.
        checksums: `verify` notices a file that has changed.
        server: the rows are behind a network, which may be slow or down.
    """

    name: str
    exact: bool
    persistent: bool
    several_readers: bool
    atomic: bool
    checksums: bool
    server: bool = False


class Store(Protocol):
    """What a store does. It is handed nothing that `Index` has not checked.

    put       replaces rows of the same id; returns once they are safe
    remove    deletes the rows that pass
    nearest   min(k, rows that pass) ids and cosines per query, in any order
    read      the rows that pass, in any order
    optimise  builds what makes reading by id quick and, if asked, searching by vector; may take long
    verify    raises DamagedError if a file has changed
    """

    schema: Schema
    abilities: Abilities

    def put(self, rows: Rows) -> None: ...
    def remove(self, where: Filter) -> None: ...
    def nearest(
        self, queries: Float[np.ndarray, "queries dim"], k: int, where: Filter | None
    ) -> list[Found]: ...
    def count(self, where: Filter | None) -> int: ...
    def read(self, where: Filter) -> Rows: ...
    def optimise(self, by_vector: bool) -> None: ...
    def verify(self) -> None: ...
    def close(self) -> None: ...


class Index:
    """Rows of an id, a unit vector and fields, in a store. See `open_index`.

    Every method raises `BadInputError` for what no store should see, and then nothing has changed.
    `LockedError`, `UnavailableError` and `DamagedError` come from the store.
    """

    def __init__(self, store: Store):
        self._store: Store | None = store
        self.schema, self.abilities = store.schema, store.abilities

    def upsert(
        self, ids: Sequence[str], vectors: Vectors, fields: Mapping[str, Sequence[Value]] | None = None
    ) -> None:
        """Adds rows, replacing those with the same id. Once it returns, they are safe.

        Args:
            ids: each once; texts of at most 512 bytes.
            vectors: unit rows of the index's encoder, one per id; `retrieval.unit_rows` makes them.
            fields: for each field of the index, one value per id.
        """
        ids = _checked_ids(ids)
        if len(ids) == len(vectors) == 0:
            return
        rows = Rows(
            ids, self._stored_vectors(vectors, len(ids)), self._checked_fields(fields or {}, len(ids))
        )
        self._opened.put(rows)

    def search(self, queries: Vectors, k: int, where: Filter | None = None) -> Hits:
        """The k rows with the highest cosine among those that pass the filter, for each query.

        Args:
            queries: of any length but zero, from the index's encoder.
            k: 1 to 10,000.
        """
        k, where = checked_k(k), self._checked_filter(where)
        queries = self._matrix(queries, "queries").numpy()
        found = [_ordered(ids, scores, k) for ids, scores in self._opened.nearest(queries, k, where)]
        ids, scores = zip(*found, strict=True)
        return Hits(ids, scores)

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> None:
        """Deletes the rows of these ids, or those that pass the filter. Unknown ids are passed over."""
        if (ids is None) == (where is None):
            raise BadInputError("delete needs either ids or where, got both or neither")
        if ids is None:
            self._opened.remove(self._checked_filter(where))
            return
        for some in _blocks(_checked_ids(ids)):
            self._opened.remove(OneOf("id", some))

    def count(self, where: Filter | None = None) -> int:
        """How many rows there are, or pass the filter."""
        return self._opened.count(self._checked_filter(where))

    def read(self, ids: Sequence[str]) -> Rows:
        """The rows of these ids, in this order.

        Raises:
            KeyError: an id that the index does not have.
        """
        ids = _checked_ids(ids)
        found = self.matching("id", ids)
        places = {name: place for place, name in enumerate(found.ids)}
        if unknown := [name for name in ids if name not in places]:
            raise KeyError(f"ids must be in the index, {unknown[0]!r} is not ({len(unknown)} such ids)")
        order = [places[name] for name in ids]
        fields = {name: [values[place] for place in order] for name, values in found.fields.items()}
        return Rows(ids, found.vectors[order], fields)

    def matching(self, name: str, values: Sequence[Value], where: Filter | None = None) -> Rows:
        """All rows whose field is one of the values (and which pass the filter), in any order."""
        blocks = [OneOf(name, some) for some in _blocks(tuple(values))]
        parts = [self._opened.read(self._checked_filter(b if where is None else b & where)) for b in blocks]
        ids = tuple(name for part in parts for name in part.ids)
        fields = {f: [value for part in parts for value in part.fields[f]] for f in self.schema.fields}
        nothing = torch.empty(0, self.schema.dim)
        return Rows(ids, torch.cat([part.vectors for part in parts] or [nothing]), fields)

    def optimise(self, *, by_vector: bool = True) -> None:
        """Builds what makes searching quick. Worth it once after many upserts; may take minutes.

        Args:
            by_vector: False for rows that are only ever read by their ids: saves the graph.
        """
        self._opened.optimise(by_vector)

    def verify(self) -> None:
        """Reads every file. Raises DamagedError if one differs from what was written, or is missing."""
        self._opened.verify()

    def close(self) -> None:
        """Lets go of files and connections. Nothing is lost without it."""
        if self._store is not None:
            self._store.close()
        self._store = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    # --- what is refused ---

    @property
    def _opened(self) -> Store:
        if self._store is None:
            raise VectorStoreError("this index has been closed: open it anew with open_index")
        return self._store

    def _checked_filter(self, where: Filter | None) -> Filter | None:
        return None if where is None else checked(where, self.schema.columns)

    def _matrix(self, vectors: Vectors, name: str) -> Float[Tensor, "rows dim"]:
        """Unit rows in single precision, on the CPU, of the index's dimension."""
        try:
            matrix = torch.as_tensor(vectors).detach().cpu()
            matrix = matrix if matrix.dtype == torch.float64 else matrix.float()
            unit = unit_rows(matrix, name).float().contiguous()
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInputError(str(error) if name in str(error) else f"{name}: {error}") from error
        if unit.shape[1] != self.schema.dim:
            lengths = f"length {self.schema.dim}, got {unit.shape[1]}"
            raise BadInputError(f"{name} must have rows of {lengths}: are they from another encoder?")
        return unit

    def _stored_vectors(self, vectors: Vectors, n_ids: int) -> Float[Tensor, "rows dim"]:
        unit = self._matrix(vectors, "vectors")
        if len(unit) != n_ids:
            raise BadInputError(f"vectors must be one row per id, got {len(unit)} for {n_ids} ids")
        norms = torch.linalg.vector_norm(torch.as_tensor(vectors).detach().double(), dim=1).cpu()
        if (off := ~((norms - 1).abs() < ROUNDING)).any():
            row = int(off.nonzero()[0])
            got = f"row {row} is of length {float(norms[row]):.4g} ({int(off.sum())} such rows)"
            raise BadInputError(f"vectors must be unit rows, {got}: pass them through unit_rows first")
        return unit

    def _checked_fields(self, fields: Mapping[str, Sequence[Value]], n_ids: int) -> dict[str, list[Value]]:
        if set(fields) != set(self.schema.fields):
            got, wanted = sorted(map(str, fields)), sorted(self.schema.fields)
            raise BadInputError(f"fields must be exactly those of the index, {wanted}, got {got}")
        columns = {}
        for name, kind in self.schema.fields.items():
            values = [] if isinstance(fields[name], str) else list(fields[name])
            if len(values) != n_ids:
                got = f"{len(values)} for {n_ids} ids"
                raise BadInputError(f"fields[{name!r}] must be a list with one value per id, got {got}")
            labelled = ((v.item() if isinstance(v, Tensor) else v, f"fields[{name!r}]") for v in values)
            columns[name] = [plain(value, kind, label) for value, label in labelled]
        return columns


def _checked_ids(ids: Sequence[str]) -> tuple[str, ...]:
    if isinstance(ids, str):
        raise BadInputError(f"ids must be a list of texts, got the text {ids!r}: write [{ids!r}]")
    ids = tuple(str(name) if isinstance(name, np.str_) else name for name in ids)
    for row, name in enumerate(ids):
        if type(name) is not str or not name:
            raise BadInputError(f"ids must be non-empty texts, got {name!r} in row {row}: use str(id)")
        check_text(name, f"ids[{row}]", MAX_ID)
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise BadInputError(f"ids must each be named once in a call, got {twice!r} twice: keep one of them")
    return ids


def checked_k(k: int) -> int:
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if isinstance(k, bool) or not 1 <= number <= MAX_K:
        raise BadInputError(f"k must be a whole number from 1 to {MAX_K}, got {k!r}")
    return number


def _blocks(values: tuple[Value, ...]) -> list[tuple[Value, ...]]:
    return [values[start : start + READ_AT_ONCE] for start in range(0, len(values), READ_AT_ONCE)]


def _ordered(ids: list[str], scores: list[float], k: int) -> tuple[tuple[str, ...], Float[Tensor, " hits"]]:
    """Best first; equal scores in the order of the ids, whatever the store made of them."""
    pairs = sorted(zip(scores, ids, strict=True), key=lambda pair: (-pair[0], pair[1]))[:k]
    values = torch.tensor([score for score, _ in pairs], dtype=torch.float32)
    return tuple(name for _, name in pairs), values
