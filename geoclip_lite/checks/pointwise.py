"""Checks of chapter 01, pointwise retrieval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

from geoclip_lite.checks.feedback import Wrong, check, expect, number, same, tensor


@check
def hit_at_k(function: Callable) -> str:
    """`function(ranks, k)`: the share of queries whose right image ranks k or better (ranks start at 1)."""
    ranks, k = torch.tensor([1, 2, 3, 5, 5, 8]), 5
    answer = number(function(ranks, k))
    expect(answer != 5.0, "That is how many queries hit. Which share of all queries is it?")
    expect(answer <= 1, f"A share lies between 0 and 1; you return {answer:g}. Is it in percent?")
    expect(
        not same(answer, 3 / 6),
        "Ranks start at 1, so rank 5 is still among the first 5: compare with <=, not <.",
    )
    expect(not same(answer, 1 / 6), "You count the misses. A hit is a rank of k or better, so a small rank.")
    expect(
        same(answer, 5 / 6),
        f"For ranks {ranks.tolist()} and k = {k}: expected 0.833, got {answer:.3f}.",
    )
    alone = number(function(torch.tensor([1, 1, 1]), 1))
    expect(same(alone, 1), f"When every rank is 1, hit@1 is 1; you return {alone:g}.")
    return "Right. One rank a query is all that hit@k needs."


@check
def retrieve(function: Callable) -> str:
    """`function(queries, images, k)`: indices of the k images of highest cosine, best first."""
    generator = torch.Generator().manual_seed(1)
    queries = torch.randn(4, 8, generator=generator)
    images = torch.randn(20, 8, generator=generator) * torch.linspace(0.2, 5, 20)[:, None]
    cosines = torch.nn.functional.normalize(queries, dim=-1) @ torch.nn.functional.normalize(images, dim=-1).T
    best = cosines.argsort(dim=-1, descending=True)
    answer = tensor(function(queries, images, 3), (4, 3), "indices, 4 queries x k = 3")
    expect(not answer.is_floating_point(), "These look like scores. Which images do they belong to?")
    if torch.equal(answer, best[:, :3]):
        expect(function(queries, images, 7).shape == (4, 7), "Right for k = 3. Return k images for any k.")
        return "Right. With unit vectors, retrieval is one matrix product and one sort."
    expect(
        not torch.equal(answer, (queries @ images.T).argsort(dim=-1, descending=True)[:, :3]),
        "Long image vectors win whatever they point at: divide each image by its length first.",
    )
    columns = images / images.norm(dim=0)
    expect(
        not torch.equal(answer, (queries @ columns.T).topk(3).indices),
        "You scaled the columns. A vector is a row here: take the norm over dim=1.",
    )
    expect(not torch.equal(answer, best.flip(-1)[:, :3]), "You return the worst images: sort descending.")
    expect(
        not torch.equal(answer.sort(dim=-1).values, best[:, :3].sort(dim=-1).values),
        "The right images, but not in order: the best comes first.",
    )
    raise Wrong(f"For the first query the best are {best[0, :3].tolist()}; you return {answer[0].tolist()}.")


@check
def bag_ceiling(function: Callable) -> str:
    """`function(scenes)`: expected R@1 of a retriever that knows each scene's words but not who owns them."""
    answer = number(function(_BAG_SCENES))
    expect(
        answer <= 1, f"R@1 is a share between 0 and 1; you return {answer:g}. Is it a count, or in percent?"
    )
    shares = {name: len(groups) / len(_BAG_SCENES) for name, groups in _bag_groups().items()}
    expect(
        not same(answer, 1),
        "No two scenes share a bag in your count. Split every object into its words, and ignore their order.",
    )
    expect(
        not same(answer, shares["objects"]),
        "Your groups know who owns which word: that is what a bag forgets.",
    )
    expect(
        not same(answer, shares["sets"]),
        "You compare sets of words. Two red circles are not one: count how often each word occurs.",
    )
    alone = sum(size == 1 for size in _bag_groups()["bags"].values()) / len(_BAG_SCENES)
    expect(
        not same(answer, alone),
        "You give nothing for a tie. Among n scenes with one bag, a guess is right with probability 1/n.",
    )
    right = shares["bags"]
    expect(
        not 0 < abs(answer - right) < 0.02 or same(answer, right),
        "Close. Did you simulate the guessing? The expected value can be had exactly.",
    )
    expect(same(answer, right), f"On this check's scenes expected {right:.3f}, got {answer:.3f}.")
    return "Right. A group of n equal bags yields n times 1/n, one hit a group."


_BAG_SCENES = [
    [("red", "circle"), ("blue", "star")],
    [("red", "star"), ("blue", "circle")],
    [("blue", "circle"), ("red", "star")],
    [("red", "circle"), ("red", "circle")],
    [("red", "circle")],
    [("red", "circle"), ("red", "circle"), ("red", "circle")],
    [("blue", "star"), ("blue", "star")],
    [("green", "star")],
]


def _bag_groups() -> dict[str, Counter]:
    """The check's scenes, grouped as a bag sees them and as two misreadings do."""
    words = [[word for thing in scene for word in thing] for scene in _BAG_SCENES]
    return {
        "bags": Counter(tuple(sorted(scene)) for scene in words),
        "sets": Counter(frozenset(scene) for scene in words),
        "objects": Counter(tuple(sorted(scene)) for scene in _BAG_SCENES),
    }
