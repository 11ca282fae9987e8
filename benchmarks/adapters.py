"""Many adapters as one batched computation, against the same runs one after the other, in one process.

    python benchmarks/adapters.py [--runs 24] [--steps 100]

Both train residual adapters on the same 5,000 random pairs in 128 dimensions and end in the same weights,
which is checked. Processor seconds, one thread, alternated, median of three; and the cost of a 108-run map.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _turns import timed
from torch.nn.functional import normalize

from geoclip_lite.adapters import Fitted, Pairs, Recipe, fit

DIM, PAIRS, HELD_OUT = 128, 5000, 1000


def pairs(n: int, name: str, seed: int) -> Pairs:
    """Random pictures, and texts near them."""
    generator = torch.Generator().manual_seed(seed)
    images = normalize(torch.randn(n, DIM, generator=generator), dim=1)
    texts = normalize(images + 0.1 * torch.randn(n, DIM, generator=generator), dim=1)
    names = [f"{name} {i}" for i in range(n)]
    return Pairs.of(images, texts, names, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--steps", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train, validation = pairs(PAIRS, "train", 0), pairs(HELD_OUT, "validation", 1)
    alphas = np.geomspace(0.05, 2, asked.runs)
    recipes = [Recipe(alpha=float(a), steps=asked.steps, seed=i) for i, a in enumerate(alphas)]

    def together() -> list[Fitted]:
        return fit(train, validation, recipes, progress=False)

    def alone() -> list[Fitted]:
        return [fit(train, validation, [recipe], progress=False)[0] for recipe in recipes]

    times: dict[str, list[float]] = {"together": [], "alone": []}
    for _ in range(3):
        for name, work in (("together", together), ("alone", alone)):
            took, done = timed(work, time.process_time)
            times[name].append(took)
            weights = [f.adapter.text_head[0].weight for f in done]
            if name == "together":
                expected = weights
        torch.testing.assert_close(weights, expected, atol=1e-3, rtol=1e-3)
    one, other = (float(np.median(times[name])) for name in ("together", "alone"))
    size = f"{asked.runs} runs of {asked.steps} steps"
    print(f"{size}: together {one:.1f} s, alone {other:.1f} s, x{other / one:.1f}")
    print(
        f"a map of 108 runs of 300 steps: {one / asked.runs / asked.steps * 108 * 300:.0f} processor seconds"
    )


if __name__ == "__main__":
    main()
