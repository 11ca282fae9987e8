"""faiss: the exact store with a graph (HNSW, Malkov and Yashunin, 2016) over its rows.

The rows are safe in the journal; the graph is derived from them and is in a file of its own, found by its
checksum. Without it, or if it is damaged, search is exact and slower until `optimise` builds it anew. Rows
that are newer than the graph are scanned, as are those that pass a filter: a graph that steps over most of
what it meets returns short lists (100,000 rows, a filter that 2 % pass: half of the true items).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geoclip_lite.files import write_atomically
from geoclip_lite.index.base import Abilities, Found
from geoclip_lite.index.errors import DamagedError, IndexWarning, MissingPackageError, UnavailableError
from geoclip_lite.index.exact import Exact, View
from geoclip_lite.index.filters import Filter
from geoclip_lite.index.journal import Journal

try:
    import faiss
except ImportError:  # an extra
    faiss = None

TABLES = ("CREATE TABLE graph (file TEXT, sha256 TEXT, stamps BLOB)",)
NEIGHBOURS, BREADTH_OF_BUILD = 32, 200  # HNSW's M and efConstruction
BREADTH = 400  # efSearch, at least
MOST_DEAD = 0.2  # of the graph's rows; beyond, it steps over too many
MOST_ASKED = 0.25  # of all rows; beyond, looking at each is quicker


@dataclass(frozen=True)
class Graph:
    """An HNSW graph over the rows of these stamps, in this order."""

    index: faiss.IndexHNSWFlat
    stamps: Int[np.ndarray, " nodes"]

    @classmethod
    def over(cls, vectors: Float[np.ndarray, "nodes dim"], stamps: Int[np.ndarray, " nodes"]) -> Graph:
        """Builds it, on all cores that faiss may use."""
        index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BREADTH_OF_BUILD
        index.add(vectors)
        return cls(index, stamps)

    def nearest(
        self, queries: Float[np.ndarray, "queries dim"], k: int, alive: Bool[np.ndarray, " nodes"]
    ) -> tuple[Float[np.ndarray, "queries k"], Int[np.ndarray, "queries k"]]:
        """Cosines and stamps; -1 where there are fewer than k."""
        wanted = faiss.SearchParametersHNSW(efSearch=max(BREADTH, 2 * k))
        if not alive.all():
            wanted.sel = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
        scores, nodes = self.index.search(queries, k, params=wanted)
        return scores, np.where(nodes < 0, -1, self.stamps[nodes])


class Hnsw(Exact):
    """A journal, its rows in memory, and a graph. See `Store` for the methods."""

    def __init__(self, journal: Journal):
        if faiss is None:
            raise MissingPackageError("this index needs faiss: pip install 'geoclip-lite[index]'")
        super().__init__(journal.schema, journal)
        self.abilities = Abilities(
            "faiss", exact=False, persistent=True, several_readers=True, atomic=True, checksums=True
        )
        self._graph = self._load()

    # --- search ---

    def nearest(self, queries: Float[np.ndarray, "queries dim"], k: int, where: Filter | None) -> list[Found]:
        """By the graph where that is quicker and the lists are full, else exactly."""
        with self._lock:
            view, graph = self._refresh().view(where), self._graph
        if graph is None or where is not None or k > MOST_ASKED * len(view.ids):
            return view.best(queries, k)
        return _by_graph(graph, view, queries, k) or view.best(queries, k)

    def optimise(self, by_vector: bool) -> None:
        """Builds the graph over all rows and writes it down. Meanwhile others may search."""
        with self._lock:
            super().optimise(by_vector)
            view = self._refresh().view()
        if by_vector and view.passing.any():
            graph = Graph.over(view.vectors[view.passing], view.stamps[view.passing])
            self._write(graph)
            with self._lock:
                self._graph = graph

    # --- the file of the graph ---

    def verify(self) -> None:
        """Reads the journal and the graph once more."""
        super().verify()
        if problem := self._read()[1]:
            raise DamagedError(f"{problem}: no row is lost, optimise() builds it anew")

    def _write(self, graph: Graph) -> None:
        """A file under a new name; then the ledger says that it is the one; then the others go."""
        content = faiss.serialize_index(graph.index).tobytes()
        digest, folder = hashlib.sha256(content).hexdigest(), self.journal.ledger.folder
        name = f"graph-{digest[:16]}.faiss"
        with self.journal.ledger.writing() as database:
            try:
                write_atomically(folder / name, content)
            except OSError as error:
                advice = "is there room, may it be written to?"
                raise UnavailableError(f"{folder} cannot be used ({error}): {advice}") from error
            database.execute("DELETE FROM graph")
            entry = (name, digest, graph.stamps.astype("<i8").tobytes())
            database.execute("INSERT INTO graph VALUES (?, ?, ?)", entry)
        for path in folder.glob("graph-*.faiss"):
            if path.name != name:
                path.unlink(missing_ok=True)

    def _read(self) -> tuple[Graph | None, str | None]:
        """The graph, if there is one; what is wrong with it, if anything."""
        with self.journal.ledger.reading() as database:  # while it is read, no other takes its place
            entry = database.execute("SELECT file, sha256, stamps FROM graph").fetchone()
            if entry is None:
                return None, None
            name, digest, stamps = entry
            path = self.journal.ledger.folder / name
            content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            return None, f"{path} is {'damaged' if content else 'missing'}"
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        return Graph(index, np.frombuffer(stamps, "<i8")), None

    def _load(self) -> Graph | None:
        graph, problem = self._read()
        if problem:
            message = f"{problem}: search is exact, and slower, until optimise() builds it anew"
            warnings.warn(message, IndexWarning, stacklevel=6)
        return graph


def _by_graph(
    graph: Graph, view: View, queries: Float[np.ndarray, "queries dim"], k: int
) -> list[Found] | None:
    """The graph's rows that are still alive, and the newer ones; None if the graph is of no use."""
    newer = int(np.searchsorted(view.stamps, graph.stamps[-1], side="right"))
    alive = np.zeros(len(graph.stamps), bool)
    alive[np.searchsorted(graph.stamps, view.stamps[:newer][view.passing[:newer]])] = True
    if alive.mean() < 1 - MOST_DEAD:
        return None
    scores, stamps = graph.nearest(queries, k, alive)
    if (stamps < 0).any():
        return None
    names = view.ids[np.searchsorted(view.stamps, stamps)].tolist()
    both = zip(names, scores.tolist(), view.after(newer).best(queries, k), strict=True)
    return [(ids + more_ids, values + more) for ids, values, (more_ids, more) in both]
