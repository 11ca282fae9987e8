"""Rows in a ledger: each change is stamped, so that whoever has seen some of them can ask for the rest.

What a store keeps in memory is derived from here, and what has been acknowledged is here. A deleted row
stays as its id with a stamp: a reader that has the row must learn that it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

from geoclip_lite.index.base import Rows
from geoclip_lite.index.errors import DamagedError
from geoclip_lite.index.filters import Value
from geoclip_lite.index.ledger import Ledger

TABLES = (
    "CREATE TABLE rows (stamp INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,"
    " vector BLOB, fields TEXT, checksum INTEGER)",
)
INSERT = "INSERT OR REPLACE INTO rows (id, vector, fields, checksum) VALUES (?, ?, ?, ?)"
SINCE = "SELECT stamp, id, vector, fields, checksum FROM rows WHERE stamp > ? ORDER BY stamp"
READ_AT_ONCE = 4096  # rows in memory twice while they are read


@dataclass(frozen=True)
class Changes:
    """Rows that were written, and ids that were deleted, in the order of their stamps.

    Args:
        vectors: those of the rows that were not deleted.
        fields: likewise.
        live: which of the ids have them.
    """

    stamps: Int[np.ndarray, " changes"]
    ids: list[str]
    live: list[bool]
    vectors: Float[np.ndarray, "rows dim"]
    fields: dict[str, list[Value]]


class Journal:
    """The rows of a ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger, self.schema = ledger, ledger.schema

    def append(self, rows: Rows) -> None:
        """Writes all of them or, if it is interrupted, none."""
        vectors = (vector.tobytes() for vector in rows.vectors.numpy().astype("<f4", copy=False))
        values = zip(*rows.fields.values(), strict=True) if rows.fields else ((),) * len(rows)
        texts = (json.dumps(row, ensure_ascii=False) for row in values)
        entries = (
            (name, vector, text, _checksum(name, vector, text))
            for name, vector, text in zip(rows.ids, vectors, texts, strict=True)
        )
        with self.ledger.writing() as database:
            database.executemany(INSERT, entries)

    def strike(self, ids: list[str]) -> None:
        """Deletes rows that there are."""
        with self.ledger.writing() as database:
            database.executemany(INSERT, ((name, None, None, _checksum(name, None, None)) for name in ids))

    def since(self, stamp: int) -> Iterator[Changes]:
        """All changes after a stamp, some at a time.

        Raises:
            DamagedError: a row's checksum does not fit.
        """
        with self.ledger.reading() as database:
            cursor = database.execute(SINCE, (stamp,))
            while block := cursor.fetchmany(READ_AT_ONCE):
                yield self._changes(block)

    def _changes(self, block: list[tuple]) -> Changes:
        stamps, ids, vectors, texts, checksums = zip(*block, strict=True)
        for name, vector, text, checksum in zip(ids, vectors, texts, checksums, strict=True):
            if checksum != _checksum(name, vector, text):
                advice = "restore it from a copy, or begin anew and upsert all rows"
                raise DamagedError(f"{self.ledger.path} is damaged at the row {name!r}: {advice}")
        live = [vector is not None for vector in vectors]
        content = b"".join(vector for vector in vectors if vector is not None)
        rows = [json.loads(text) for text in texts if text is not None]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self.schema.fields]
        return Changes(
            np.array(stamps),
            list(ids),
            live,
            np.frombuffer(content, "<f4").reshape(-1, self.schema.dim),
            dict(zip(self.schema.fields, columns, strict=True)),
        )


def _checksum(name: object, vector: object, text: object) -> int:
    """Of a row's content; -1, which fits no row, where damage has changed a type."""
    try:
        return crc32(f"{len(name)} {name}{text}".encode(), crc32(vector or b"nothing"))
    except (TypeError, UnicodeEncodeError):
        return -1
