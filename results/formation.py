"""When does alignment form? Every checkpoint of every run: neighbourhoods, distances, recall.

The paper leaves this to future work (section 7). Measured on single objects (all 42 primitives, all 96
types), where text and image can be compared item by item, and on the validation compositions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from _runs import MINIS, SEEDS, WORLDS, drawn, run_name, run_names, shipped, snapshots
from torch import Tensor

from geoclip_lite import geometry, metrics, relevance, results
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.encoders.train import Recipe
from geoclip_lite.results import Row, Study
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene

NEIGHBOURS = 5


def measure_world(
    encoder: DualEncoder, single: Sequence[Scene], composed: Sequence[Scene]
) -> dict[str, float]:
    """How alike text space and image space are over single objects, and what retrieval makes of them."""
    texts, images = embed(encoder, single)
    values = {
        f"mutual {NEIGHBOURS}-NN overlap": geometry.mutual_knn_overlap(texts, images.vectors, NEIGHBOURS),
        "distance correlation": geometry.distance_correlation(texts, images.vectors),
        "single-object R@1": hits(texts, images, 1),
    }
    for slot in ("colour", "noun"):
        labels = [scene.objects[0].slots[slot] for scene in single]
        for space, vectors in (("text", texts), ("image", images.vectors)):
            purity = geometry.neighbour_purity(vectors, labels, NEIGHBOURS)
            values[f"{space} neighbours of one {slot}"] = purity
    texts, images = embed(encoder, composed)
    return values | {f"validation R@{k}": hits(texts, images, k) for k in (1, 10)}


def embed(encoder: DualEncoder, scenes: Sequence[Scene]) -> tuple[Tensor, Gallery]:
    """Captions as queries, pictures as gallery."""
    return encoder.encode_texts([scene.caption for scene in scenes]), Gallery.of_images(encoder, scenes)


def hits(texts: Tensor, images: Gallery, k: int) -> float:
    """Text-to-image R@k."""
    right = relevance.exact(images.scenes, images.scenes)
    return float(metrics.hit_at(shortlist(texts, images, k), right, k).mean())


def measure(encoder: DualEncoder, about: Row) -> list[Row]:
    """The rows of one checkpoint."""
    return [
        about | {"world": world.NAME, "metric": metric, "value": value}
        for world in WORLDS
        for metric, value in measure_world(
            encoder, drawn(world, "references"), drawn(world, "validation_scenes")
        ).items()
    ]


def every() -> list[Row]:
    """The rows of all checkpoints."""
    rows = []
    for mini, seed in product(MINIS, SEEDS):
        for path in snapshots(mini, seed):
            about = {"encoder": mini, "seed": seed, "step": int(path.stem.removeprefix("step-"))}
            rows += measure(load_mini(path), about)
    return rows


def sample() -> list[Row]:
    """The last checkpoint of the runs that are shipped."""
    runs = map(shipped, MINIS)
    return [row for encoder, about in runs for row in measure(encoder, about | {"step": last_step(about)})]


def last_step(about: Row) -> int:
    """Of a mini's training."""
    return Recipe(about["encoder"], about["seed"]).steps


def needs(row: Row) -> str:
    """A snapshot; the last one is the run."""
    run = run_name(row["encoder"], row["seed"])
    return run if row["step"] == last_step(row) else f"{run}, step {row['step']}"


def checkpoints() -> dict[str, str]:
    """Of the finished runs."""
    return results.checksums(run_names())


STUDY = Study(__file__, every, sample, {"value": 0.02}, checkpoints=checkpoints, needs=needs, seeds=SEEDS)

if __name__ == "__main__":
    STUDY.run()
