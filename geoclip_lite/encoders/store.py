"""A store of embeddings on disk: what an encoder has computed once is looked up the next time.

One SQLite file an encoder and kind of device (rounding depends on it), named by the fingerprint; a row a text
or picture, found by its content.
SQLite's transactions see to it that a killed process leaves whole rows only, and that several processes can
share a file. A checksum in each row tells a damaged vector from a good one.
"""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.images import rgb
from geoclip_lite.inputs import check_images, check_texts

KEPT_AT_ONCE = 1024  # items in a transaction: what a killed process may lose
PATIENCE = 60  # seconds to wait while another process writes
TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum INTEGER) WITHOUT ROWID"
)

Item = TypeVar("Item", str, Image.Image)
Answer = TypeVar("Answer")


class StoreWarning(UserWarning):
    """Something in a store was damaged. What was lost is computed anew."""


def default_folder() -> Path:
    """The folder that GEOCLIP_CACHE names, or ~/.cache/geoclip-lite."""
    return Path(os.environ.get("GEOCLIP_CACHE") or Path.home() / ".cache" / "geoclip-lite")


class Stored:
    """An encoder with a store: the same vectors, each computed once.

    A `TextWarning` comes when a text is computed, not when it is looked up.

    Args:
        encoder: whose vectors to keep.
        folder: for the store's file; None: `default_folder()`.

    Raises:
        OSError: the folder cannot be written to; later on, the file cannot be read or written.
    """

    def __init__(self, encoder: DualEncoder, folder: Path | None = None):
        self.encoder = encoder
        self.name, self.dim, self.image_size = encoder.name, encoder.dim, encoder.image_size
        self.templates, self.fingerprint = encoder.templates, encoder.fingerprint
        kind = torch.device(getattr(encoder, "device", "cpu")).type
        name = self.fingerprint if kind == "cpu" else f"{self.fingerprint}-{kind}"
        self.path = Path(folder or default_folder()) / f"{name}.sqlite"
        self._run(lambda database: None)  # a folder that cannot be written to is better known now

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "texts dim"]:
        """One unit vector a text."""
        texts = check_texts(texts)
        return self._encode(texts, [text_key(text) for text in texts], self.encoder.encode_texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Float[Tensor, "images dim"]:
        """One unit vector an image. Pictures that are equal in RGB are one picture."""
        images = [rgb(image) for image in check_images(images)]
        return self._encode(images, [image_key(image) for image in images], self.encoder.encode_images)

    def square(self, image: Image.Image) -> Image.Image:
        """See `squares.square_of`."""
        return square_of(self.encoder, image)

    def _encode(
        self, items: Sequence[Item], keys: list[bytes], encode: Callable[[list[Item]], Tensor]
    ) -> Float[Tensor, "items dim"]:
        """Looks up what there is; computes and keeps the rest, a block at a time."""
        vectors = self._look_up(keys)
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in vectors}
        new = list(missing)
        for block in (new[i : i + KEPT_AT_ONCE] for i in range(0, len(new), KEPT_AT_ONCE)):
            rows = encode([missing[key] for key in block]).numpy().astype("<f4")
            computed = {key: row.tobytes() for key, row in zip(block, rows, strict=True)}
            self._keep(computed)
            vectors |= computed
        content = bytearray().join(vectors[key] for key in keys)
        return torch.from_numpy(np.frombuffer(content, "<f4").reshape(len(keys), self.dim))

    def _look_up(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """The vectors that there are. A damaged one counts as missing, with a warning."""
        query = "SELECT vector, checksum FROM vectors WHERE key = ?"
        rows = self._run(lambda database: {key: database.execute(query, (key,)).fetchone() for key in keys})
        found = {key: row for key, row in rows.items() if row}
        good = {
            key: vector for key, (vector, checksum) in found.items() if checksum == _checksum(key, vector)
        }
        if lost := len(found) - len(good):
            message = f"{lost} vectors in {self.path} are damaged: computed anew"
            warnings.warn(message, StoreWarning, stacklevel=4)
        return good

    def _keep(self, vectors: dict[bytes, bytes]) -> None:
        """Writes all of them or, if it is interrupted, none."""
        rows = [(key, vector, _checksum(key, vector)) for key, vector in vectors.items()]
        insert = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)"
        self._run(lambda database: database.executemany(insert, rows))

    # --- the file ---

    def _run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Does the work in one transaction, on a file that can be read."""
        before = self._identity()
        try:
            return self._transaction(work)
        except (OSError, sqlite3.OperationalError) as error:
            raise OSError(
                f"the store {self.path} cannot be used ({error}): name a folder that can be written to, "
                "by the argument folder or the environment variable GEOCLIP_CACHE"
            ) from error
        except sqlite3.DatabaseError as error:
            if self._identity() == before:  # else another process has already begun anew
                self._set_aside(error)
            return self._run(work)

    def _transaction(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Does all of the work or, if it fails, none: closing without a commit undoes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, PATIENCE, isolation_level=None)) as database:
            database.execute(TABLE)
            database.execute("BEGIN")
            answer = work(database)
            database.execute("COMMIT")
            return answer

    def _identity(self) -> int | None:
        """Which file it is that has the store's name."""
        return self.path.stat().st_ino if self.path.exists() else None

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Makes room for a new file. The journal of the old one must not be applied to it."""
        aside = self.path.with_suffix(".damaged")
        message = f"{self.path} cannot be read ({error}): kept as {aside.name}, begun anew"
        warnings.warn(message, StoreWarning, stacklevel=6)
        with suppress(FileNotFoundError):  # another process was quicker
            Path(f"{self.path}-journal").unlink(missing_ok=True)
            self.path.replace(aside)


# --- what is looked up ----------------------------------------------------------------------------


def text_key(text: str) -> bytes:
    """Names a text by its bytes."""
    # 2: before, the minis took "cube." for another word, under the fingerprint that they still have
    return sha256(b"text 2 " + text.encode("utf-8", "surrogatepass")).digest()


def image_key(image: Image.Image) -> bytes:
    """Names a picture by all that an encoder can see of it: mode, size, palette, pixels."""
    key = sha256(f"image {image.mode} {image.size} ".encode())
    key.update(bytes(image.getpalette() or ()))
    key.update(image.tobytes())
    return key.digest()


def _checksum(key: bytes, vector: object) -> int:
    """Of a row's content; -1, which fits no row, where damage has left no vector at all."""
    return crc32(vector, crc32(key)) if isinstance(vector, bytes) else -1
