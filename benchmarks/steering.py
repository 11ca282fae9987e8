"""A steering sweep against the obvious loops: 33 strengths x 200 queries x 13,244 images, one thread.

Compared in turns, so that a busy machine slows all of them:

    sweep      `steering.steered_rankings`: two products for all strengths
    shortlist  the book's own search, once for every strength
    matmul     a plain matrix product and top k, once for every strength
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from _turns import in_turns

from geoclip_lite import steering
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.retrieval import Gallery, shortlist

QUERIES, K, ROUNDS = 200, 10, 5
STRENGTHS = np.linspace(0, 1.6, 33).tolist()


def setting() -> tuple[torch.Tensor, torch.Tensor, Gallery]:
    """Captions of Shapes, the direction from hexagon to pentagon, and all compositions."""
    encoder = load_encoder("mini-pairs", device="cpu")
    encode = partial(encode_with_templates, encoder)
    frames = [colour + " {}" for colour in shapes.COLOURS]
    direction = steering.concept_direction(encode, ["hexagon"], ["pentagon"], frames)
    captions = [scene.caption for scene in shapes.evaluation_scenes()[:QUERIES]]
    return encoder.encode_texts(captions), direction, Gallery.of_images(encoder, shapes.compositions())


def main() -> None:
    torch.set_num_threads(1)
    queries, direction, gallery = setting()

    def sweep() -> list[torch.Tensor]:
        found = steering.steered_rankings(queries, direction, gallery, STRENGTHS, K)
        return [ranking.indices for _, ranking in found]

    def by_shortlist() -> list[torch.Tensor]:
        moved = (steering.steer(queries, direction, s) for s in STRENGTHS)
        return [shortlist(some, gallery, K).indices for some in moved]

    def by_matmul() -> list[torch.Tensor]:
        moved = (steering.steer(queries, direction, s) for s in STRENGTHS)
        return [(some @ gallery.vectors.T).topk(K).indices for some in moved]

    ways = {"sweep": sweep, "shortlist": by_shortlist, "matmul": by_matmul}
    agree = [torch.equal(a, b) for a, b in zip(sweep(), by_shortlist(), strict=True)]
    print(f"same rankings as the shortlist at {sum(agree)} of {len(agree)} strengths")
    times = in_turns(ways, ROUNDS, warm=0)
    for name, each in times.items():
        print(f"{name:10} {np.median(each):6.2f} s   x {np.median(each) / np.median(times['sweep']):.1f}")


if __name__ == "__main__":
    main()
