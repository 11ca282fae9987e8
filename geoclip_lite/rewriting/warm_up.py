"""Warming up: supervised training on what a general language model would make of queries.

A run is a function of its recipe alone: every step draws its pairs by (seed, step), and the length of the
schedule counts steps, so that a run that was stopped goes on and ends in the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from tqdm import trange

from geoclip_lite.encoders.train import load_state, save_state, trim_log, write_log
from geoclip_lite.rewriting.policy import Policy, save_policy
from geoclip_lite.rewriting.prior import PRIORS, rewrite
from geoclip_lite.rewriting.queries import Query, training_set
from geoclip_lite.rewriting.vocabulary import split

PARTS = 4  # a batch is read in as many parts, short queries with short ones


@dataclass(frozen=True)
class Recipe:
    """All that a warm-up depends on besides the code.

    Args:
        prior: a name in `prior.PRIORS`.
        seed: of weights, queries and rewrites.
        steps: optimiser steps.
        batch: pairs in a step.
        pool: queries that pairs are drawn from; their rewrites are drawn anew each time.
        learning_rate: of AdamW, after `ramp` steps; then half a cosine down to zero.
    """

    prior: str = "good"
    seed: int = 0
    steps: int = 500
    batch: int = 96
    pool: int = 12_000
    learning_rate: float = 2e-3
    ramp: int = 50

    def __post_init__(self):
        if self.prior not in PRIORS:
            raise ValueError(f"prior must be one of {', '.join(PRIORS)}, got {self.prior!r}")
        for name in ("steps", "batch", "pool", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        progress = max(0, step - self.ramp) / max(1, self.steps - self.ramp)
        return self.learning_rate * min(1, (step + 1) / self.ramp) * (1 + cos(pi * progress)) / 2


def warm_up(
    recipe: Recipe, folder: Path, stop_after: int | None = None, save_every: int = 100
) -> Path | None:
    """Trains a policy, or goes on where an earlier call was stopped.

    Args:
        folder: of this run alone. It receives `policy.safetensors`, `log.jsonl`, and a state to go on from.
        stop_after: stop after this step, as an interruption would.
        save_every: steps between two states.

    Returns:
        the path of the policy, or None when stopped before.

    Raises:
        ValueError: the folder holds a run of another recipe.
    """
    torch.use_deterministic_algorithms(True)
    policy = Policy.untrained(recipe.seed)
    optimizer = torch.optim.AdamW(policy.body.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    first = load_state(folder, recipe, policy.body, optimizer)
    trim_log(folder, first)
    pool = training_set(recipe.pool, recipe.seed).queries if first < recipe.steps else ()
    bar = {"initial": first, "total": recipe.steps, "desc": f"warm-up, {recipe.prior}", "mininterval": 2}
    for step in trange(first, recipe.steps, **bar):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        loss = imitate(policy, optimizer, *draw_pairs(pool, recipe, step))
        write_log(folder, step, {"loss": loss})
        done = step + 1
        if done % save_every == 0 or done == recipe.steps:
            save_state(folder, recipe, policy.body, optimizer, done)
        if done == stop_after and done < recipe.steps:
            return None
    path = Path(folder) / "policy.safetensors"
    save_policy(path, policy, asdict(recipe))
    return path


def draw_pairs(pool: Sequence[Query], recipe: Recipe, step: int) -> tuple[list[str], list[str]]:
    """Queries and noisy rewrites of one step, short queries first."""
    rng = np.random.default_rng([recipe.seed, 13, step])
    chosen = [pool[i] for i in rng.integers(len(pool), size=recipe.batch)]
    pairs = [(query.text, rewrite(query, PRIORS[recipe.prior], rng)) for query in chosen]
    pairs.sort(key=lambda pair: len(split(pair[0])))
    texts, rewrites = zip(*pairs, strict=True)
    return list(texts), list(rewrites)


def imitate(
    policy: Policy, optimizer: torch.optim.Optimizer, texts: Sequence[str], rewrites: Sequence[str]
) -> float:
    """One step towards these rewrites; returns minus the mean log-probability of their words."""
    targets = policy.written([[text] for text in rewrites])
    total, words = 0.0, int(targets.mask.sum())
    optimizer.zero_grad()
    for rows in torch.arange(len(texts)).chunk(PARTS):
        part = policy.written([[rewrites[i]] for i in rows.tolist()])
        log_probs, _ = policy.log_probs([texts[i] for i in rows.tolist()], part)
        loss = -(log_probs * part.mask).sum() / words
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    return total


def final_loss(folder: Path, steps: int = 50) -> float:
    """Mean loss of a run's last steps."""
    lines = (Path(folder) / "log.jsonl").read_text().splitlines()[-steps:]
    return float(np.mean([json.loads(line)["loss"] for line in lines]))
