"""What a table is measured on: queries, a gallery that holds each picture once, and what answers what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TypeVar

from jaxtyping import UInt8
from torch import Tensor

from geoclip_lite import relevance
from geoclip_lite.datasets.official import Reading
from geoclip_lite.scenes import Scene

Asked = TypeVar("Asked", bound="Asking")


class Asking:
    """What benchmarks have in common: `queries`, `items`, `left_out`, `groups` and `relevant`."""

    def first(self: Asked, most: int | None) -> Asked:
        """With the first queries only; the gallery stays whole, and what is cut is left out by name."""
        cut = {} if most is None else {f"queries beyond the first {most:,}": self.groups()[most:]}
        left_out = self.left_out | {why: names for why, names in cut.items() if names}
        return replace(self, queries=self.queries[:most], left_out=left_out)


@dataclass(frozen=True)
class Benchmark(Asking):
    """What is asked and what can be found.

    Args:
        queries: scenes whose captions are asked for.
        items: pictures, each once.
        graded: whether objects are annotated, so that answers can be graded by them.
        left_out: of the data set: why -> names; as of a `Reading`.
    """

    name: str
    queries: tuple[Scene, ...]
    items: tuple[Scene, ...]
    graded: bool = True
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of_world(cls, world: ModuleType) -> Benchmark:
        """The evaluation scenes of a rendered world."""
        scenes = tuple(world.evaluation_scenes())
        return cls(world.NAME, scenes, scenes)

    @classmethod
    def of_reading(cls, name: str, reading: Reading, graded: bool = True) -> Benchmark:
        """Every scene is a query, every picture an item."""
        return cls(name, reading.scenes, tuple(reading.gallery()), graded, dict(reading.left_out))

    def groups(self) -> list[str]:
        """The picture of each query: queries of one picture are no independent draws."""
        return [scene.image_id for scene in self.queries]

    def relevant(self) -> UInt8[Tensor, "queries items"]:
        """A query's own picture, by its id."""
        return relevance.exact(self.queries, self.items)
