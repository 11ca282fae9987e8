"""What the mini encoders cost, on one thread: drawing, encoding, and one training step.

Ratios are medians of pairs that were timed in turn in this run; above 1 means that ours is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from _turns import seconds
from torch.nn import functional as F

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import diets, load_encoder, mini, train
from geoclip_lite.encoders.tokenizer import PAD

computing = partial(seconds, clock=time.process_time)


def compare(name: str, peer: Callable[[], object], ours: Callable[[], object], rounds: int = 5) -> None:
    """Times two ways of doing one thing in turn, and prints both and their ratio."""
    peer(), ours()
    pairs = [(computing(peer), computing(ours)) for _ in range(rounds)]
    theirs, mine, ratio = (
        median(p for p, _ in pairs),
        median(o for _, o in pairs),
        median(p / o for p, o in pairs),
    )
    print(f"{name:<44} {theirs:8.3f} s {mine:8.3f} s   x {ratio:.2f}")


def draw_everything() -> None:
    scenes = shapes.compositions()
    taken = computing(lambda: [scene.image(64) for scene in scenes])
    print(
        f"drawing all {len(scenes):,} compositions: {taken:.2f} s ({1e3 * taken / len(scenes):.2f} ms each)"
    )


def encode_texts() -> None:
    encoder = load_encoder("mini-pairs")
    texts = [scene.caption for scene in shapes.evaluation_scenes()[:500]]
    tokens = encoder.tokenizer(texts)
    padded = F.pad(tokens, (0, mini.CONTEXT_LENGTH - tokens.shape[1]), value=PAD)
    with torch.inference_mode():
        compare(
            "500 texts: open_clip, padded | cut to length",
            lambda: encoder.model.encode_text(padded),
            lambda: mini.embed_tokens(encoder.model, tokens),
        )


def step_once() -> None:
    """A training step on contiguous images, as open_clip takes them, and on channels-last ones."""
    recipe = train.Recipe("mini-pairs", pool=100)
    diet = diets.DIETS[recipe.diet]
    pools = [train.draw_pool(world, recipe) for world in diet.worlds]
    images, captions = train.draw_batch(pools, recipe, step=0)
    tokenizer = mini.WordTokenizer(diet.vocabulary())
    tokens = tokenizer(captions)

    def stepper(layout: torch.memory_format) -> Callable[[], object]:
        model = mini.architecture(tokenizer.vocabulary_size).train().to(memory_format=layout)
        optimizer = train.make_optimizer(model, recipe)
        return lambda: train.train_step(model, optimizer, images, tokens, layout)

    compare(
        f"training step, {len(images)} pairs: contiguous | channels last",
        stepper(torch.contiguous_format),
        stepper(torch.channels_last),
        rounds=3,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw_everything()
    print(f"{'':<52} {'peer':>10} {'ours':>10}")
    encode_texts()
    step_once()
