"""A folder's ledger: what kind of index it holds, whose, and one writer at a time.

One SQLite file. Its transactions are the lock of the folder, which a killed process lets go of; what is
written in one is there as a whole or not at all. Stores keep in it what must not be lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoclip_lite.index.base import Schema, Wish
from geoclip_lite.index.errors import (
    DamagedError,
    LockedError,
    MismatchError,
    UnavailableError,
)

NAME = "index.sqlite"
FORMAT = "geoclip-lite index 1"
PAGE = 16_384  # bytes; of SQLite's own 4,096 a row of 512 numbers leaves half empty
TABLE = "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"


class Ledger:
    """Opens the ledger of a folder, or begins one.

    Args:
        kind: of store.
        tables: what the store adds, as CREATE TABLE statements.
        patience: seconds to wait while another process writes.

    Raises:
        MismatchError: the folder holds something else.
        BadInputError: there is no index yet, and the wish leaves its dimension or encoder open.
        LockedError, DamagedError, UnavailableError: it cannot be used.
    """

    def __init__(self, folder: Path, kind: str, wish: Wish, tables: tuple[str, ...], patience: float):
        self.folder, self.kind, self.patience = Path(folder), kind, patience
        self.path = self.folder / NAME
        if not self._begun():
            self._begin(wish, tables)
        with self.reading() as database:
            about = dict(database.execute("SELECT name, value FROM about"))
        self.schema = wish.check(self._schema_of(about), str(self.folder))

    def _begun(self) -> bool:
        """Whether there are tables. A process killed while it began leaves a file without any."""
        if not self.path.exists():
            return False
        with self.reading() as database:
            return bool(_tables(database))

    def _begin(self, wish: Wish, tables: tuple[str, ...]) -> None:
        """Writes a new ledger, unless another process is quicker."""
        schema = wish.fresh(str(self.folder))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in self.folder.iterdir() if not path.name.startswith(NAME)]
        except OSError as error:
            raise UnavailableError(f"the folder {self.folder} cannot be used ({error})") from error
        with self.writing() as database:
            if _tables(database):
                return
            if others:
                advice = f"{NAME} is missing or empty; restore it, or name an empty folder"
                raise MismatchError(f"{self.folder} holds files ({others[0]}) but no index: {advice}")
            for table in (TABLE, *tables):
                database.execute(table)
            about = {"format": FORMAT, "kind": self.kind, "schema": schema.to_json()}
            database.executemany("INSERT INTO about VALUES (?, ?)", about.items())

    def _schema_of(self, about: dict[str, str]) -> Schema:
        if about.get("format") != FORMAT:
            raise DamagedError(f"{self.path} is not of the format {FORMAT!r}: {about.get('format')!r}")
        if about["kind"] != self.kind:
            what = f"an index of the kind {about['kind']}, not {self.kind}"
            raise MismatchError(f"{self.folder} holds {what}: open {about['kind']}:{self.folder}")
        try:
            return Schema.from_json(about["schema"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{self.path} cannot be understood ({error}): restore it") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Holds the folder's lock; what is done in it is kept if it ends without an error."""
        with self._transaction("BEGIN IMMEDIATE") as database:
            yield database

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Sees the ledger as it is now, whatever is written meanwhile."""
        with self._transaction("BEGIN") as database:
            yield database

    def check(self) -> None:
        """Raises DamagedError if SQLite finds the file inconsistent."""
        with self.reading() as database:
            (answer,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if answer != "ok":
            raise DamagedError(f"{self.path} is damaged ({answer}): restore it from a copy")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        database = None
        try:
            database = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None)
            database.execute(f"PRAGMA page_size = {PAGE}")  # of a new file; any other stays as it is
            database.execute(begin)
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._named(error) from error
        finally:
            if database is not None:
                database.close()  # without a commit, this undoes it

    def _named(self, error: sqlite3.Error) -> Exception:
        """Which of our errors it is."""
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            advice = "wait for the other process, or raise patience"
            return LockedError(f"{self.path} was locked for {self.patience:g} s: {advice}")
        if code in (0, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return DamagedError(f"{self.path} cannot be read ({error}): restore it from a copy")
        return UnavailableError(f"{self.path} cannot be used ({error}): is there room, may it be written to?")


def _tables(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
