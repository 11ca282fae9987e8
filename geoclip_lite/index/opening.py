"""Opening an index by its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from geoclip_lite.index.base import Index, Store, Wish
from geoclip_lite.index.errors import BadInputError
from geoclip_lite.index.exact import Exact
from geoclip_lite.index.journal import TABLES, Journal
from geoclip_lite.index.ledger import Ledger

PATIENCE = 10.0
PLACES = "memory:, a folder, exact:<folder>, faiss:<folder> or milvus:<URI>/<collection>"


def open_index(
    where: str | Path,
    *,
    dim: int | None = None,
    encoder: str | None = None,
    fields: Mapping[str, type] | None = None,
    verify: bool = False,
    patience: float = PATIENCE,
) -> Index:
    """Opens an index, or begins one where there is none.

    memory:           numpy, exact, gone with the process
    <folder>          LanceDB, the default; also lance:<folder>
    exact:<folder>    numpy, exact; all rows are in memory, and in a file
    faiss:<folder>    the same with an HNSW graph of faiss
    milvus:<URI>/<collection>    a Milvus server, e.g. milvus:http://localhost:19530/photos

    Args:
        dim: of the vectors. This and what follows is needed to begin an index; later on, what is given is
            compared with what is there.
        encoder: the fingerprint of the encoder whose vectors these are.
        fields: name -> str, int, float or bool; what filters can ask for.
        verify: reads every file before anything else, see `Index.verify`.
        patience: seconds to wait for another process or a server.

    Raises:
        BadInputError: arguments that cannot be, or are missing.
        MismatchError: the index is of another encoder, dimension, kind, or has other fields.
        DamagedError, LockedError, UnavailableError, MissingPackageError: it cannot be used.
    """
    if not 0 < patience < float("inf"):
        raise BadInputError(f"patience must be a time in seconds above 0, got {patience!r}")
    wish = Wish(dim, encoder, None if fields is None else dict(fields))
    index = Index(_store(str(where), wish, patience))
    if verify:
        index.verify()
    return index


def _store(where: str, wish: Wish, patience: float) -> Store:
    """A lone letter before the colon is a drive, and no scheme."""
    scheme, colon, place = where.partition(":")
    if not colon or len(scheme) == 1:
        scheme, place = "lance", where
    if scheme == "memory" and not place:
        return Exact(wish.fresh(where))
    if not place or scheme not in OPENERS:
        raise BadInputError(f"where must be {PLACES}, got {where!r}")
    return OPENERS[scheme](place, wish, patience)


# --- imported when asked for: each needs a package that not everyone has --------------------------


def _exact(place: str, wish: Wish, patience: float) -> Store:
    journal = Journal(Ledger(Path(place), "exact", wish, TABLES, patience))
    return Exact(journal.schema, journal)


def _lance(place: str, wish: Wish, patience: float) -> Store:
    from geoclip_lite.index.lance import Lance

    return Lance(Path(place), wish, patience)


def _faiss(place: str, wish: Wish, patience: float) -> Store:
    from geoclip_lite.index import hnsw

    return hnsw.Hnsw(Journal(Ledger(Path(place), "faiss", wish, (*TABLES, *hnsw.TABLES), patience)))


def _milvus(place: str, wish: Wish, patience: float) -> Store:
    from geoclip_lite.index.server import Milvus

    return Milvus(place, wish, patience)


OPENERS = {"exact": _exact, "faiss": _faiss, "lance": _lance, "milvus": _milvus}
