"""What a table is measured on: queries, a gallery that holds each picture once, and what answers what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

from jaxtyping import UInt8
from torch import Tensor

from geoclip_lite import relevance
from geoclip_lite.scenes import Scene


@dataclass(frozen=True)
class Benchmark:
    """What is asked and what can be found.

    Args:
        queries: scenes whose captions are asked for.
        items: pictures, each once.
        graded: whether objects are annotated, so that answers can be graded by them.
    """

    name: str
    queries: tuple[Scene, ...]
    items: tuple[Scene, ...]
    graded: bool = True

    @classmethod
    def of_world(cls, world: ModuleType) -> Benchmark:
        """The evaluation scenes of a rendered world."""
        scenes = tuple(world.evaluation_scenes())
        return cls(world.NAME, scenes, scenes)

    def relevant(self) -> UInt8[Tensor, "queries items"]:
        """A query's own picture, by its id."""
        return relevance.exact(self.queries, self.items)

    def first(self, most: int | None) -> Benchmark:
        """With the first queries only; the gallery stays whole."""
        return replace(self, queries=self.queries[:most])
