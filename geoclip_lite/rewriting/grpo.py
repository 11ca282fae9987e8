"""Group relative policy optimisation (Shao et al., 2024) in one page.

Each step draws some queries and samples k rewrites of each. A rewrite's advantage is its reward against the
other rewrites of the same query, so no value network is needed:

    advantage = (reward - mean of the group) / (standard deviation of the group + 1e-4)

The likelihood of every word is moved in the direction of its rewrite's advantage, as long as the ratio to the
policy that sampled it stays within 1 +- clip, and a penalty keeps the policy near the one it started from:

    loss = - mean of min(ratio x advantage, clipped ratio x advantage) + beta x KL(policy || start)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import trange

from geoclip_lite.rewriting.corpus import Corpus, earned
from geoclip_lite.rewriting.errors import FlatGroupsError
from geoclip_lite.rewriting.policy import Policy, Rewrites
from geoclip_lite.rewriting.rewards import REWARDS, Reward, format_reward

FLAT_STEPS = 10  # without any variance at the start, until a run is given up
PerWord = Float[Tensor, "queries k words"]


@dataclass(frozen=True)
class Recipe:
    """A run is a function of its start, its corpus and this.

    Args:
        reward: a name in `rewards.REWARDS`.
        steps: of sampling.
        queries: in a step.
        k: rewrites of each.
        candidates: pictures that a rewrite is ranked among.
        updates: of the weights on the rewrites of one step.
        learning_rate: of AdamW.
        clip: how far the ratio may move from 1.
        beta: weight of the KL penalty.
        seed: of queries, rewrites and candidates.
    """

    reward: str = "linear rank"
    steps: int = 150
    queries: int = 8
    k: int = 8
    candidates: int = 256
    updates: int = 2
    learning_rate: float = 3e-4
    clip: float = 0.2
    beta: float = 0.02
    seed: int = 0

    def __post_init__(self):
        if self.reward not in REWARDS:
            raise ValueError(f"reward must be one of {', '.join(REWARDS)}, got {self.reward!r}")
        for name in ("steps", "queries", "updates", "learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.k < 2:
            raise FlatGroupsError(
                f"k must be 2 or more: one rewrite has nothing to be compared with, got {self.k}"
            )
        if not self.beta >= 0:
            raise ValueError(f"beta must be 0 or above, got {self.beta}")

    def but(self, **changes: object) -> Recipe:
        """This recipe with some things changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Step:
    """What a step of training looked like.

    Args:
        reward: mean, without the bonus for the format.
        well_formed: share of rewrites with words and an end.
        flat: share of groups whose rewrites all earned the same.
        kl: mean per word, of the policy from the start.
        entropy: mean per word, in nats.
        words: mean length.
        clipped: share of words whose ratio left the interval in the last update.
    """

    reward: float
    well_formed: float
    flat: float
    kl: float
    entropy: float
    words: float
    clipped: float


@dataclass(frozen=True)
class Trained:
    """A policy, and how it came about.

    Args:
        snapshots: step -> the k rewrites of each watched query and what they earned, step 0 first.
    """

    policy: Policy
    recipe: Recipe
    log: tuple[Step, ...]
    snapshots: dict[int, list[list[tuple[str, float]]]] = field(default_factory=dict)


# --- the algorithm --------------------------------------------------------------------------------


def group_advantages(rewards: Float[Tensor, "queries k"]) -> Float[Tensor, "queries k"]:
    """Each reward against its group, in units of the group's spread; 0 where all earned the same."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4)


def clipped_objective(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(ratio A, clip(ratio) A): what is gained by moving a word, and no more than is safe."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def kl_penalty(now: PerWord, start: PerWord) -> PerWord:
    """exp(d) - d - 1 with d = start - now, in logarithms: never negative, and KL(now || start) on average."""
    return (start - now).exp() - (start - now) - 1


def mean_of_words(values: PerWord, mask: Bool[Tensor, "queries k words"]) -> Float[Tensor, ""]:
    """Mean over each rewrite's words, then over rewrites."""
    return ((values * mask).sum(-1) / mask.sum(-1)).mean()


def train(
    start: Policy,
    corpus: Corpus,
    recipe: Recipe,
    watch: Sequence[int] = (),
    every: int = 10,
    progress: bool = True,
) -> Trained:
    """Trains a copy of the policy.

    Args:
        start: also the reference of the KL penalty.
        corpus: training queries and their pictures; a step takes the next queries, over and over.
        watch: numbers of queries whose rewrites are kept as snapshots.
        every: steps between two snapshots.

    Raises:
        FlatGroupsError: in the first steps no group had rewrites that earned differently.
        SmallGalleryError: more candidates than pictures.
    """
    policy, reward, log, snapshots = start.copy(), REWARDS[recipe.reward], [], {}
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    generator, rng = torch.Generator().manual_seed(recipe.seed), np.random.default_rng(recipe.seed)
    for step in trange(recipe.steps, desc=recipe.reward, unit="step", delay=3, disable=not progress):
        if watch and step % every == 0:
            snapshots[step] = look(policy, corpus, reward, watch, recipe)
        numbers = [(step * recipe.queries + i) % len(corpus.right) for i in range(recipe.queries)]
        texts = [corpus.asked.queries[i].text for i in numbers]

        rewrites = policy.sample(texts, recipe.k, generator)  # 1. k rewrites of every query
        candidates = corpus.candidates(numbers, recipe.candidates, rng)
        earnings = earned(corpus, policy.texts(rewrites), candidates, reward)  # 2. what each of them earns
        total = earnings + format_reward(rewrites.well_formed)
        advantages = group_advantages(total)  # 3. against the others of its query
        per_word = update(policy, start, optimizer, texts, rewrites, advantages, recipe)

        log.append(_entry(earnings, (total == total[:, :1]).all(1), rewrites, *per_word))
        if len(log) == FLAT_STEPS and all(entry.flat == 1 for entry in log):
            raise FlatGroupsError(
                f"no group of {FLAT_STEPS} steps had rewrites that earned differently: nothing says which is "
                "better. Take a start that writes more than one rewrite of a query, or a reward that differs"
            )
    if watch:
        snapshots[recipe.steps] = look(policy, corpus, reward, watch, recipe)
    return Trained(policy, recipe, tuple(log), snapshots)


def update(
    policy: Policy,
    start: Policy,
    optimizer: torch.optim.Optimizer,
    texts: Sequence[str],
    rewrites: Rewrites,
    advantages: Float[Tensor, "queries k"],
    recipe: Recipe,
) -> tuple[PerWord, PerWord, PerWord]:
    """Makes the words of better rewrites likelier; returns KL, entropy and what was clipped, word by word."""
    with torch.no_grad():
        reference, _ = start.log_probs(texts, rewrites)
    sampled = None
    for _ in range(recipe.updates):
        now, entropy = policy.log_probs(texts, rewrites)
        sampled = now.detach() if sampled is None else sampled  # nothing has moved since they were sampled
        ratio, kl = (now - sampled).exp(), kl_penalty(now, reference)
        gain = clipped_objective(ratio, advantages[..., None], recipe.clip)
        loss = -mean_of_words(gain - recipe.beta * kl, rewrites.mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
    return kl, entropy, ((ratio - 1).abs() > recipe.clip).float()


def _entry(earnings: Tensor, flat: Tensor, rewrites: Rewrites, *per_word: Tensor) -> Step:
    """The log of one step, from numbers per rewrite, per group and per word."""
    kl, entropy, clipped = (float(mean_of_words(values.detach(), rewrites.mask)) for values in per_word)
    per_group = (earnings, rewrites.well_formed, flat, rewrites.lengths)
    reward, well_formed, share, words = (float(values.float().mean()) for values in per_group)
    return Step(reward, well_formed, share, kl, entropy, words, clipped)


def look(
    policy: Policy, corpus: Corpus, reward: Reward, watch: Sequence[int], recipe: Recipe
) -> list[list[tuple[str, float]]]:
    """k rewrites of each watched query and their rewards, by chance that is the same at every look."""
    generator, rng = torch.Generator().manual_seed(recipe.seed), np.random.default_rng(recipe.seed)
    texts = policy.texts(policy.sample([corpus.asked.queries[i].text for i in watch], recipe.k, generator))
    values = earned(corpus, texts, corpus.candidates(watch, recipe.candidates, rng), reward)
    return [list(zip(some, row, strict=True)) for some, row in zip(texts, values.tolist(), strict=True)]


def log_rows(log: Sequence[Step]) -> list[dict[str, float]]:
    """One row a step."""
    return [{"step": number, **asdict(entry)} for number, entry in enumerate(log)]
