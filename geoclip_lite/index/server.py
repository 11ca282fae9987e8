"""Milvus: a server, for a corpus that outgrows one machine.

The collection's description carries the schema. Reads are of consistency level Strong: what an upsert has
acknowledged, every search sees. Milvus would accept NaN, integers that differ by store, and filters as text;
none of it gets here.

A token, where the server wants one, is taken from the environment variable GEOCLIP_MILVUS_TOKEN.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import torch
from jaxtyping import Float

from geoclip_lite.index.base import Abilities, Found, Rows, Schema, Wish
from geoclip_lite.index.errors import BadInputError, MismatchError, MissingPackageError, UnavailableError
from geoclip_lite.index.filters import MAX_TEXT, Dialect, Filter, OneOf, Value, render

try:
    from pymilvus import DataType, MilvusClient
    from pymilvus.exceptions import MilvusException
except ImportError:  # an extra
    MilvusClient = None

COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
MESSAGE = 16 * 2**20  # bytes in one request; the server takes 64 MB
READ_AT_ONCE = 4096  # rows in one answer; the server gives up to 16,384
SMALL = 1024  # rows; the server gives no graph to fewer
NEIGHBOURS, BREADTH_OF_BUILD = 16, 200  # HNSW's M and efConstruction
BREADTH = 400  # ef, at least
BEING_LOADED = re.compile("delegator|channel not|not (fully )?loaded")  # in what a server answers meanwhile
PAUSE = 0.1  # seconds until a server is asked again
LOADING = 120.0  # seconds for a collection to be created or loaded, beyond what callers wait for an answer
BUILDING = 3600.0  # seconds for a graph


class Milvus:
    """A collection on a Milvus server. See `Store` for the methods.

    An upsert of more than about 16 MB is sent in parts: if it fails, some rows may be there and others not.
    The same upsert again puts that right.
    """

    abilities = Abilities(
        "milvus",
        exact=False,
        persistent=True,
        several_readers=True,
        atomic=False,
        checksums=False,
        server=True,
    )

    def __init__(self, place: str, wish: Wish, patience: float):
        self.uri, self.name = _parts(place)
        if MilvusClient is None:
            raise MissingPackageError(
                "an index on a server needs pymilvus: pip install 'geoclip-lite[milvus]'"
            )
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what it logs it raises as well
        self.patience = patience
        with self._named():
            token = os.environ.get("GEOCLIP_MILVUS_TOKEN", "")
            self._client = MilvusClient(self.uri, token=token, timeout=patience)
            self._create(wish)
            self.schema = wish.check(self._described(), place)
            self._load()

    def _create(self, wish: Wish) -> None:
        """The collection, unless it is there; another process may be quicker."""
        if self._client.has_collection(self.name, timeout=self.patience):
            return
        schema = wish.fresh(f"{self.uri}/{self.name}")
        collection = self._client.create_schema(enable_dynamic_field=False, description=schema.to_json())
        collection.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_TEXT)
        collection.add_field("vector", DataType.FLOAT_VECTOR, dim=schema.dim)
        for name, kind in schema.fields.items():
            about = {"max_length": MAX_TEXT} if kind is str else {}
            collection.add_field(_column(name), TYPES[kind], **about)
        try:
            self._client.create_collection(
                self.name, schema=collection, consistency_level="Strong", timeout=LOADING
            )
        except MilvusException:
            if not self._client.has_collection(self.name, timeout=self.patience):
                raise

    def _described(self) -> Schema:
        text = self._client.describe_collection(self.name, timeout=self.patience)["description"]
        try:
            return Schema.from_json(text)
        except (ValueError, KeyError, TypeError) as error:
            advice = "name another collection"
            raise MismatchError(f"{self.uri}/{self.name} was not made by open_index: {advice}") from error

    def _load(self) -> None:
        """Into the server's memory. A process that was killed may have left it without a graph."""
        if not self._client.list_indexes(self.name, "vector"):
            graph = {"M": NEIGHBOURS, "efConstruction": BREADTH_OF_BUILD}
            wanted = self._client.prepare_index_params()
            wanted.add_index("vector", index_type="HNSW", metric_type="IP", params=graph)
            self._client.create_index(self.name, wanted, timeout=LOADING)
        self._client.load_collection(self.name, timeout=LOADING)

    # --- rows ---

    def put(self, rows: Rows) -> None:
        """In parts that the server takes."""
        fields = {_column(name): values for name, values in rows.fields.items()}
        columns = {"id": rows.ids, "vector": rows.vectors.numpy(), **fields}
        text = MAX_TEXT * (1 + sum(kind is str for kind in self.schema.fields.values()))
        step = max(1, MESSAGE // (4 * self.schema.dim + text))
        for start in range(0, len(rows), step):
            part = zip(*(values[start : start + step] for values in columns.values()), strict=True)
            entities = [dict(zip(columns, values, strict=True)) for values in part]
            with self._named():
                self._client.upsert(self.name, entities, timeout=self.patience)

    def remove(self, where: Filter) -> None:
        """By their ids: not every version deletes by any filter."""
        while rows := self._some(where, ["id"]):
            listed = OneOf("id", tuple(row["id"] for row in rows))
            with self._named():
                self._client.delete(self.name, filter=render(listed, EXPRESSION), timeout=self.patience)

    def count(self, where: Filter | None) -> int:
        """How many rows pass."""
        text = "" if where is None else render(where, EXPRESSION)
        (answer,) = self._answer(self._client.query, filter=text, output_fields=["count(*)"])
        return answer["count(*)"]

    def read(self, where: Filter) -> Rows:
        """The rows that pass."""
        names, rest, rows = ["id", "vector", *map(_column, self.schema.fields)], where, []
        while page := self._some(rest, names):
            rows += page
            if len(page) < READ_AT_ONCE:
                break
            rest = rest & ~OneOf("id", tuple(row["id"] for row in page))
        vectors = np.array([row["vector"] for row in rows], np.float32).reshape(-1, self.schema.dim)
        fields = {name: [row[_column(name)] for row in rows] for name in self.schema.fields}
        return Rows(tuple(row["id"] for row in rows), torch.from_numpy(vectors), fields)

    def _some(self, where: Filter, names: list[str]) -> list[dict]:
        """As many of the rows that pass as go into an answer.

        Not by pymilvus's iterator, which writes the ids that it has seen into its next request unquoted.
        """
        text = render(where, EXPRESSION)
        return list(self._answer(self._client.query, filter=text, output_fields=names, limit=READ_AT_ONCE))

    # --- search ---

    def nearest(self, queries: Float[np.ndarray, "queries dim"], k: int, where: Filter | None) -> list[Found]:
        """Nearly all of the nearest rows."""
        found = self._answer(
            self._client.search,
            data=list(queries),
            anns_field="vector",
            limit=k,
            filter="" if where is None else render(where, EXPRESSION),
            search_params={"metric_type": "IP", "params": {"ef": max(BREADTH, 2 * k)}},
        )
        return [([hit["id"] for hit in hits], [hit["distance"] for hit in hits]) for hits in found]

    def optimise(self, by_vector: bool) -> None:
        """Builds the graph over all rows, and waits until searches go by it, two minutes at most.

        Milvus serves no collection without a graph: one is built whatever `by_vector` says. Until its nodes
        have loaded it, tens of seconds later as Milvus is shipped, a filtered search may miss rows. To
        release and load the collection is quicker, but others would meanwhile be told that it is empty.
        """
        if not self.count(None):
            return
        with self._named():
            self._client.flush(self.name, timeout=BUILDING)
            if not _happens(self._built, BUILDING):
                raise UnavailableError(f"{self.uri} has not built the graph within {BUILDING:g} s")
            _happens(self._in_use, LOADING)

    def _built(self) -> bool:
        about = self._client.describe_index(self.name, "vector", timeout=self.patience)
        return not about["pending_index_rows"]

    def _in_use(self) -> bool:
        """Whether all parts that are stored are loaded, with their graphs. Small ones get none."""
        try:
            stored = self._client.list_persistent_segments(self.name, timeout=self.patience)
            loaded = self._client.list_loaded_segments(self.name, timeout=self.patience)
        except MilvusException as error:
            if "segment not found" in error.message:  # one that was listed has just been merged with others
                return False
            raise
        ready = {part.segment_id for part in loaded if part.index_id or part.num_rows < SMALL}
        return ready.issuperset(part.segment_id for part in stored)

    def verify(self) -> None:
        """Asks whether the collection is there and loaded. Its files are the server's."""
        self.count(None)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _answer(self, ask: Callable[..., list], **what: object) -> list:
        """To a read. While someone has the collection loaded anew, the server is asked again."""
        deadline = time.monotonic() + self.patience
        with self._named():
            while True:
                try:
                    return ask(self.name, timeout=self.patience, **what)
                except MilvusException as error:
                    if not BEING_LOADED.search(error.message) or time.monotonic() > deadline:
                        raise
                time.sleep(PAUSE)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turns what pymilvus raises into our errors."""
        try:
            yield
        except MilvusException as error:
            advice = "is it up, is the address right, is patience long enough?"
            what = f"did not do it within {self.patience:g} s, or refused ({error.message})"
            raise UnavailableError(f"the server {self.uri} {what}: {advice}") from error


def _happens(test: Callable[[], bool], seconds: float) -> bool:
    """Waits until a test holds; False if it has not by then."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _parts(place: str) -> tuple[str, str]:
    """Address and collection of http://host:19530/collection."""
    parts = urlsplit(place)
    name = parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not COLLECTION.fullmatch(name):
        example = "milvus:http://localhost:19530/photos"
        raise BadInputError(f"where must be like {example}, got milvus:{parts.scheme}://...{parts.path}")
    if "@" in parts.netloc:
        raise BadInputError("where must hold no password: put the token into GEOCLIP_MILVUS_TOKEN")
    return f"{parts.scheme}://{parts.netloc}", name


# --- filters --------------------------------------------------------------------------------------

TYPES = {}
if MilvusClient is not None:
    TYPES = {str: DataType.VARCHAR, int: DataType.INT64, float: DataType.DOUBLE, bool: DataType.BOOL}


def _column(name: str) -> str:
    """Prefixed: a field may be called `like`."""
    return name if name == "id" else f"f_{name}"


def _literal(value: Value) -> str:
    """As in JSON: between double quotes Milvus knows the escapes of Go, and those of JSON are among them."""
    return json.dumps(value, ensure_ascii=False)


EXPRESSION = Dialect(_column, _literal, equal="==", brackets="[]")
