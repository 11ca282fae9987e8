"""Checks of chapter 04, neighbourhood matching."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geoclip_lite.checks.feedback import check, expect, near, number, same, tensor, unit


@check
def csls_bias(function: Callable) -> str:
    """`function(texts, images, k)`: half the mean cosine of the k nearest texts of each image."""
    generator = torch.Generator().manual_seed(0)
    for n, m, k in ((6, 4, 2), (5, 7, 5), (9, 3, 1)):
        texts, images = (unit(size, generator) for size in (n, m))
        answer = tensor(function(texts.clone(), images.clone(), k), (m,), "one number per image")
        nearest = torch.stack([(texts @ image).sort(descending=True).values[:k].mean() for image in images])
        expect(not near(answer, nearest, 1e-5), "Half of that: the query's own share of CSLS is left out.")
        far = torch.stack([(texts @ image).sort().values[:k].mean() for image in images]) / 2
        expect(k == n or not near(answer, far, 1e-5), "These are the k farthest texts.")
        expect(near(answer, nearest / 2, 1e-5), f"{n} texts, {m} images, k = {k}: the biases differ.")
    return "Right. An image that many texts like pays for it."


@check
def prices(function: Callable) -> str:
    """`function(scores)`: prices at which every image gets a total attention of one."""
    generator = torch.Generator().manual_seed(0)
    for n in (3, 6, 10):
        scores = 2 * torch.randn(n, n, generator=generator, dtype=torch.float64)
        answer = tensor(function(scores.clone()), (n,), "one price per image")
        attention = (scores - answer).softmax(dim=1).sum(dim=0)
        turned = (scores + answer).softmax(dim=1).sum(dim=0)
        expect(
            not near(turned, torch.ones(n, dtype=scores.dtype), 1e-3) or near(attention, turned, 1e-3),
            "The sign is wrong: who gets too much attention must become dearer.",
        )
        most = float((attention - 1).abs().max())
        expect(
            most < 1e-3,
            f"With your prices an image of {n} gets a total attention that is {most:.3f} away from 1: "
            "are there rounds enough, and is every round added to the price?",
        )
        expect(abs(float(answer.mean())) < 1e-6, "Right up to a constant: take the mean off.")
    return "Right. The market clears."


@check
def ceiling(function: Callable) -> str:
    """`function(copies, k)`: what a perfect ranking reaches where only one copy counts."""
    for copies, k in (([4] * 5, 1), ([4] * 5, 5), ([1, 2, 7], 1), ([1, 2, 7], 5), ([3, 1], 2)):
        answer = number(function(list(copies), k))
        wanted = sum(min(k, c) for c in copies) / sum(copies)
        per_image = sum(min(k, c) / c for c in copies) / len(copies)
        expect(
            same(per_image, wanted) or not same(answer, per_image),
            "You average over images; the queries are as many as the entries.",
        )
        expect(answer <= 1 + 1e-9, "R@k is at most 1: an image has no more copies than it has.")
        expect(same(answer, wanted), f"copies = {copies}, k = {k}: expected {wanted:.3f}, got {answer:.3f}.")
    return "Right. Know the ceiling before you read the table."
