"""Serving: an index of vectors with fields, in memory, in a folder, or on a server, behind one thin protocol.

    index = open_index("photos", dim=encoder.dim, encoder=encoder.fingerprint, fields={"price": float})
    index.upsert(ids, vectors, {"price": prices})
    hits = index.search(queries, k=100, where=field("price") < 20)

base      Schema, Rows, Hits; Index, which checks everything before a store sees it
filters   field: which rows a search may return
memory, hnsw, lance, milvus   the stores: numpy, faiss, LanceDB, a Milvus server
"""
# ruff: noqa: F401 - what is imported here, others import from here

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from geoclip_lite.index.base import Capabilities, Hits, Index, Rows, Schema, check_id
from geoclip_lite.index.errors import (
    BadFilterError,
    BadInputError,
    DamagedError,
    LockedError,
    MismatchError,
    MissingPackageError,
    UnavailableError,
    VectorStoreError,
)
from geoclip_lite.index.filters import Filter, field

PLACES = "memory:, a folder, exact:<folder>, faiss:<folder> or milvus:<URI>/<collection>"
STORES = {"exact": "memory.Exact", "faiss": "hnsw.Faiss", "lance": "lance.Lance", "milvus": "milvus.Milvus"}
LOCK_TIMEOUT = 10.0


def open_index(
    where: str | Path,
    *,
    dim: int | None = None,
    encoder: str | None = None,
    fields: Mapping[str, type] | None = None,
    payload: int | None = None,
    patience: float = LOCK_TIMEOUT,
) -> Index:
    """Opens an index, or begins one where there is none.

    memory:           numpy, exact, gone with the process
    <folder>          LanceDB, the default; also lance:<folder>
    exact:<folder>    numpy, exact; all rows are in memory, saved by `optimise` and `close`
    faiss:<folder>    the same rows with an HNSW graph of faiss
    milvus:<URI>/<collection>    a Milvus server, e.g. milvus:http://localhost:19530/photos

    Args:
        dim: of the vectors. This and what follows is needed to begin an index; later on, what is given is
            compared with what is there.
        encoder: the fingerprint of the encoder whose vectors these are.
        fields: name -> str, int, float or bool; what filters can ask for.
        payload: how many numbers are kept beside each vector, in half precision, not searched.
        patience: seconds to wait for another process or a server.

    Raises:
        BadInputError: arguments that cannot be, or are missing.
        MismatchError: the index is of another encoder or size, has other fields, or there is something else.
        DamagedError, LockedError, UnavailableError, MissingPackageError: it cannot be used.
    """
    if not 0 < patience < float("inf"):
        raise BadInputError(f"patience must be a time in seconds above 0, got {patience!r}")
    fields = None if fields is None else dict(fields)
    expected = {"dim": dim, "encoder": encoder, "fields": fields, "payload": payload}
    expected = {name: value for name, value in expected.items() if value is not None}
    scheme, colon, place = str(where).partition(":")
    if not colon or len(scheme) == 1:  # a lone letter is a drive, and no scheme
        scheme, place = "lance", str(where)
    if where == "memory:":
        scheme = "exact"
    elif not place or scheme not in STORES:
        raise BadInputError(f"where must be {PLACES}, got {str(where)!r}")
    module, _, name = STORES[scheme].partition(".")
    try:
        store = getattr(import_module(f"geoclip_lite.index.{module}"), name)
    except ImportError as error:
        extra = "milvus" if scheme == "milvus" else "index"
        raise MissingPackageError(f"{where}: {error}: pip install 'geoclip-lite[{extra}]'") from error
    return Index(store(place, expected, patience))
