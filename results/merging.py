"""One vector per object, merged into one score: every seed of both diets, both worlds.

The paper's section 4.3 and appendix A: object phrases alone, average, min, softmin and max merging against
the full caption, and what merging does to the attributes of each object, beside controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType

import numpy as np
import pandas as pd
from _runs import WORLDS, drawn
from _tables import Decided, Row, claims_of, over_seeds, rows_of, spread, study_of_runs
from torch import Tensor

from geoclip_lite import composition, metrics, relevance
from geoclip_lite.composition import ObjectVectors
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.scenes import Scene

CHAPTER = "03_per_object_composition"
POOL = 100  # the candidates that appendix J reranks


# --- objects alone --------------------------------------------------------------------------------


def objects_alone(objects: ObjectVectors, references: Gallery, images: Gallery, about: Row) -> list[Row]:
    """Do object phrases find their object: alone in a picture, and among others?"""
    types = list(references.scenes)
    queries = objects.averages(types)  # of one object each
    found = shortlist(queries, references, 1)
    values = {"R@1 alone": metrics.hit_at(found, relevance.exact(types, types), 1).mean()}
    answers = [types[i].objects[0].slots for i in found.indices[:, 0].tolist()]
    for slot in answers[0]:
        right = [scene.objects[0].slots[slot] == a[slot] for scene, a in zip(types, answers, strict=True)]
        values[f"{slot} right alone"] = np.mean(right)
    holds = relevance.contains(types, images.scenes)
    present = holds.bool().any(dim=1)
    among = shortlist(queries[present], images, 10)
    values |= {f"P@{k} among others": metrics.precision_at(among, holds[present], k).mean() for k in (1, 10)}
    values |= {"share of scenes that hold it": holds[present].double().mean()}
    return rows_of(values, about)


# --- merging --------------------------------------------------------------------------------------


def merging(captions: Tensor, objects: ObjectVectors, images: Gallery, about: Row) -> list[Row]:
    """R@k of the caption and of every merge, over the gallery and on the caption's first hundred."""
    scenes = list(images.scenes)
    right, first = relevance.exact(scenes, scenes), shortlist(captions, images, POOL)
    rankings = {("caption", "gallery"): first}
    for how in composition.MERGES:
        scores = objects.merged_scores(scenes, images.vectors, how)
        rankings[how, "gallery"] = Ranking.of_scores(scores, POOL, method=how)
        rankings[how, "caption's top 100"] = first.rescored(scores.gather(1, first.indices), how)
    rows = []
    for (how, candidates), ranking in rankings.items():
        columns = {f"R@{k}": metrics.hit_at(ranking, right, k).numpy() for k in (1, 10, POOL)}
        summary = metrics.summarise(pd.DataFrame(columns), resamples=1000).to_dict("records")
        rows += [about | {"method": how, "candidates": candidates} | row for row in summary]
    return rows


# --- interference ---------------------------------------------------------------------------------


def interference(
    captions: Tensor, objects: ObjectVectors, scenes: Sequence[Scene], references: Gallery, about: Row
) -> list[Row]:
    """From the caption's vector to the merged one: which slots degrade, and what would chance do?"""
    merged = objects.averages(scenes)
    margins = partial(composition.slot_margins, scenes=scenes, references=references)
    before = margins(captions)
    changed = {"average": merged, "random direction": composition.random_shift(captions, merged)}
    rows = []
    for change, vectors in changed.items():
        changes = composition.slot_changes(before, margins(vectors))
        rows += rows_of(summary(changes), about | {"change": change})
        for slot, share in changes.groupby("slot")["degrades"].mean().items():
            rows += rows_of({"slots degraded": share}, about | {"change": change, "slot": slot})
        for size, group in composition.degradation(changes).groupby("objects"):
            values = {"any slot degrades": group.any_degrades.mean(), "by coins": group.by_coins.mean()}
            rows += rows_of(values, about | {"change": change, "objects": int(size)})
    return rows


def summary(changes: pd.DataFrame) -> dict[str, float]:
    """The paper's figures, under our reading of them: our copy does not define "degrades"."""
    table = composition.degradation(changes)
    values = {
        "queries": len(table),
        "slots per query": table.slots.mean(),
        "slots degraded": changes.degrades.mean(),
        "slots clear before": (changes.before > 0).mean(),
        "slots clear after": (changes.after > 0).mean(),
        "any slot degrades": table.any_degrades.mean(),
        "by coins": table.by_coins.mean(),
        "slots degraded where any improves": table.degrades[table.improves > 0].mean(),
    }
    for slot in sorted(set(changes.slot) - {"colour"}):
        for name, per in (("query", ["query"]), ("object", ["query", "object"])):
            share = composition.degrades_when_improves(changes, "colour", slot, per)
            values[f"{slot} degrades when colour improves, per {name}"] = share
    return values


# --- all of it ------------------------------------------------------------------------------------


def seen_by(encoder: DualEncoder, world: ModuleType) -> tuple[Tensor, ObjectVectors, Gallery, Gallery]:
    """Captions, phrases, pictures of single objects and of scenes."""
    single, scenes = drawn(world, "references"), drawn(world, "evaluation_scenes")
    captions = encoder.encode_texts([scene.caption for scene in scenes])
    objects = ObjectVectors([*single, *scenes], partial(encode_with_templates, encoder))
    return captions, objects, *(Gallery.of_images(encoder, some) for some in (single, scenes))


def measure(encoder: DualEncoder, about: Row) -> list[Row]:
    """All rows of one encoder."""
    rows = []
    for world in WORLDS:
        here = about | {"world": world.NAME}
        captions, objects, references, images = seen_by(encoder, world)
        rows += objects_alone(objects, references, images, here | {"experiment": "objects alone"})
        rows += merging(captions, objects, images, here | {"experiment": "merging"})
        experiment = here | {"experiment": "interference"}
        rows += interference(captions, objects, images.scenes, references, experiment)
    return rows


def sample(encoder: DualEncoder, about: Row) -> list[Row]:
    """Objects alone and every merge, in the CLEVR-like world."""
    captions, objects, references, images = seen_by(encoder, clevr_like)
    here = about | {"world": clevr_like.NAME}
    alone = objects_alone(objects, references, images, here | {"experiment": "objects alone"})
    return alone + merging(captions, objects, images, here | {"experiment": "merging"})


# --- claims ---------------------------------------------------------------------------------------


def claims(table: pd.DataFrame) -> list[Claim]:
    """What section 4.3 and appendix A say, for each diet, on the CLEVR-like world."""
    parts = (_alone, _merged, _interference)
    by_diet = dict(list(table[table.world == "clevr-like"].groupby("encoder", sort=False)))
    return claims_of(
        {diet: [d for part in parts for d in part(rows)] for diet, rows in by_diet.items()}, CHAPTER
    )


def _alone(table: pd.DataFrame) -> Decided:
    """Near-perfect: 95 % in every seed, where the object stands alone, and where it stands among others."""
    alone, among = over_seeds(table, "R@1 alone"), over_seeds(table, "P@1 among others")
    base = over_seeds(table, "share of scenes that hold it")
    where, paper = "section 4.3 and appendix A", "near-perfect"
    return [
        (
            ("An object's phrase retrieves its picture among single objects", where, paper),
            f"R@1 {spread(100 * alone, '{:.1f}')}",
            bool((alone > 0.95).all()),
        ),
        (
            ("An object's phrase retrieves scenes that hold the object (our test)", where, paper),
            f"P@1 {spread(100 * among, '{:.1f}')}; at random {100 * base.mean():.1f}",
            bool((among > 0.95).all()),
        ),
    ]


def _merged(table: pd.DataFrame) -> Decided:
    """Degrades: R@10 below the caption's in every seed."""
    caption = over_seeds(table, "R@10", method="caption")
    decided = []
    for how, candidates, paper in (
        ("average", "gallery", "R@10 23.0 to 9.4, steered"),
        ("min", "caption's top 100", "R@10 23.0 to 8.9, steered"),
        ("softmin", "caption's top 100", "R@10 23.0 to 9.2, steered"),
    ):
        merged = over_seeds(table, "R@10", method=how, candidates=candidates)
        source = "section 4.3 and appendices A, J"
        decided.append(
            (
                (f"Merging object vectors by {how} retrieves worse than the caption", source, paper),
                f"R@10 {spread(100 * caption, '{:.1f}')} to {spread(100 * merged, '{:.1f}')}",
                bool((merged < caption).all()),
            )
        )
    return decided


def _interference(table: pd.DataFrame) -> Decided:
    """The paper's figures, by our definition of "degrades"; and whether a random step does as much."""
    table = table[table.slot.isna() & table.objects.isna()]

    def both(metric: str) -> tuple[pd.Series, pd.Series]:
        return tuple(over_seeds(table, metric, change=c) for c in ("average", "random direction"))

    def said(merged: pd.Series, chance: pd.Series, pattern: str) -> str:
        return f"{spread(merged, pattern)}; in a random direction {spread(chance, pattern)}"

    where = "appendices A, J"
    merged, chance = both("any slot degrades")
    beside, beside_chance = both("slots degraded where any improves")
    share, share_chance = both("slots degraded")
    decided = [
        (
            ("Merging degrades at least one slot of nearly every query", where, "998 of 1,000, steered"),
            f"{said(1000 * merged, 1000 * chance, '{:.0f}')}; by coins "
            f"{1000 * over_seeds(table, 'by coins', change='average').mean():.0f} of 1,000",
            bool((merged > 0.99).all()),
        ),
        (
            ("Where a slot improves, many others (five or more) degrade", "appendix J", "10.93, steered"),
            said(beside, beside_chance, "{:.1f}"),
            bool((beside >= 5).all()),
        ),
    ]
    for slot, word, paper in (("noun", "shape", "81 %, steered"), ("material", "material", "80 %, steered")):
        found, by_chance = both(f"{slot} degrades when colour improves, per query")
        text = f"In most queries where colour improves, {word} degrades"
        measured = f"{said(100 * found, 100 * by_chance, '{:.0f}')} (percent)"
        decided.append(((text, where, paper), measured, bool((found > 0.5).all())))
    text = "Merging interferes: it degrades more slots than a random step as large (our test)"
    measured = f"{said(100 * share, 100 * share_chance, '{:.0f}')} (percent of slots)"
    return [
        *decided,
        ((text, "conclusion 3", "severe"), measured, bool((share > share_chance).all())),
    ]


STUDY = study_of_runs(__file__, measure, sample, claims, {"value": 0.01})

if __name__ == "__main__":
    STUDY.run()
