"""faiss: rows in memory with a graph over them (HNSW, Malkov and Yashunin, 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import faiss
import numpy as np
from jaxtyping import Float

from geoclip_lite.index.base import Capabilities, Queries
from geoclip_lite.index.memory import Exact, Passing, Places, View

NEIGHBOURS, BREADTH_OF_BUILD = 32, 200  # HNSW's M and efConstruction
BREADTH = 400  # efSearch, at least
MOST_ASKED = 0.25  # of all rows; beyond, looking at each is quicker


class Faiss(Exact):
    """As `Exact`, with a graph that `optimise` builds and saves; the next write drops it.

    Without a graph, and with a filter, every row is looked at: a graph that steps over most of what it meets
    returns short lists (100,000 rows, a filter that 2 % pass: half of the true items).
    """

    capabilities = Capabilities("faiss", exact=False, durable=False, shared=False)

    def __init__(self, folder: str, expected: Mapping[str, object], patience: float):
        super().__init__(folder, expected, patience)
        if (saved := self._view.graph) is not None:
            self._view = self._view._replace(graph=faiss.deserialize_index(saved))

    def optimise(self) -> None:
        """Meanwhile other threads may search; if one writes, the graph is not kept."""
        view = self._look()
        graph = graph_over(view.rows.vectors.numpy()) if len(view.rows) else None
        with self._lock:
            if self._view is view:
                self._view, self._changed = view._replace(graph=graph), True
        self._save()

    def _content(self, view: View) -> dict[str, np.ndarray]:
        graph = {} if view.graph is None else {"graph": faiss.serialize_index(view.graph)}
        return super()._content(view) | graph

    def _candidates(self, view: View, queries: Queries, k: int, passing: Passing) -> Iterable[Places]:
        """By the graph where that is quicker and the lists are full."""
        if view.graph is not None and passing is None and k <= MOST_ASKED * len(view.rows):
            wanted = faiss.SearchParametersHNSW(efSearch=max(BREADTH, 2 * k))
            _, places = view.graph.search(queries, k, params=wanted)
            if (places >= 0).all():
                return places
        return super()._candidates(view, queries, k, passing)


def graph_over(vectors: Float[np.ndarray, "rows dim"]) -> faiss.IndexHNSWFlat:
    """The graph, built on all cores that faiss may use."""
    graph = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BREADTH_OF_BUILD
    graph.add(vectors)
    return graph
