"""What an index is: rows of an id, a unit vector, fields and perhaps a payload; and how one talks to it.

Index is the only way to a store, and checks everything before a store sees it. `Store` is what a store does;
`memory.Exact` says in numpy what that means.
"""

from __future__ import annotations

import json
import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Float16
from numpy import ndarray
from torch import Tensor

from geoclip_lite.index.errors import BadInputError, MismatchError, VectorStoreError
from geoclip_lite.index.filters import Filter, Value, checked, field, plain
from geoclip_lite.retrieval import ROUNDING, unit_rows

KINDS = {kind.__name__: kind for kind in (str, int, float, bool)}
NAME = re.compile(r"(?!id$)[a-z][a-z0-9_]{0,63}")
MAX_DIM, MAX_K = 32_768, 10_000
MAX_ID = 512  # bytes
READ_AT_ONCE = 1000  # ids asked for in one request

Vectors = Tensor | ndarray
Queries = Float[ndarray, "queries dim"]
Nearest = tuple[Sequence[str], Sequence[float], "Rows | None"]  # of one query: ids, cosines, their rows


@dataclass(frozen=True)
class Schema:
    """What an index holds.

    Args:
        dim: numbers in a vector.
        encoder: the encoder's fingerprint. Vectors of two encoders cannot be compared.
        fields: name -> str, int, float or bool. Every row has a value for each.
        payload: how many numbers are kept beside each vector, in half precision, not searched.
    """

    dim: int
    encoder: str
    fields: Mapping[str, type]
    payload: int = 0

    def __post_init__(self):
        for name, least in (("dim", 1), ("payload", 0)):
            if type(size := getattr(self, name)) is not int or not least <= size <= MAX_DIM:
                raise BadInputError(f"{name} must be a whole number from {least} to {MAX_DIM}, got {size!r}")
        if not isinstance(self.encoder, str) or not self.encoder:
            raise BadInputError(f"encoder must be a fingerprint, got {self.encoder!r}: encoder.fingerprint")
        for name, kind in dict(self.fields).items():
            if not isinstance(name, str) or not NAME.fullmatch(name) or kind not in KINDS.values():
                wanted = f"names of up to 64 of a-z, 0-9 and _, not id, with one of {', '.join(KINDS)}"
                raise BadInputError(f"fields must be {wanted}, got {name!r}: {kind!r}")

    @classmethod
    def agreed(cls, present: Schema | None, expected: Mapping[str, object], where: object) -> Schema:
        """The schema that is present at a place or, if there is none, the expected one.

        Raises:
            BadInputError: there is none, and what is expected leaves something open.
            MismatchError: something else is expected.
        """
        if present is None and not {"dim", "encoder"} <= expected.keys():
            raise BadInputError(f"there is no index at {where} yet: to begin one, give dim and encoder")
        schema = present or cls(**{"fields": {}} | expected)
        for name, wanted in expected.items():
            if (have := getattr(schema, name)) != wanted:
                advice = "open it with that, or begin another index elsewhere"
                raise MismatchError(f"{name} {wanted!r} was asked for, {where} holds {have!r}: {advice}")
        return schema

    def to_json(self) -> str:
        kinds = {name: kind.__name__ for name, kind in self.fields.items()}
        return json.dumps(asdict(self) | {"fields": kinds})

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """Raises ValueError, KeyError or TypeError for what `to_json` has not written."""
        about = json.loads(text)
        return cls(**about | {"fields": {name: KINDS[kind] for name, kind in about["fields"].items()}})


@dataclass(frozen=True)
class Rows:
    """Rows that have been checked: vectors are unit rows on the CPU, `fields` has a list per field."""

    ids: tuple[str, ...]
    vectors: Float[Tensor, "rows dim"]
    fields: Mapping[str, Sequence[Value]]
    payload: Float16[Tensor, "rows payload"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls, schema: Schema) -> Rows:
        payload = torch.empty(0, schema.payload, dtype=torch.float16) if schema.payload else None
        return cls((), torch.empty(0, schema.dim), {name: [] for name in schema.fields}, payload)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """One after the other; one at least."""
        ids = tuple(name for part in parts for name in part.ids)
        fields = {name: [value for part in parts for value in part.fields[name]] for name in parts[0].fields}
        payload = None if parts[0].payload is None else torch.cat([part.payload for part in parts])
        return cls(ids, torch.cat([part.vectors for part in parts]), fields, payload)

    def take(self, places: Sequence[int]) -> Rows:
        """Some of them, in this order."""
        index = torch.as_tensor(places, dtype=torch.long)
        fields = {name: [values[place] for place in places] for name, values in self.fields.items()}
        payload = None if self.payload is None else self.payload[index]
        return Rows(tuple(self.ids[place] for place in places), self.vectors[index], fields, payload)


@dataclass(frozen=True)
class Hits:
    """For each query ids and cosines, best first; equal cosines in the order of the ids.

    A query has k of them, or as many as there are rows that pass the filter. `rows`: the same hits with
    vectors, fields and payload, if they were asked for.
    """

    ids: tuple[tuple[str, ...], ...]
    scores: tuple[Float[Tensor, " hits"], ...]
    rows: tuple[Rows, ...] | None = None


class Capabilities(NamedTuple):
    """What a store promises beyond the contract that all keep.

    exact: a search returns the true nearest rows; else nearly all of them.
    durable: an upsert that has returned survives `kill -9`; else rows are saved by `optimise` and `close`.
    shared: other processes may read and write at the same time, and see what is written.
    """

    name: str
    exact: bool
    durable: bool
    shared: bool


class Store(Protocol):
    """`nearest` returns the k best rows that pass, or more, for each query; the order of rows is free."""

    schema: Schema
    capabilities: Capabilities

    def put(self, rows: Rows) -> None: ...
    def remove(self, where: Filter) -> None: ...
    def count(self, where: Filter | None) -> int: ...
    def read(self, where: Filter) -> Rows: ...
    def values(self, name: str) -> dict[str, Value]: ...
    def nearest(self, queries: Queries, k: int, where: Filter | None, rows: bool) -> list[Nearest]: ...
    def optimise(self) -> None: ...
    def verify(self) -> None: ...
    def close(self) -> None: ...


class Index:
    """Rows in a store, see `open_index`.

    Every method raises `BadInputError` for what no store should see, and then nothing has changed.
    `LockedError`, `UnavailableError` and `DamagedError` come from the store.
    """

    def __init__(self, store: Store):
        self._store, self.schema, self.capabilities = store, store.schema, store.capabilities

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Vectors,
        fields: Mapping[str, Sequence[Value]] | None = None,
        payload: Vectors | None = None,
    ) -> None:
        """Adds rows, replacing those with the same id. In a durable store they are then safe.

        Args:
            ids: each once; texts of at most 512 bytes.
            vectors: unit rows of the index's encoder, one per id; `retrieval.unit_rows` makes them.
            fields: for each field of the index, one value per id.
            payload: rows of `schema.payload` finite numbers.
        """
        ids = _checked_ids(ids)
        if len(ids) == len(vectors) == 0:
            return
        unit, fields = self._unit(vectors, "vectors", len(ids)), self._checked_fields(fields or {}, len(ids))
        self._opened.put(Rows(ids, unit, fields, self._checked_payload(payload, len(ids))))

    def search(self, queries: Vectors, k: int, where: Filter | None = None, *, rows: bool = False) -> Hits:
        """The k rows with the highest cosine among those that pass the filter, for each query.

        Args:
            queries: of any length but zero, from the index's encoder.
            k: 1 to 10,000.
            rows: whether the hits come with their vectors, fields and payload.
        """
        k, where, queries = checked_k(k), self._checked(where), self._unit(queries, "queries").numpy()
        nearest = [_best(k, *one) for one in self._opened.nearest(queries, k, where, rows)]
        ids, scores, contents = zip(*nearest, strict=True)
        return Hits(ids, scores, contents if rows else None)

    def read(self, ids: Sequence[str]) -> Rows:
        """The rows of these ids, in this order. Raises KeyError for an id that the index does not have."""
        ids = _checked_ids(ids)
        rows = self.matching("id", ids)
        places = {name: place for place, name in enumerate(rows.ids)}
        if unknown := [name for name in ids if name not in places]:
            raise KeyError(f"ids must be in the index, {unknown[0]!r} is not ({len(unknown)} such ids)")
        return rows.take([places[name] for name in ids])

    def matching(self, name: str, values: Sequence[Value]) -> Rows:
        """All rows whose field is one of the values, in any order."""
        some = _one_of(name, list(dict.fromkeys(values)))
        parts = [self._opened.read(self._checked(one)) for one in some]
        return Rows.joined([Rows.none(self.schema), *parts])

    def values(self, name: str) -> dict[str, Value]:
        """id -> the value of a field, for all rows. No vector is read."""
        if name not in self.schema.fields:
            raise BadInputError(f"name must be one of the fields {list(self.schema.fields)}, got {name!r}")
        return self._opened.values(name)

    def delete(self, ids: Sequence[str] | None = None, *, where: Filter | None = None) -> None:
        """Deletes the rows of these ids, or those that pass the filter. Unknown ids are passed over."""
        if (ids is None) == (where is None):
            raise BadInputError("delete needs either ids or where, got both or neither")
        for one in [where] if ids is None else _one_of("id", _checked_ids(ids)):
            self._opened.remove(self._checked(one))

    def count(self, where: Filter | None = None) -> int:
        """How many rows there are, or pass the filter."""
        return self._opened.count(self._checked(where))

    def optimise(self) -> None:
        """Builds what makes searching quick, after many upserts. May take minutes, and be interrupted."""
        self._opened.optimise()

    def verify(self) -> None:
        """Reads every row. Raises DamagedError if one cannot be read, or its vector is not of length 1."""
        self._opened.verify()

    def close(self) -> None:
        """Saves what is not yet safe, and lets go of files and connections."""
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

    def _checked(self, where: Filter | None) -> Filter | None:
        return None if where is None else checked(where, {"id": str, **self.schema.fields})

    def _unit(self, vectors: Vectors, name: str, n_ids: int | None = None) -> Float[Tensor, "rows dim"]:
        """Unit rows in single precision, on the CPU. Those for ids must have been of length 1 before."""
        try:
            given = torch.as_tensor(vectors).detach().cpu()
            unit = unit_rows(given, name).float().contiguous()
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInputError(str(error) if name in str(error) else f"{name}: {error}") from error
        if unit.shape[1] != self.schema.dim or n_ids not in (None, len(unit)):
            wanted = f"{'' if n_ids is None else f'{n_ids} (one per id) '}rows of length {self.schema.dim}"
            got = f"{tuple(unit.shape)}: are they from another encoder?"
            raise BadInputError(f"{name} must be {wanted}, got shape {got}")
        if n_ids and (off := not_unit(given)):
            raise BadInputError(f"{name} must be unit rows, {off}: pass them through unit_rows first")
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
            columns[name] = [plain(value, kind, f"fields[{name!r}]") for value in values]
        return columns

    def _checked_payload(self, payload: Vectors | None, n_ids: int) -> Float16[Tensor, "rows payload"] | None:
        if payload is None and not self.schema.payload:
            return None
        half = torch.as_tensor(() if payload is None else payload).detach().cpu().to(torch.float16, copy=True)
        if half.shape != (wanted := (n_ids, self.schema.payload)) or not half.isfinite().all():
            got = f"{tuple(half.shape)}, {int((~half.isfinite()).sum())} of them not finite in half precision"
            raise BadInputError(f"payload must be finite numbers of shape {wanted}, got {got}")
        return half


def check_id(name: str, argument: str = "the id") -> str:
    """A text of 1 to 512 bytes; raises BadInputError for any other."""
    if (name := plain(name, str, argument, MAX_ID)) == "":
        raise BadInputError(f"{argument} must not be empty")
    return name


def _checked_ids(ids: Sequence[str]) -> tuple[str, ...]:
    if isinstance(ids, str):
        raise BadInputError(f"ids must be a list of texts, got the text {ids!r}: write [{ids!r}]")
    ids = tuple(check_id(name, f"ids[{row}]") for row, name in enumerate(ids))
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise BadInputError(f"ids must each be named once in a call, got {twice!r} twice: keep one of them")
    return ids


def checked_k(k: int) -> int:
    """Raises BadInputError for what is no whole number from 1 to 10,000."""
    number = operator.index(k) if hasattr(k, "__index__") and not isinstance(k, bool) else 0
    if not 1 <= number <= MAX_K:
        raise BadInputError(f"k must be a whole number from 1 to {MAX_K}, got {k!r}")
    return number


def _best(k: int, ids: Sequence[str], scores: Sequence[float], rows: Rows | None) -> tuple:
    """Best first; equal scores in the order of the ids, whatever the store made of them."""
    places = sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place]))[:k]
    values = torch.tensor([scores[place] for place in places], dtype=torch.float32)
    return tuple(ids[place] for place in places), values, None if rows is None else rows.take(places)


def not_unit(vectors: Float[Tensor, "rows dim"]) -> str:
    """Which rows are not of length 1, in words; nothing if all are."""
    norms = torch.linalg.vector_norm(vectors.double(), dim=1)
    off = (~((norms - 1).abs() < ROUNDING)).nonzero()[:, 0].tolist()
    return f"row {off[0]} is of length {float(norms[off[0]]):.4g} ({len(off)} such rows)" if off else ""


def _one_of(name: str, values: Sequence[Value]) -> list[Filter]:
    """Filters that are not too large for a store."""
    starts = range(0, len(values), READ_AT_ONCE)
    return [field(name).isin(values[start : start + READ_AT_ONCE]) for start in starts]
