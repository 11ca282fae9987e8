"""Checks of chapter 02, the structural bottleneck."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geoclip_lite.checks.feedback import Wrong, check, expect, number, returned, same, tensor


def _in_common(one: torch.Tensor, other: torch.Tensor, k: int, skip_self: bool = True) -> float:
    """The reference; `skip_self` False is the usual mistake."""
    near = []
    for distances in (one, other):
        rows = distances.clone().double()
        if skip_self:
            rows.fill_diagonal_(torch.inf)
        near.append([set(row.tolist()) for row in rows.argsort(dim=1)[:, :k]])
    return sum(len(a & b) for a, b in zip(*near, strict=True)) / (k * len(one))


def _distances(seed: int) -> torch.Tensor:
    """Distances between nine random points."""
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cdist(points, points).fill_diagonal_(0)


@check
def overlap(function: Callable) -> str:
    """`function(distances_a, distances_b, k)`: mean share of the k nearest that two spaces share."""
    one, other = _distances(seed=0), _distances(seed=1)
    right = _in_common(one, other, 2)
    answer = number(function(one.clone(), other.clone(), 2))
    expect(answer <= 1, f"A share lies between 0 and 1; you return {answer:g}. Did you divide by k?")
    expect(
        not same(answer, _in_common(one, other, 2, skip_self=False)),
        "Every item is its own nearest neighbour in your count: leave it out, in both spaces.",
    )
    expect(
        not same(answer, _in_common(-one, -other, 2)),
        "These are the farthest items. Sort the distances upwards.",
    )
    expect(
        same(answer, right), f"For the check's nine items and k = 2: expected {right:.3f}, got {answer:.3f}."
    )
    expect(
        same(number(function(one, one.clone(), 3)), 1),
        "Two equal spaces share all neighbours: the overlap is 1.",
    )
    return "Right. Who is near is all that counts here, not how near."


@check
def rotation(function: Callable) -> str:
    """`function(x, y)`: the orthogonal matrix w that brings x @ w nearest to y."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 0.5])
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    answer = tensor(function(x, x @ turn), (4, 4), "a 4 x 4 matrix")
    y = x @ turn + torch.randn(30, 4, generator=generator)
    noisy = function(x, y)
    expect(
        torch.allclose(noisy @ noisy.T, torch.eye(4), atol=1e-4),
        "Your matrix is not orthogonal: w @ w.T should be the identity. (Least squares may stretch.)",
    )
    if torch.allclose(answer, turn, atol=1e-3):
        return "Right. U and V of the singular value decomposition, without S."
    expect(
        not torch.allclose(answer, turn.T, atol=1e-3),
        "That turns y to x. Which side does x.T @ y start from?",
    )
    raise Wrong("x was turned by a rotation to make y, and your matrix does not find it again.")


@check
def folds_by_image(function: Callable) -> str:
    """`function(image_ids, folds)`: a fold for every pair, pairs of one picture together."""
    image_ids = ["a", "b", "a", "c", "d", "d", "e", "b", "f", "a"]
    answer = function(list(image_ids), 3)
    returned(answer)
    found = [int(fold) for fold in answer]
    expect(len(found) == len(image_ids), f"One fold per pair: {len(image_ids)} pairs, {len(found)} folds.")
    expect(
        set(found) <= {0, 1, 2}, f"With folds = 3 the numbers are 0, 1 and 2; you use {sorted(set(found))}."
    )
    split = [
        i for i in set(image_ids) if len({f for f, j in zip(found, image_ids, strict=True) if i == j}) > 1
    ]
    expect(
        not split,
        f"Pairs of picture {min(split, default='')!r} are in different folds: the map would be tested on a "
        "picture that it has seen. Choose a fold per picture, not per pair.",
    )
    expect(set(found) == {0, 1, 2}, f"A fold is empty: you use {sorted(set(found))} of 0, 1, 2.")
    return "Right. Whatever is fitted on the other folds has never seen these pictures."
