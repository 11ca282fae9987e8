"""What every seed of both diets can do, with intervals, ceilings beside it, and the paper's claims.

Evaluation sets: single objects (all 42 primitives, all 96 types), Shapes (our 2,430 and all 13,244
compositions), the 1,000 CLEVR-like scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from _runs import MINIS, SEEDS, drawn, run_names, shipped, trained

from geoclip_lite import composition, metrics, relevance, results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.results import Claim, Study
from geoclip_lite.retrieval import Gallery, Ranking, bag_ranking, shortlist
from geoclip_lite.scenes import Scene

PAPER = "Prakash et al. (2026)"
CHAPTER = "01_pointwise_retrieval"
SMALL = ("42 primitives", "96 object types", "CLEVR-like, 1,000")  # sets that take seconds


def sets() -> dict[str, Sequence[Scene]]:
    """The evaluation sets by name."""
    return {
        "42 primitives": drawn(shapes, "references"),
        "96 object types": drawn(clevr_like, "references"),
        "Shapes, 2,430": drawn(shapes, "evaluation_scenes"),
        "Shapes, 13,244": shapes.compositions(),
        "CLEVR-like, 1,000": drawn(clevr_like, "evaluation_scenes"),
    }


def text_to_image(encoder: DualEncoder, scenes: Sequence[Scene], gallery: Gallery) -> Ranking:
    """The captions' hundred best images."""
    return shortlist(encoder.encode_texts([s.caption for s in scenes]), gallery, min(100, len(scenes)))


def image_to_text(encoder: DualEncoder, scenes: Sequence[Scene], gallery: Gallery) -> Ranking:
    """The images' hundred best captions."""
    return shortlist(gallery.vectors, Gallery.of_texts(encoder, scenes), min(100, len(scenes)))


def summary(columns: dict, about: dict) -> list[dict]:
    """A row for each metric: mean over queries and bootstrap interval."""
    frame = pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})
    return [about | row for row in metrics.summarise(frame, resamples=1000).to_dict("records")]


def score(ranking: Ranking, scenes: Sequence[Scene], about: dict) -> list[dict]:
    """R@1, 5, 10 and 100 and MRR against the right image, nDCG@10 against overlap: tidy rows."""
    right = relevance.exact(scenes, scenes)
    ks = sorted({k for k in (1, 5, 10, 100) if k <= ranking.k})
    columns = {f"R@{k}": metrics.hit_at(ranking, right, k) for k in ks}
    columns["MRR"] = metrics.reciprocal_rank(ranking, right)
    if len(scenes) < 5000:
        columns["nDCG@10"] = metrics.ndcg_at(ranking, relevance.overlap(scenes, scenes), 10)
    return summary(columns, about)


def by_number_of_objects(ranking: Ranking, scenes: Sequence[Scene], about: dict) -> list[dict]:
    """R@1 and R@10 of the queries with two, three, ... objects, over the whole gallery."""
    right, sizes = relevance.exact(scenes, scenes), np.array([len(s.objects) for s in scenes])
    columns = {f"R@{k}": metrics.hit_at(ranking, right, k) for k in (1, 10)}
    return [
        row
        for size in np.unique(sizes)
        for row in summary(
            {name: values[sizes == size] for name, values in columns.items()}, about | {"objects": int(size)}
        )
    ]


def kinds_of_answers(ranking: Ranking, scenes: Sequence[Scene], about: dict) -> list[dict]:
    """Shares of the kinds of first answers, and how many of the query's objects they show."""
    kinds = np.array(composition.kinds_of_answers(ranking, scenes, scenes))
    columns = {kind: (kinds == kind).astype(float) for kind in composition.KINDS}
    shown = relevance.object_coverage(scenes, scenes)
    return summary(columns | {"objects found": metrics.attribution_at(ranking, shown, 1)}, about)


def measure(encoder: DualEncoder, about: dict, names: Sequence[str] | None = None) -> list[dict]:
    """All rows of one encoder; `names` picks evaluation sets."""
    rows = []
    for name, scenes in sets().items():
        if names and name not in names:
            continue
        here, gallery = about | {"set": name}, Gallery.of_images(encoder, scenes)
        forth = text_to_image(encoder, scenes, gallery)
        rows += score(forth, scenes, here | {"direction": "text to image"})
        if len(scenes) < 5000:
            back = image_to_text(encoder, scenes, gallery)
            rows += score(back, scenes, here | {"direction": "image to text"})
            rows += kinds_of_answers(forth, scenes, here | {"direction": "text to image"})
        if name.startswith("CLEVR"):
            rows += by_number_of_objects(forth, scenes, here | {"direction": "text to image"})
    return rows


def ceilings(names: Sequence[str] | None = None) -> list[dict]:
    """Retrievers that know every word of an image, or every colour, but not what belongs together."""
    rows = []
    for name, scenes in sets().items():
        if names and name not in names:
            continue
        slots = list(scenes[0].objects[0].slots)
        for known in (slots, ["colour"]):
            # The right image is in the first group of ties, of at most 216 images: a thousand are enough.
            ranking = bag_ranking(scenes, scenes, known, k=min(1000, len(scenes)))
            about = {"encoder": f"ideal {ranking.method}", "set": name, "direction": "text to image"}
            rows += score(ranking, scenes, about)
    return rows


# --- claims ---------------------------------------------------------------------------------------


def value(table: pd.DataFrame, encoder: str, name: str, metric: str) -> pd.Series:
    """A figure of every seed, text to image, all numbers of objects."""
    whole = table.objects.isna() & (table.direction == "text to image")
    return table[whole & (table.encoder == encoder) & (table["set"] == name) & (table.metric == metric)].value


def percent(values: pd.Series) -> str:
    """Mean over seeds in percent, with the range where they differ."""
    mean, low, high = (f"{100 * v:.1f}" for v in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def claims(table: pd.DataFrame) -> list[Claim]:
    """Verdicts on the statements that pointwise retrieval can decide here."""
    return [*_counts(), *_compositions(table), *_local(table)]


def _counts() -> list[Claim]:
    found = len(shapes.compositions())
    return [
        Claim(
            "Three of 42 primitives, unordered and with replacement, give 13,244 compositions",
            f"{PAPER}, section 3",
            "13,244",
            f"{found:,}",
            "shows" if found == 13_244 else "differs",
            CHAPTER,
        )
    ]


def _compositions(table: pd.DataFrame) -> list[Claim]:
    """Shows, if every seed finds nearly all single objects and fewer than half of the compositions."""
    found = []
    worlds = [
        ("Shapes", "42 primitives", "Shapes, 2,430", "table 1", "R@1 3.5"),
        ("CLEVR-HOPE", "96 object types", "CLEVR-like, 1,000", "table 3", "R@1 5.0"),
    ]
    for diet in MINIS:
        for world, single, composed, source, figure in worlds:
            alone, together = (value(table, diet, name, "R@1") for name in (single, composed))
            found.append(
                Claim(
                    f"Single items are matched, but most compositions are missed ({world}; {diet})",
                    f"{PAPER}, section 4.2 and {source}",
                    f"{figure}; none given for single objects",
                    f"R@1 single {percent(alone)}, composed {percent(together)}",
                    "shows" if alone.min() > 0.9 and together.max() < 0.5 else "differs",
                    CHAPTER,
                )
            )
    return found


def _local(table: pd.DataFrame) -> list[Claim]:
    """Shows, if for every seed more than half of the images missed at rank 1 are in the top 100."""
    found = []
    for diet in MINIS:
        top1, top100 = (value(table, diet, "CLEVR-like, 1,000", k).to_numpy() for k in ("R@1", "R@100"))
        saved = pd.Series((top100 - top1) / (1 - top1))
        found.append(
            Claim(
                f"An image that is not first is usually near: in the top 100 of 1,000 ({diet})",
                f"{PAPER}, conclusion 1 and appendix J",
                "R@1 5.0, recall@100 66.9",
                f"R@100 {percent(pd.Series(top100))}; of the misses at rank 1, {percent(saved)} are there",
                "shows" if saved.min() > 0.5 else "differs",
                CHAPTER,
            )
        )
    return found


def every() -> list[dict]:
    """Ceilings, and every run."""
    rows = ceilings()
    for diet, seed in product(MINIS, SEEDS):
        rows += measure(load_mini(trained(diet, seed)), {"encoder": diet, "seed": seed})
    return rows


def sample() -> list[dict]:
    """Single objects and the CLEVR-like scenes by a run that is shipped, and what words alone find."""
    return ceilings(SMALL[:1]) + measure(*shipped(MINIS[-1]), SMALL)


STUDY = Study(
    __file__,
    every,
    sample,
    {"value": 0.005, "low": 0.01, "high": 0.01},
    claims,
    lambda: results.checksums(run_names()),
    seeds=SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
