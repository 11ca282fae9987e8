"""Checks of chapter 11: advantages in a group, the clipped objective, a rank reward, what can be inflated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from geoclip_lite.checks.feedback import check, expect, near, returned, tensor

_near = partial(near, tolerance=2e-3)  # whatever small number is added to a spread


@check
def group_advantages(function: Callable) -> str:
    """`function(rewards)`: rewards of queries x k rewrites -> how much better each is than its group."""
    rewards = torch.tensor([[0.9, 0.5, 0.1, 0.5], [0.2, 0.1, 0.3, 0.2], [0.0, 0.0, 0.0, 1.0]])
    answer = tensor(function(rewards.clone()), (3, 4), "one number per rewrite")
    centred = rewards - rewards.mean(1, keepdim=True)
    wanted = centred / (rewards.std(1, keepdim=True) + 1e-4)
    expect(
        not _near(answer, centred), "Divide by the spread: a group whose rewards lie close counts as much."
    )
    expect(
        not _near(answer, (rewards - rewards.mean()) / (rewards.std() + 1e-4)),
        "You compare all rewrites with each other. Some queries are hard for all: compare within a row.",
    )
    down = (rewards - rewards.mean(0)) / (rewards.std(0) + 1e-4)
    expect(not _near(answer, down), "You compare down the columns. The rewrites of one query stand in a row.")
    biased = centred / (rewards.std(1, keepdim=True, correction=0) + 1e-4)
    expect(_near(answer, wanted) or _near(answer, biased), "The advantages differ: (reward - mean) / spread.")
    flat = tensor(function(torch.full((2, 4), 0.75)), (2, 4), "one number per rewrite")
    expect(
        bool(flat.isfinite().all()),
        "Where all rewrites earn the same the spread is 0, and you divide by it: add a little, such as 1e-4.",
    )
    expect(_near(flat, torch.zeros(2, 4)), "Where all rewrites earn the same, none is better: 0.")
    return "Right. A group without variance teaches nothing, which is why its share is logged."


@check
def clipped_objective(function: Callable) -> str:
    """`function(ratio, advantage, clip)`: what is gained, and no more than is safe."""
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5, 0.5, 0.9, 1.0, 1.1, 1.5])
    advantage = torch.tensor([2.0] * 5 + [-1.0] * 5)
    for clip in (0.2, 0.05):
        answer = tensor(function(ratio.clone(), advantage.clone(), clip), (10,), "one number per word")
        limited = ratio.clamp(1 - clip, 1 + clip)
        wanted = torch.minimum(ratio * advantage, limited * advantage)
        expect(not _near(answer, ratio * advantage), "Nothing is clipped: one step may then go any distance.")
        expect(
            not _near(answer, limited * advantage),
            "Clipped on both sides. A word that went the wrong way past the limit would never be put right. "
            "Take the smaller of the clipped and the plain gain.",
        )
        expect(
            not _near(answer, torch.minimum(ratio, limited) * advantage),
            "You take the smaller ratio. With a negative advantage the smaller ratio is the larger gain: "
            "multiply first, then take the minimum.",
        )
        expect(
            not _near(answer, torch.maximum(ratio * advantage, limited * advantage)),
            "The larger of the two is the optimist's choice; it lets the policy run away.",
        )
        expect(not _near(answer, -wanted), "That is the loss. The objective has the other sign.")
        expect(_near(answer, wanted), f"clip {clip:g}: the objective differs.")
    return "Right. Beyond the limit a step in the good direction has gradient 0."


@check
def rank_reward(function: Callable) -> str:
    """`function(scores, right)`: 1 if the right candidate is first, 0 if it is last, even steps."""
    generator = torch.Generator().manual_seed(0)
    for n in (5, 9, 2):
        scores = torch.rand(6, n, generator=generator)
        right = torch.randint(n, (6,), generator=generator)
        answer = tensor(function(scores.clone(), right.clone()), (6,), "one number per rewrite")
        mine = scores.gather(1, right[:, None])
        above = (scores > mine).sum(1)
        wanted = 1 - above / (n - 1)
        expect(
            not _near(answer, mine[:, 0]), "That is the similarity reward: the other candidates play no part."
        )
        expect(not _near(answer, 1 - wanted), "Upside down: the first place earns most.")
        expect(
            not _near(answer, 1 / (1.0 + above)),
            "That is the reciprocal rank; here all places count alike.",
        )
        expect(
            not _near(answer, 1 - above / n),
            "The last place should earn 0: there are n - 1 candidates to be better than.",
        )
        expect(
            not _near(answer, 1 - (above + 1) / n),
            "The first place should earn 1: count the candidates above the right one, not itself.",
        )
        expect(
            not _near(answer, (right + 1.0) / n) and not _near(answer, 1 - right / (n - 1)),
            "`right` says in which column the right candidate stands, not at which place.",
        )
        expect(_near(answer, wanted), f"{n} candidates: the rewards differ.")
    return "Right. Raising all cosines together earns nothing here."


INFLATABLE: dict[str, tuple[Callable, bool]] = {
    "cosine": (lambda s, r: s.gather(1, r[:, None])[:, 0], True),
    "linear rank": (lambda s, r: 1 - (s > s.gather(1, r[:, None])).sum(1) / (s.shape[1] - 1), False),
    "softmax": (lambda s, r: (20 * s).log_softmax(1).gather(1, r[:, None])[:, 0], False),
    "cosine less the mean": (lambda s, r: s.gather(1, r[:, None])[:, 0] - s.mean(1), False),
    "cosine less half the mean": (lambda s, r: s.gather(1, r[:, None])[:, 0] - s.mean(1) / 2, True),
    "cosine above a half": (lambda s, r: (s.gather(1, r[:, None])[:, 0] > 0.5).float(), True),
    "minus the cosine": (lambda s, r: -s.gather(1, r[:, None])[:, 0], False),
}


@check
def inflatable(function: Callable) -> str:
    """`function(reward)`: does a rewrite earn more if all its cosines rise by the same amount?"""
    for name, (reward, wanted) in INFLATABLE.items():
        answer = function(reward)
        returned(answer)
        shape = tuple(getattr(answer, "shape", ()))
        expect(shape == (), f"Return one True or False, not one per rewrite (shape {shape}).")
        if bool(answer) == wanted:
            continue
        advice = {
            "cosine less half the mean": "it looks at the other candidates and still gains half of the rise",
            "cosine above a half": "it gains where a cosine crosses 0.5: try many rewrites, several rises",
            "minus the cosine": "raising all cosines lowers it. Only what earns more counts",
        }
        why = advice.get(name, "add the same to every cosine, and compare the reward before and after")
        expect(False, f"{name}: {'it can' if wanted else 'it cannot'} be inflated; {why}.")
    return "Right. What a reward does not change with, training will not hold back."
