"""Trains every seed of every diet (or finds it trained), and chooses the ones that the package ships.

The rule, fixed before the first run: of the three seeds of a diet, ship the one whose validation R@10,
averaged over the two worlds, is the median. So what a reader sees is what usually happens, not the best
that did. The evaluation sets play no part in the choice.

Six runs take about an hour on two idle cores; one that is finished, or was interrupted, is not started over.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from geoclip_lite import metrics, relevance, results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.diets import DIETS
from geoclip_lite.encoders.mini import WEIGHTS, load_mini
from geoclip_lite.encoders.train import Recipe, run_folder, train
from geoclip_lite.files import sha256, write_atomically
from geoclip_lite.retrieval import Gallery, shortlist

RUNS = results.FOLDER.parent / ".cache" / "minis"
SEEDS = (0, 1, 2)


def trained(diet: str, seed: int) -> Path:
    """The final weights of a run; trains it where that has not happened on this machine."""
    torch.set_num_threads(1)
    recipe = Recipe(diet, seed)
    return train(recipe, run_folder(RUNS, recipe))


def final_loss(diet: str, seed: int) -> float:
    """Mean training loss of the last 50 steps."""
    lines = (run_folder(RUNS, Recipe(diet, seed)) / "log.jsonl").read_text().splitlines()
    return float(np.mean([json.loads(line)["loss"] for line in lines[-50:]]))


def validation_recall(encoder: DualEncoder) -> dict[str, float]:
    """R@10 on the validation scenes of each world."""
    recall = {}
    for world in (shapes, clevr_like):
        scenes = world.validation_scenes()
        found = shortlist(
            encoder.encode_texts([s.caption for s in scenes]), Gallery.of_images(encoder, scenes), k=10
        )
        recall[world.NAME] = float(metrics.hit_at(found, relevance.exact(scenes, scenes), 10).mean())
    return recall


def measure(diet: str, seed: int) -> dict:
    """The row of one run."""
    path = trained(diet, seed)
    recall = validation_recall(load_mini(path))
    row = {"encoder": diet, "seed": seed, "steps": Recipe(diet, seed).steps, "sha256": sha256(path)}
    row |= {"loss": final_loss(diet, seed)} | {f"validation R@10, {w}": r for w, r in recall.items()}
    return row | {"validation R@10": float(np.mean(list(recall.values())))}


def choose(table: pd.DataFrame) -> list[bool]:
    """Marks the run of median validation R@10 in each diet; of equal ones, the lower seed."""
    ranks = table.groupby("encoder")["validation R@10"].rank(method="first")
    return (ranks == (len(SEEDS) + 1) // 2).tolist()


def ship(chosen: pd.DataFrame) -> None:
    """Copies the chosen weights into the package, with their checksums."""
    WEIGHTS.mkdir(exist_ok=True)
    for row in chosen.itertuples():
        shutil.copyfile(trained(row.encoder, row.seed), WEIGHTS / f"{row.encoder}.safetensors")
    lines = [f"{row.sha256}  {row.encoder}.safetensors\n" for row in chosen.itertuples()]
    write_atomically(WEIGHTS / "SHA256SUMS", "".join(lines).encode())


def main() -> None:
    if results.up_to_date(__file__):
        return
    table = pd.DataFrame([measure(diet, seed) for diet in DIETS for seed in SEEDS])
    table["shipped"] = choose(table)
    ship(table[table.shipped])
    results.write(__file__, table.to_dict("records"))


if __name__ == "__main__":
    main()
