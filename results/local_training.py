"""Does a penalty on cross-modal distortion within neighbourhoods help a mini CLIP in training from scratch?

The paper proposes it as future work (section 7) without a formula; `adapters.distortion` is the plainest one.
mini-pairs is trained as always, on the same images, batches and captions, with the penalty added. Its weight
is chosen on the validation scenes of one seed, then every seed is trained with it. A run takes about ten
minutes on an idle core; one that is finished is not started over.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch
from _runs import RUNS, SEEDS, WORLDS, drawn, run_name, run_names, shipped, trained
from _tables import Row, over_seeds, rows_of, spread
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from geoclip_lite import geometry, metrics, relevance, results
from geoclip_lite.adapters import distortion
from geoclip_lite.encoders import train
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.encoders.mini import (
    CONTEXT_LENGTH,
    MiniClip,
    architecture,
    embed_tokens,
    load_mini,
    save_mini,
    to_input,
)
from geoclip_lite.encoders.tokenizer import WordTokenizer
from geoclip_lite.results import Claim, Study
from geoclip_lite.retrieval import Gallery, shortlist

CHAPTER = "10_residual_adapters"
PAPER = "Prakash et al. (2026), section 7"
MINI = "mini-pairs"
WEIGHTS = (1.0, 10.0)
FIRST_SEED = SEEDS[0]  # on which the weight is chosen
NEIGHBOURS = 10


def trained_with(weight: float, seed: int) -> Path:
    """The final weights of a run with the penalty; trains it where that has not happened on this machine."""
    folder = RUNS / f"{MINI}-distortion{weight:g}-seed{seed}"
    path, recipe, diet = folder / "final.safetensors", train.Recipe(MINI, seed), DIETS[MINI]
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    tokenizer = WordTokenizer(diet.vocabulary(), CONTEXT_LENGTH)
    model = architecture(tokenizer.vocabulary_size).train().to(memory_format=torch.channels_last)
    optimizer = train.make_optimizer(model, recipe)
    pools = [train.draw_pool(world, recipe) for world in diet.worlds]
    for step in trange(recipe.steps, desc=f"{folder.name}", mininterval=10):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        images, captions = train.draw_batch(pools, recipe, step)
        train_step(model, optimizer, images, tokenizer(captions), weight)
    save_mini(path, model, tokenizer, asdict(recipe) | {"distortion penalty": weight})
    return path


def train_step(
    model: CLIP, optimizer: torch.optim.Optimizer, images: Tensor, tokens: Tensor, weight: float
) -> None:
    """`train.train_step` with the penalty. Neighbours are those of the pictures as they lie at this step."""
    pixels = to_input(images).contiguous(memory_format=torch.channels_last)
    pictures = F.normalize(model.visual(pixels), dim=-1)
    texts = F.normalize(embed_tokens(model, tokens), dim=-1)
    loss = ClipLoss()(pictures, texts, model.logit_scale.exp())
    loss = loss + weight * distortion(pictures, texts, pictures.detach(), NEIGHBOURS)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(max=train.MAX_LOGIT_SCALE)


def figures(encoder: MiniClip, world: ModuleType, scenes: list) -> dict[str, float]:
    """Recall of the right picture, and how alike the neighbourhoods of texts and pictures are."""
    texts, gallery = encoder.encode_texts([s.caption for s in scenes]), Gallery.of_images(encoder, scenes)
    found, right = shortlist(texts, gallery, 10), relevance.exact(scenes, scenes)
    return {
        "R@1": float(metrics.hit_at(found, right, 1).mean()),
        "R@10": float(metrics.hit_at(found, right, 10).mean()),
        "overlap": geometry.mutual_knn_overlap(texts, gallery.vectors, NEIGHBOURS),
        "distortion": float(distortion(gallery.vectors, texts, gallery.vectors, NEIGHBOURS)),
    }


def measure(encoder: MiniClip, about: Row) -> list[Row]:
    """One row per world and metric."""
    return [
        row
        for world in WORLDS
        for row in rows_of(
            figures(encoder, world, drawn(world, "evaluation_scenes")), about | {"world": world.NAME}
        )
    ]


def validation(weight: float) -> float:
    """R@10 on the validation scenes of both worlds, of the first seed."""
    encoder = load_mini(trained_with(weight, FIRST_SEED))
    return sum(figures(encoder, world, drawn(world, "validation_scenes"))["R@10"] for world in WORLDS) / len(
        WORLDS
    )


def claims(table: pd.DataFrame) -> list[Claim]:
    """Recall with and without, in both worlds; neighbourhoods beside it."""
    weight = float(table[table.metric == "R@1"].penalty.max())  # the one that was chosen

    def both(metric: str, world: ModuleType) -> tuple[pd.Series, pd.Series]:
        return tuple(over_seeds(table, metric, world=world.NAME, penalty=p) for p in (0.0, weight))

    said, holds = [], True
    for world in WORLDS:
        (r1, bent), (shared, closer) = both("R@1", world), both("overlap", world)
        percent = [spread(100 * values, "{:.1f}") for values in (r1, bent, shared, closer)]
        said.append("{}: R@1 {} to {}, neighbours shared {} to {}".format(world.NAME, *percent))
        holds &= bool((bent > r1).all())
    return [
        Claim(
            "A penalty on cross-modal distortion within neighbourhoods helps in training from scratch",
            PAPER,
            "proposed",
            f"weight {weight:g} by validation; " + "; ".join(said),
            "shows" if holds else "differs",
            CHAPTER,
        )
    ]


def every() -> list[Row]:
    """Validation of both weights, then every seed without the penalty and with the chosen one."""
    scores = {weight: validation(weight) for weight in WEIGHTS}
    chosen = max(scores, key=scores.get)
    about = {"seed": FIRST_SEED, "world": "both, validation", "metric": "R@10"}
    rows: list[Row] = [about | {"penalty": weight, "value": score} for weight, score in scores.items()]
    for seed in SEEDS:
        rows += measure(load_mini(trained(MINI, seed)), {"seed": seed, "penalty": 0.0})
        rows += measure(load_mini(trained_with(chosen, seed)), {"seed": seed, "penalty": chosen})
    return rows


def sample() -> list[Row]:
    """The run that is shipped, which was trained without the penalty."""
    encoder, about = shipped(MINI)
    return measure(encoder, {"seed": about["seed"], "penalty": 0.0})


def needs(row: Row) -> str:
    """A run; those with the penalty have names of their own."""
    run = run_name(MINI, row["seed"])
    return f"{run} with penalty {row['penalty']:g}" if row["penalty"] else run


STUDY = Study(
    __file__,
    every,
    sample,
    {"value": 0.005},
    claims,
    lambda: results.checksums(run_names((MINI,))),
    needs,
    SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
