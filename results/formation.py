"""When does alignment form? Every checkpoint of every run: neighbourhoods, distances, recall.

The paper leaves this to future work (section 7). Measured on single objects (all 42 primitives, all 96
types), where text and image can be compared item by item, and on the validation compositions.
"""

from __future__ import annotations

from training import RUNS, SEEDS, trained

from geoclip_lite import geometry, metrics, relevance, results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders import DualEncoder, diets, load_mini
from geoclip_lite.encoders.train import Recipe, checkpoint_path, run_folder
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene

NEIGHBOURS = 5


def measure_items(encoder: DualEncoder, scenes: list[Scene]) -> dict[str, float]:
    """How alike text space and image space are over single objects."""
    images = Gallery.of_images(encoder, scenes).vectors
    texts = encoder.encode_texts([scene.caption for scene in scenes])
    overlap = geometry.mutual_knn_overlap(texts, images, NEIGHBOURS)
    return {
        f"mutual {NEIGHBOURS}-NN overlap": overlap,
        "distance correlation": geometry.distance_correlation(texts, images),
        "single-object R@1": hits(encoder, scenes, 1),
    }


def hits(encoder: DualEncoder, scenes: list[Scene], k: int) -> float:
    """Text-to-image R@k."""
    queries = encoder.encode_texts([scene.caption for scene in scenes])
    found = shortlist(queries, Gallery.of_images(encoder, scenes), k)
    return float(metrics.hit_at(found, relevance.exact(scenes, scenes), k).mean())


def measure(encoder: DualEncoder, about: dict) -> list[dict]:
    """The rows of one checkpoint."""
    rows = []
    for world in (shapes, clevr_like):
        values = measure_items(encoder, world.references())
        values |= {f"validation R@{k}": hits(encoder, world.validation_scenes(), k) for k in (1, 10)}
        rows += [about | {"world": world.NAME, "metric": m, "value": v} for m, v in values.items()]
    return rows


def main() -> None:
    if results.up_to_date(__file__):
        return
    rows = []
    for diet in diets.DIETS:
        for seed in SEEDS:
            trained(diet, seed)
            recipe = Recipe(diet, seed)
            for step in recipe.checkpoints():
                encoder = load_mini(checkpoint_path(run_folder(RUNS, recipe), step))
                rows += measure(encoder, {"encoder": diet, "seed": seed, "step": step})
    results.write(__file__, rows)


if __name__ == "__main__":
    main()
