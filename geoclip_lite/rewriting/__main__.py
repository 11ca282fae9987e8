"""Warms up a policy: `python -m geoclip_lite.rewriting good --seed 0` trains what the package ships."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from geoclip_lite.rewriting.prior import PRIORS
from geoclip_lite.rewriting.warm_up import Recipe, warm_up


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.rewriting", description=__doc__.splitlines()[0]
    )
    parser.add_argument("prior", choices=PRIORS, nargs="?", default="good")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="length of the schedule")
    parser.add_argument(
        "--out", type=Path, default=Path(".cache/rewriting"), help="receives the run's folder"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more threads add up in another order
    recipe = Recipe(arguments.prior, arguments.seed, arguments.steps)
    print(warm_up(recipe, run_folder(arguments.out, recipe)))


def run_folder(out: Path, recipe: Recipe) -> Path:
    """Where `main` puts a run."""
    return Path(out) / f"warm-up-{recipe.prior}-seed{recipe.seed}"


if __name__ == "__main__":
    main()
