"""Trains every seed of every diet (or finds it trained), and chooses the ones that the package ships.

The rule, fixed before the first run: of the three seeds of a diet, ship the one whose validation recall,
averaged over its worlds, is the median. So what a reader sees is what usually happens, not the best that
did. The evaluation sets play no part in the choice. Where scenes hold several objects it is R@10 of the right
picture; things and products, of which many pictures fit one text, are asked for at R@1.

Twelve runs take under two hours on two idle cores; one that is finished, or was interrupted, is not started
over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _runs import RUNS, SEEDS, drawn, shipped

from geoclip_lite import metrics, relevance
from geoclip_lite.datasets import things
from geoclip_lite.datasets.products import web
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.encoders.mini import WEIGHTS, load_mini
from geoclip_lite.encoders.mini import shipped as shipped_weights
from geoclip_lite.encoders.train import Recipe, run_folder, train
from geoclip_lite.files import sha256, write_atomically
from geoclip_lite.results import Row, Study
from geoclip_lite.retrieval import Gallery, shortlist
from geoclip_lite.scenes import Scene

ALIKE = (things, web)  # worlds where many pictures fit one text


def trained(diet: str, seed: int) -> Path:
    """The final weights of a run; trains it where that has not happened on this machine."""
    torch.set_num_threads(1)
    recipe = Recipe(diet, seed)
    return train(recipe, run_folder(RUNS, recipe))


def final_loss(diet: str, seed: int) -> float:
    """Mean training loss of the last 50 steps."""
    lines = (run_folder(RUNS, Recipe(diet, seed)) / "log.jsonl").read_text().splitlines()
    return float(np.mean([json.loads(line)["loss"] for line in lines[-50:]]))


def validation_recall(encoder: DualEncoder, diet: str) -> dict[str, float]:
    """R@10 on the validation scenes of each world; where many pictures fit one text, R@1 of any of them."""
    recall = {}
    for world in DIETS[diet].worlds:
        scenes = drawn(world, "validation_scenes")
        queries = encoder.encode_texts([s.caption for s in scenes])
        right, k = (same_words(scenes), 1) if world in ALIKE else (relevance.exact(scenes, scenes), 10)
        found = shortlist(queries, Gallery.of_images(encoder, scenes), k)
        recall[world.NAME] = float(metrics.hit_at(found, right, k).mean())
    return recall


def same_words(scenes: Sequence[Scene]) -> torch.Tensor:
    """1 where two pictures show what one text describes, by whatever synonyms it is called."""
    return relevance.synonym(scenes, scenes, things.POLES)


def measure(diet: str, seed: int) -> dict:
    """The row of one run."""
    path = trained(diet, seed)
    recall = validation_recall(load_mini(path), diet)
    row = {"encoder": diet, "seed": seed, "steps": Recipe(diet, seed).steps, "sha256": sha256(path)}
    row |= {"loss": final_loss(diet, seed)} | {f"validation recall, {w}": r for w, r in recall.items()}
    return row | {"validation recall": float(np.mean(list(recall.values())))}


def choose(table: pd.DataFrame) -> list[bool]:
    """Marks the run of median validation recall in each diet; of equal ones, the lower seed."""
    ranks = table.groupby("encoder")["validation recall"].rank(method="first")
    return (ranks == (len(SEEDS) + 1) // 2).tolist()


def ship(chosen: pd.DataFrame) -> None:
    """Copies the chosen weights into the package, with their checksums."""
    WEIGHTS.mkdir(exist_ok=True)
    for row in chosen.itertuples():
        shutil.copyfile(trained(row.encoder, row.seed), WEIGHTS / f"{row.encoder}.safetensors")
    lines = [f"{row.sha256}  {row.encoder}.safetensors\n" for row in chosen.itertuples()]
    write_atomically(WEIGHTS / "SHA256SUMS", "".join(lines).encode())


def every() -> list[Row]:
    """All runs; the chosen ones are shipped."""
    rows = [measure(diet, seed) for diet in DIETS for seed in SEEDS]
    table = pd.DataFrame(rows)
    table["shipped"] = choose(table)
    ship(table[table.shipped])
    return [row | {"shipped": shipped} for row, shipped in zip(rows, table.shipped.tolist(), strict=True)]


def sample() -> Iterator[Row]:
    """Validation recall of shipped runs; `formation.py` has that of the others of several objects."""
    for encoder, about in map(shipped, ("mini-alt", "mini-things")):
        recall = validation_recall(encoder, encoder.name)
        yield about | {f"validation recall, {world}": value for world, value in recall.items()}


TOLERANCE = {f"validation recall, {w.NAME}": 0.005 for diet in DIETS.values() for w in diet.worlds}
STUDY = Study(
    __file__,
    every,
    sample,
    TOLERANCE,
    checkpoints=shipped_weights,
    needs=lambda row: None,  # its rows say themselves whether their run is shipped
    seeds=SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
