"""Objects from pixels: reranking and late interaction without annotations, every seed of both diets.

The configuration is chosen on validation scenes, one for both worlds; what a choice per world would add is
measured beside it. Nothing below reads an annotation of a candidate but the relevance that judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product

import pandas as pd
import torch
from _runs import MINIS, WORLDS, drawn
from _tables import Decided, Row, claims_of, over_seeds, rows_of, spread, study_of_runs
from torch import Tensor

from geoclip_lite import metrics, regions, relevance
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.regions import Centring, RegionIndex, Regions
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.scenes import Scene
from geoclip_lite.transport import PointSets

CHAPTER = "07_objects_from_pixels"
POOL = 100
KS = (1, 5, 10)
VALIDATION = 500  # scenes of each world
GRIDS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (4, 4))  # refine, window
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Configuration:
    """What there is to choose."""

    refine: int
    window: int
    centred: bool
    matcher: regions.search.Matcher
    weight: float


@dataclass(frozen=True)
class Search:
    """Queries, pictures and first stages of one set of scenes, ready to be matched in any way."""

    encoder: DualEncoder
    scenes: Sequence[Scene]
    pictures: list
    images: Gallery
    captions: Tensor
    phrases: PointSets
    right: Tensor

    @classmethod
    def over(cls, encoder: DualEncoder, scenes: Sequence[Scene]) -> Search:
        """Encodes what does not depend on the configuration."""
        captions = [scene.caption for scene in scenes]
        return cls(
            encoder,
            scenes,
            [scene.image(encoder.image_size) for scene in scenes],
            Gallery.of_images(encoder, scenes),
            encoder.encode_texts(captions),
            regions.phrase_sets(captions, partial(encode_with_templates, encoder)),
            relevance.exact(scenes, scenes),
        )

    @property
    def first(self) -> Ranking:
        """The hundred best pictures by the caption's cosine."""
        return shortlist(self.captions, self.images, POOL)

    @property
    def first_by_average(self) -> Ranking:
        """The hundred best by the mean vector of the caption's phrases (chapter 3)."""
        means = torch.stack([self.phrases[i].mean(0) for i in range(len(self.phrases))])
        return shortlist(means, self.images, POOL)

    def windows(self, refine: int, window: int) -> Regions:
        """Windows over the value map."""
        return regions.value_regions(
            self.encoder, self.pictures, refine=refine, window=window, progress=False
        )

    def r1(self, ranking: Ranking) -> float:
        """R@1."""
        return float(metrics.hit_at(ranking, self.right, 1).mean())


# --- validation -----------------------------------------------------------------------------------


def validated(search: Search) -> Iterator[tuple[Configuration, float]]:
    """R@1 after reranking on validation scenes, for every configuration."""
    first = search.first
    for refine, window in GRIDS:
        shown = search.windows(refine, window)
        centring = Centring.fit(search.phrases.vectors, shown)
        for centred, matcher in product((False, True), ("max-sim", "assignment")):
            asked, gallery = centred_sides(search.phrases, shown, centring if centred else None)
            matched = regions.rerank(first, asked, gallery, matcher)
            for weight in WEIGHTS:
                configuration = Configuration(refine, window, centred, matcher, weight)
                yield configuration, search.r1(regions.mix(matched, first, weight))


def centred_sides(phrases: PointSets, shown: Regions, centring: Centring | None) -> tuple[PointSets, Regions]:
    """Phrases and regions, centred if there is a centring."""
    if centring is None:
        return phrases, shown
    return centring.phrase_sets(phrases), centring.regions(shown)


# --- test -----------------------------------------------------------------------------------------


def measure(encoder: DualEncoder, about: Row) -> list[Row]:
    """All rows of one training run."""
    held_out = {w.NAME: Search.over(encoder, drawn(w, "validation_scenes")[:VALIDATION]) for w in WORLDS}
    scores = pd.DataFrame({name: dict(validated(search)) for name, search in held_out.items()})
    both = scores.mean(axis=1).idxmax()
    chosen = asdict(both) | {"matcher": both.matcher == "assignment"}
    rows = rows_of(chosen, about | {"stage": "chosen", "world": "both"})
    for world in WORLDS:
        search = Search.over(encoder, drawn(world, "evaluation_scenes"))
        sides = partial(both_sides, search, held_out[world.NAME])
        where = about | {"world": world.NAME}
        rows += measure_stages(search, *sides(both, windows), both, where)
        for stage, configuration, look in (
            ("reranked, chosen for this world", scores[world.NAME].idxmax(), windows),
            ("reranked by crops", both, cut_out),
        ):
            ranking = reranked(search.first, *sides(configuration, look), configuration)
            rows += rows_of({"R@1": search.r1(ranking)}, where | {"stage": stage})
    return rows


def measure_stages(
    search: Search, asked: PointSets, gallery: Regions, chosen: Configuration, about: Row
) -> list[Row]:
    """Recall of every stage, also by the number of objects, and the ceilings of the two shortlists."""
    first, average = search.first, search.first_by_average
    index = RegionIndex.of(gallery, search.images.vectors)
    stages = {
        "cosine": first,
        "average": average,
        "reranked": reranked(first, asked, gallery, chosen),
        "average, reranked": reranked(average, asked, gallery, chosen),
        "whole gallery": index.search(
            asked, search.captions, POOL, matcher=chosen.matcher, weight=chosen.weight
        ),
    }
    sizes, rows = torch.tensor([len(scene.objects) for scene in search.scenes]), []
    for stage, ranking in stages.items():
        hits = {k: metrics.hit_at(ranking, search.right, k) for k in KS}
        figures = {f"R@{k}": hit.mean() for k, hit in hits.items()}
        figures |= {f"R@1, {n} objects": hits[1][sizes == n].mean() for n in sizes.unique().tolist()}
        figures["in the best 100"] = metrics.hit_at(ranking, search.right, POOL).mean()
        rows += rows_of(figures, about | {"stage": stage})
    return rows


def windows(search: Search, configuration: Configuration) -> Regions:
    """Regions from the value map."""
    return search.windows(configuration.refine, configuration.window)


def cut_out(search: Search, configuration: Configuration) -> Regions:
    """Regions cut out and encoded one by one, whatever the configuration says of the map."""
    return regions.crops(search.encoder, search.pictures, progress=False)


def both_sides(
    search: Search,
    held_out: Search,
    configuration: Configuration,
    look: Callable[[Search, Configuration], Regions],
) -> tuple[PointSets, Regions]:
    """Phrases and regions of a test; what is taken off comes from the validation scenes."""
    shown, centring = look(search, configuration), None
    if configuration.centred:
        centring = Centring.fit(held_out.phrases.vectors, look(held_out, configuration))
    return centred_sides(search.phrases, shown, centring)


def reranked(first: Ranking, asked: PointSets, gallery: Regions, chosen: Configuration) -> Ranking:
    """A shortlist by its regions, blended with its own score."""
    return regions.mix(regions.rerank(first, asked, gallery, chosen.matcher), first, chosen.weight)


def sample(encoder: DualEncoder, about: Row) -> list[Row]:
    """The stages in the CLEVR-like world, with the configuration that the whole measurement chose."""
    chosen = Configuration(refine=4, window=3, centred=True, matcher="max-sim", weight=0.3)
    search = Search.over(encoder, drawn(clevr_like, "evaluation_scenes"))
    held_out = Search.over(encoder, drawn(clevr_like, "validation_scenes")[:VALIDATION])
    sides = both_sides(search, held_out, chosen, windows)
    return measure_stages(search, *sides, chosen, about | {"world": clevr_like.NAME})


# --- statements -----------------------------------------------------------------------------------


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the paper does with annotations, done without."""
    return claims_of({diet: decide(table[table.encoder == diet]) for diet in MINIS}, CHAPTER)


def decide(table: pd.DataFrame) -> Decided:
    """Each statement, what was measured, and whether it shows."""

    def r1(stage: str, world: str) -> pd.Series:
        return 100 * over_seeds(table, "R@1", stage=stage, world=world)

    def line(*stages: str) -> str:
        worlds = {"Shapes": "shapes", "CLEVR-like": "clevr-like"}
        return "; ".join(
            f"{name}: " + " to ".join(spread(r1(stage, world), "{:.1f}") for stage in stages) + " %"
            for name, world in worlds.items()
        )

    def rises(low: str, high: str) -> bool:
        return all(bool((r1(high, w.NAME) > r1(low, w.NAME)).all()) for w in WORLDS)

    return [
        (
            ("Matching objects beats the cosine without annotations", "sections 4.3, 4.4 use them", ""),
            f"R@1, cosine to regions of the shortlist, {line('cosine', 'reranked')}",
            rises("cosine", "reranked"),
        ),
        (
            ("... and finds more in the whole gallery than in a shortlist", "section 4.4 uses one", ""),
            f"R@1, reranked to whole gallery, {line('reranked', 'whole gallery')}",
            rises("reranked", "whole gallery"),
        ),
    ]


STUDY = study_of_runs(__file__, measure, sample, claims, {"value": 0.01})

if __name__ == "__main__":
    STUDY.run()
