"""Serving: an index of vectors with fields, in memory, in a folder, or on a server, behind one thin protocol.

    index = open_index("photos", dim=encoder.dim, encoder=encoder.fingerprint, fields={"price": float})
    index.upsert(ids, vectors, {"price": prices})
    hits = index.search(queries, k=100, where=field("price") < 20)

opening  open_index: which store, by the place
base     Schema, Rows, Hits, Abilities; Index, which checks everything before a store sees it
filters  field: which rows a search may return
objects  search_objects: images by the vectors of their objects
errors   what can go wrong, by name
exact    numpy: every row is looked at; the oracle
hnsw     faiss: the same with a graph
lance    LanceDB in a folder, the default
server   Milvus, for what outgrows a machine
stand_ins  clustered vectors, for measurements
ledger, journal   what the folders of these have in common: a lock, whose vectors, rows with checksums
"""

from geoclip_lite.index.base import Abilities, Hits, Index, Rows, Schema
from geoclip_lite.index.errors import (
    BadFilterError,
    BadInputError,
    DamagedError,
    IndexWarning,
    LockedError,
    MismatchError,
    MissingPackageError,
    UnavailableError,
    VectorStoreError,
)
from geoclip_lite.index.filters import Filter, field
from geoclip_lite.index.objects import search_objects
from geoclip_lite.index.opening import open_index

__all__ = [
    "Abilities",
    "BadFilterError",
    "BadInputError",
    "DamagedError",
    "Filter",
    "Hits",
    "Index",
    "IndexWarning",
    "LockedError",
    "MismatchError",
    "MissingPackageError",
    "Rows",
    "Schema",
    "UnavailableError",
    "VectorStoreError",
    "field",
    "open_index",
    "search_objects",
]
