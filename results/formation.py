"""When does alignment form? Every checkpoint of every run: neighbourhoods, distances, recall.

The paper leaves this to future work (section 7). Measured on single objects (all 42 primitives, all 96
types), where text and image can be compared item by item, and on the validation compositions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from _runs import MINIS, SEEDS, run_names, snapshots
from torch import Tensor

from geoclip_lite import geometry, metrics, relevance, results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import IMAGE_SIZE, load_mini
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene

NEIGHBOURS = 5


@cache
def drawn_scenes() -> dict[str, tuple[list[Scene], list[Scene]]]:
    """Single objects and validation scenes of each world, drawn once for all checkpoints."""
    worlds = (shapes, clevr_like)
    return {w.NAME: tuple(map(drawn, (w.references(), w.validation_scenes()))) for w in worlds}


def drawn(scenes: list[Scene]) -> list[Scene]:
    """The same scenes, their pictures at hand."""
    pictures = [scene.image(IMAGE_SIZE) for scene in scenes]
    return [replace(s, draw=lambda size, kept=p: kept) for s, p in zip(scenes, pictures, strict=True)]


def measure_world(encoder: DualEncoder, single: list[Scene], composed: list[Scene]) -> dict[str, float]:
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


def embed(encoder: DualEncoder, scenes: list[Scene]) -> tuple[Tensor, Gallery]:
    """Captions as queries, pictures as gallery."""
    return encoder.encode_texts([scene.caption for scene in scenes]), Gallery.of_images(encoder, scenes)


def hits(texts: Tensor, images: Gallery, k: int) -> float:
    """Text-to-image R@k."""
    right = relevance.exact(images.scenes, images.scenes)
    return float(metrics.hit_at(shortlist(texts, images, k), right, k).mean())


def measure(encoder: DualEncoder, about: dict) -> list[dict]:
    """The rows of one checkpoint."""
    return [
        about | {"world": world, "metric": metric, "value": value}
        for world, (single, composed) in drawn_scenes().items()
        for metric, value in measure_world(encoder, single, composed).items()
    ]


def main() -> None:
    if results.up_to_date(__file__):
        return
    rows = []
    for mini in MINIS:
        for seed in SEEDS:
            for path in snapshots(mini, seed):
                step = int(path.stem.removeprefix("step-"))
                rows += measure(load_mini(path), {"encoder": mini, "seed": seed, "step": step})
    results.write(__file__, rows, runs=run_names())


if __name__ == "__main__":
    main()
