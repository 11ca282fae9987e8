"""Warms up a policy: `python -m geoclip_lite.rewriting good --seed 0` trains what the package ships."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoclip_lite.rewriting.warm_up import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.rewriting", description=__doc__.splitlines()[0]
    )
    parser.add_argument("prior", nargs="?", default="good", help="good, middling or weak; see prior.PRIORS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="length of the schedule")
    parser.add_argument(
        "--out", type=Path, default=Path(".cache/rewriting"), help="receives the run's folder"
    )
    arguments = parser.parse_args()

    import torch

    from geoclip_lite.rewriting.warm_up import Recipe, warm_up

    torch.set_num_threads(1)  # more threads add up in another order
    steps = {} if arguments.steps is None else {"steps": arguments.steps}
    try:
        recipe = Recipe(arguments.prior, arguments.seed, **steps)
    except ValueError as error:
        parser.error(str(error))
    print(warm_up(recipe, run_folder(arguments.out, recipe)))


def run_folder(out: Path, recipe: Recipe) -> Path:
    """Where `main` puts a run."""
    return Path(out) / f"warm-up-{recipe.prior}-seed{recipe.seed}"


if __name__ == "__main__":
    main()
