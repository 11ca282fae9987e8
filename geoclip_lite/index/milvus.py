"""Milvus: a server, for a corpus that outgrows one machine.

The collection's description carries the schema. Reads are of consistency level Strong: what an upsert has
acknowledged, every search sees. A token, where the server wants one, is taken from the environment variable
GEOCLIP_MILVUS_TOKEN.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import torch
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from geoclip_lite.index.base import Capabilities, Nearest, Queries, Rows, Schema
from geoclip_lite.index.errors import BadInputError, MismatchError, UnavailableError
from geoclip_lite.index.filters import MAX_TEXT, Filter, Value, column, field, render

TYPES = {str: DataType.VARCHAR, int: DataType.INT64, float: DataType.DOUBLE, bool: DataType.BOOL}
MESSAGE = 16 * 2**20  # bytes in one request or answer; the server takes 64 MB
AT_ONCE = 4096  # ids in one answer; the server gives up to 16,384
SMALL = 1024  # rows; the server gives no graph to fewer
GRAPH = {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 16, "efConstruction": 200}}
FLAT = {"index_type": "FLAT", "metric_type": "IP"}  # no collection is served without an index
BREADTH = 400  # HNSW's ef, at least
BEING_LOADED = re.compile("delegator|channel not|not (fully )?loaded")  # in what a server answers meanwhile
PAUSE, LOADING, BUILDING = 0.1, 120.0, 3600.0  # seconds: between two questions; for a collection; a graph

# As in JSON: between double quotes Milvus knows the escapes of Go, and those of JSON are among them.
expression = partial(render, literal=partial(json.dumps, ensure_ascii=False), brackets="[]")


class Milvus:
    """A collection on a Milvus server; payloads are in a second one, `<name>_payload`.

    An upsert of more than about 16 MB is sent in parts: if it fails, some rows may be there and others not.
    The same upsert again puts that right.
    """

    capabilities = Capabilities("milvus", exact=False, durable=True, shared=True)

    def __init__(self, place: str, expected: Mapping[str, object], patience: float):
        self.uri, self.name = _address(place)
        self.payloads, self.patience = f"{self.name}_payload", patience
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what it logs it raises as well
        token = os.environ.get("GEOCLIP_MILVUS_TOKEN", "")
        self._client = self._ask(MilvusClient, self.uri, token=token)
        if not self._ask(self._client.has_collection, self.name):
            schema = Schema.agreed(None, expected, place)
            if schema.payload:
                self._create(self.payloads, Schema(schema.payload, schema.encoder, {}))
            self._create(self.name, schema)
        self.schema = Schema.agreed(self._described(), expected, place)
        self._indexes = {self.name: GRAPH} | ({self.payloads: FLAT} if self.schema.payload else {})
        for name in self._indexes:
            self._load(name)

    def _create(self, name: str, schema: Schema) -> None:
        """Unless another process is quicker."""
        collection = self._client.create_schema(enable_dynamic_field=False, description=schema.to_json())
        collection.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_TEXT)
        collection.add_field("vector", DataType.FLOAT_VECTOR, dim=schema.dim)
        for one, kind in schema.fields.items():
            collection.add_field(column(one), TYPES[kind], **{"max_length": MAX_TEXT} if kind is str else {})
        about = {"schema": collection, "consistency_level": "Strong", "timeout": LOADING}
        try:
            self._ask(self._client.create_collection, name, **about)
        except UnavailableError:
            if not self._ask(self._client.has_collection, name):
                raise

    def _described(self) -> Schema:
        try:
            return Schema.from_json(self._ask(self._client.describe_collection, self.name)["description"])
        except (ValueError, KeyError, TypeError) as error:
            advice = "name another collection"
            raise MismatchError(f"{self.uri}/{self.name} was not made by open_index: {advice}") from error

    def _load(self, name: str) -> None:
        """Into the server's memory. A process that was killed may have left it without an index."""
        if not self._ask(self._client.list_indexes, name, field_name="vector"):
            params = self._client.prepare_index_params()
            params.add_index("vector", **self._indexes[name])
            self._ask(self._client.create_index, name, params, timeout=LOADING)
        self._ask(self._client.load_collection, name, timeout=LOADING)

    # --- rows ---

    def put(self, rows: Rows) -> None:
        """Payloads first: what a search finds has one."""
        if rows.payload is not None:
            self._upsert(self.payloads, {"id": rows.ids, "vector": rows.payload.float().numpy()})
        fields = {column(name): values for name, values in rows.fields.items()}
        self._upsert(self.name, {"id": rows.ids, "vector": rows.vectors.numpy(), **fields})

    def _upsert(self, name: str, columns: Mapping[str, Sequence]) -> None:
        entities = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for some in self._parts(entities):
            self._ask(self._client.upsert, name, some)

    def _parts(self, items: Sequence) -> Iterator[Sequence]:
        """In messages that the server takes and gives."""
        texts = 1 + sum(kind is str for kind in self.schema.fields.values())
        step = max(1, MESSAGE // (4 * max(self.schema.dim, self.schema.payload) + MAX_TEXT * texts))
        return (items[start : start + step] for start in range(0, len(items), step))

    def remove(self, where: Filter) -> None:
        """By their ids: not every version deletes by any filter."""
        ids = list(self._all(expression(where), "id"))
        for name in self._indexes:
            for some in self._parts(ids):
                self._ask(self._client.delete, name, filter=expression(field("id").isin(some)))

    def count(self, where: Filter | None) -> int:
        text = "" if where is None else expression(where)
        (answer,) = self._ask(self._client.query, self.name, filter=text, output_fields=["count(*)"])
        return answer["count(*)"]

    def values(self, name: str) -> dict[str, Value]:
        return self._all("", column(name))

    def _all(self, where: str, wanted: str) -> dict[str, Value]:
        """id -> the value of a column, for all rows that pass. The server gives the first by their ids.

        pymilvus's own iterator does the same, but writes the last id unquoted into its next request.
        """
        values, names, rest = {}, list(dict.fromkeys(["id", wanted])), ""
        while True:
            about = {"filter": " and ".join(filter(None, (rest, where))), "limit": AT_ONCE}
            page = self._ask(self._client.query, self.name, output_fields=names, **about)
            values |= {row["id"]: row[wanted] for row in page}
            if len(page) < AT_ONCE:
                return values
            rest = f"id > {json.dumps(max(row['id'] for row in page), ensure_ascii=False)}"

    def read(self, where: Filter) -> Rows:
        return self._rows(list(self._all(expression(where), "id")))

    def _rows(self, ids: Sequence[str]) -> Rows:
        """Those that are there, in the order of the ids."""
        found = self._fetched(self.name, ids, ["id", "vector", *map(column, self.schema.fields)])
        ids = tuple(name for name in ids if name in found)
        vectors = np.array([found[name]["vector"] for name in ids], np.float32).reshape(-1, self.schema.dim)
        fields = {one: [found[name][column(one)] for name in ids] for one in self.schema.fields}
        if not self.schema.payload:
            return Rows(ids, torch.from_numpy(vectors), fields)
        found = self._fetched(self.payloads, ids, ["id", "vector"])
        payload = np.array([found[name]["vector"] for name in ids], np.float16)
        payload = torch.from_numpy(payload.reshape(-1, self.schema.payload))
        return Rows(ids, torch.from_numpy(vectors), fields, payload)

    def _fetched(self, name: str, ids: Sequence[str], columns: list[str]) -> dict[str, dict]:
        found = {}
        for some in self._parts(ids):
            about = {"filter": expression(field("id").isin(some)), "limit": len(some)}
            page = self._ask(self._client.query, name, output_fields=columns, **about)
            found |= {row["id"]: row for row in page}
        return found

    def nearest(self, queries: Queries, k: int, where: Filter | None, rows: bool) -> list[Nearest]:
        breadth = {"metric_type": "IP", "params": {"ef": max(BREADTH, 2 * k)}}
        about = {"data": list(queries), "limit": k, "search_params": breadth, "anns_field": "vector"}
        about |= {} if where is None else {"filter": expression(where)}
        nearest = []
        for hits in self._ask(self._client.search, self.name, **about):
            scores = {hit["id"]: hit["distance"] for hit in hits}
            contents = self._rows(list(scores)) if rows else None
            ids = contents.ids if rows else tuple(scores)  # one may have been deleted just now
            nearest.append((ids, [scores[name] for name in ids], contents))
        return nearest

    def optimise(self) -> None:
        """Builds the graph over all rows, and waits until searches go by it, two minutes at most.

        Until the server's nodes have loaded it, tens of seconds later as Milvus is shipped, a filtered search
        may miss rows. To release and load it is quicker, but others would find it empty meanwhile.
        """
        if self.count(None):
            self._ask(self._client.flush, self.name, timeout=BUILDING)
            _wait(self._is_built, BUILDING)
            _wait(self._is_used, LOADING)

    def _is_built(self) -> bool:
        return not self._ask(self._client.describe_index, self.name, "vector")["pending_index_rows"]

    def _is_used(self) -> bool:
        """Whether all parts that are stored are loaded, with their graphs. Small ones get none."""
        try:
            stored = self._ask(self._client.list_persistent_segments, self.name)
            loaded = self._ask(self._client.list_loaded_segments, self.name)
        except UnavailableError as error:
            if "segment not found" in str(error):  # one that was listed has just been merged with others
                return False
            raise
        ready = {part.segment_id for part in loaded if part.index_id or part.num_rows < SMALL}
        return ready.issuperset(part.segment_id for part in stored)

    def verify(self) -> None:
        """Asks whether the collection is there and loaded. Its files are the server's."""
        self.count(None)

    def close(self) -> None:
        self._client.close()

    def _ask(self, call: Callable, *what: object, timeout: float | None = None, **about: object) -> object:
        """Asks the server, and again while someone has the collection loaded anew."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return call(*what, timeout=timeout or self.patience, **about)
            except MilvusException as error:
                if not BEING_LOADED.search(error.message) or time.monotonic() > deadline:
                    advice = "is it up, is the address right, is patience long enough?"
                    reason = f"did not do it within {self.patience:g} s, or refused ({error.message})"
                    raise UnavailableError(f"the server {self.uri} {reason}: {advice}") from error
            time.sleep(PAUSE)


def _wait(test: Callable[[], bool], seconds: float) -> None:
    """Until it holds, but no longer."""
    deadline = time.monotonic() + seconds
    while not test() and time.monotonic() < deadline:
        time.sleep(PAUSE)


def _address(place: str) -> tuple[str, str]:
    """Address and collection of http://host:19530/collection."""
    parts, name = urlsplit(place), place.rpartition("/")[2]
    if "@" in parts.netloc:
        raise BadInputError("where must hold no password: put the token into GEOCLIP_MILVUS_TOKEN")
    address = f"{parts.scheme}://{parts.netloc}"
    if not re.fullmatch(r"https?://[^/]+/[A-Za-z_][A-Za-z0-9_]{0,240}", place):
        raise BadInputError(f"where must be like milvus:http://localhost:19530/photos, got milvus:{place}")
    return address, name
